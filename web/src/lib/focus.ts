import type { Attachment } from 'svelte/attachments';

/** Puts the focus into the first field of a form in a dialog, where typing starts. */
export const focusFirst: Attachment<HTMLElement> = (node) => {
  node.querySelector<HTMLElement>('input, textarea, select')?.focus();
};
