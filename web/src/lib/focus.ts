/** Puts the focus into the first field that is still empty, where typing starts. */
export function focusFirst(node: HTMLElement): void {
  const fields = [...node.querySelectorAll<HTMLInputElement>('input, textarea, select')];
  (fields.find((field) => field.value === '') ?? fields[0])?.focus();
}

/** Puts the focus to the page's heading, where reading starts. */
export function focusHeading(): void {
  document.querySelector<HTMLElement>('h1[tabindex]')?.focus();
}

/** Whether the focus is lost: what had it is gone, and the page as a whole has it now. */
export const focusIsLost = () => document.activeElement === null || document.activeElement === document.body;
