import { untrack } from 'svelte';
import type { Attachment } from 'svelte/attachments';

type Control = HTMLInputElement | HTMLSelectElement | HTMLTextAreaElement;

/** What stands in a field, or in all fields of a group. */
const valueIn = (node: HTMLElement): string =>
  JSON.stringify(
    [...node.querySelectorAll<Control>('input, select, textarea')].map((one) => (one.type === 'checkbox' ? (one as HTMLInputElement).checked : one.value)),
  );

/**
 * A complaint is about the value that was there when it came: it goes when that is changed, comes back when the change
 * is taken back, and whatever is sent is judged anew.
 */
export class Complaint {
  #error: () => string | undefined;
  #about = '';
  #mended = $state(false);

  constructor(error: () => string | undefined) {
    this.#error = error;
  }

  get shown(): string | undefined {
    const error = this.#error();
    return this.#mended ? undefined : error;
  }

  /** Follows what is typed in a field and when its form is sent. */
  readonly watch: Attachment<HTMLElement> = (node) => {
    const anew = () => {
      this.#about = valueIn(node);
      this.#mended = false;
    };
    const typed = () => {
      const mended = valueIn(node) !== this.#about;
      // A field that is taken away while it has the focus says once more that it changed, when nothing may change.
      if (mended !== this.#mended) this.#mended = mended;
    };
    const form = node.closest('form');
    $effect(() => {
      this.#error();
      untrack(anew);
    });
    // Before the form's own listener, which may find the same fault again.
    form?.addEventListener('submit', anew, true);
    node.addEventListener('input', typed);
    node.addEventListener('change', typed);
    return () => {
      form?.removeEventListener('submit', anew, true);
      node.removeEventListener('input', typed);
      node.removeEventListener('change', typed);
    };
  };
}
