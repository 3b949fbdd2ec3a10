export interface ToastMessage {
  id: number;
  kind: 'ok' | 'bad' | 'info';
  text: string;
}

class Toasts {
  items = $state<ToastMessage[]>([]);
  #next = 1;

  show(kind: ToastMessage['kind'], text: string): void {
    const id = this.#next++;
    this.items.push({ id, kind, text });
    // An error stays until it is read; the rest leaves by itself.
    if (kind !== 'bad') setTimeout(() => this.dismiss(id), 6000);
  }

  dismiss(id: number): void {
    this.items = this.items.filter((item) => item.id !== id);
  }
}

export const toasts = new Toasts();
