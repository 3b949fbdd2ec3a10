/** Puts the focus into the first field that is still empty, where typing starts. */
export function focusFirst(node: HTMLElement): void {
  const fields = [...node.querySelectorAll<HTMLInputElement>('input, textarea, select')];
  (fields.find((field) => field.value === '') ?? fields[0])?.focus();
}
