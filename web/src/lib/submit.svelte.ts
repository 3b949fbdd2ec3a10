import { asProblem, type Problem } from './api';
import { Intent } from './idempotency';

/** The state of one form: busy while it is sent, and the problem that came back. */
export class Submit {
  busy = $state(false);
  problem = $state<Problem | null>(null);
  #intent = new Intent();

  /** Sends `body` through `send`; the answer is undefined when it was refused. */
  async run<B, T>(body: B, send: (body: B, idempotencyKey: string) => Promise<T>): Promise<{ value: T } | undefined> {
    if (this.busy) return undefined;
    this.busy = true;
    this.problem = null;
    try {
      const value = await send(body, this.#intent.keyFor(body));
      this.#intent.settle();
      return { value };
    } catch (error) {
      this.#intent.settle(error);
      this.problem = asProblem(error);
      return undefined;
    } finally {
      this.busy = false;
    }
  }

  fault(field: string): string | undefined {
    return this.problem?.fault(field);
  }

  clear(): void {
    this.problem = null;
  }
}
