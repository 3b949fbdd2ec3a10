import { Problem, uuid } from './api';

/**
 * The key of one intended change. Sending the same body again after a lost answer reuses the key, so the server does
 * the work once; a changed body, or an answer that settled the matter, starts a new key.
 */
export class Intent {
  #key: string | null = null;
  #body = '';

  keyFor(body: unknown): string {
    const text = JSON.stringify(body ?? null);
    if (this.#key === null || text !== this.#body) {
      this.#key = uuid();
      this.#body = text;
    }
    return this.#key;
  }

  settle(error?: unknown): void {
    if (error instanceof Problem && error.transient) return;
    this.#key = null;
  }
}
