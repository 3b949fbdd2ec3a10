import type { Attachment } from 'svelte/attachments';

interface Shown {
  text: string;
  owner: HTMLElement;
  x: number;
  y: number;
  below: boolean;
}

export const TOOLTIP_ID = 'tooltip';
const LINGER_MS = 120;

/** One tooltip for the whole page, above everything that scrolls or clips. */
class Tooltip {
  shown = $state<Shown | null>(null);
  #timer: ReturnType<typeof setTimeout> | undefined;

  show(owner: HTMLElement, text: string): void {
    this.keep();
    const box = owner.getBoundingClientRect();
    const below = box.top < 48;
    const middle = box.left + box.width / 2;
    const x = Math.min(Math.max(middle, 110), window.innerWidth - 110);
    this.shown = { text, owner, x, y: below ? box.bottom + 6 : box.top - 6, below };
    owner.setAttribute('aria-describedby', TOOLTIP_ID);
  }

  keep(): void {
    clearTimeout(this.#timer);
  }

  /** Waits a moment, so that the pointer can move onto the tooltip itself. */
  leave(): void {
    this.keep();
    this.#timer = setTimeout(() => this.hide(), LINGER_MS);
  }

  hide(): void {
    this.keep();
    this.shown?.owner.removeAttribute('aria-describedby');
    this.shown = null;
  }
}

export const tooltip = new Tooltip();

/** Shows `text()` on hover and on focus; Escape hides it. */
export function hint(text: () => string): Attachment<HTMLElement> {
  return (node) => {
    const enter = () => tooltip.show(node, text());
    const leave = () => tooltip.leave();
    const key = (event: KeyboardEvent) => {
      if (event.key === 'Escape') tooltip.hide();
    };
    node.addEventListener('pointerenter', enter);
    node.addEventListener('focus', enter);
    node.addEventListener('pointerleave', leave);
    node.addEventListener('blur', leave);
    node.addEventListener('keydown', key);
    return () => {
      node.removeEventListener('pointerenter', enter);
      node.removeEventListener('focus', enter);
      node.removeEventListener('pointerleave', leave);
      node.removeEventListener('blur', leave);
      node.removeEventListener('keydown', key);
      if (tooltip.shown?.owner === node) tooltip.hide();
    };
  };
}
