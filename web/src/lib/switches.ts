/** A switch, chosen from two words. */
export const SWITCH = [
  { value: 'true', label: 'On' },
  { value: 'false', label: 'Off' },
];

/** How a switch is shown, chosen and read. */
export const switchForm = {
  show: (value: boolean) => (value ? 'On' : 'Off'),
  edit: (value: boolean) => String(value),
  read: (text: string): { value: boolean } | { fault: string } => ({ value: text === 'true' }),
};
