/**
 * A list that does not move under the pointer. While `hold` is true, rows keep their places and take only their new
 * content; what arrived meanwhile is counted and appears when the hold ends or is asked for.
 */
export class CalmList<T> {
  hold = $state(false);
  #live: () => T[];
  #scope: () => string;
  #key: (item: T) => string;
  #frozen = $state.raw<{ scope: string; order: string[] } | null>(null);

  constructor(live: () => T[], key: (item: T) => string, scope: () => string) {
    this.#live = live;
    this.#key = key;
    this.#scope = scope;
  }

  #kept = new Map<string, T>();

  items = $derived.by(() => {
    const live = this.#live();
    const frozen = this.#frozen;
    if (!this.hold || !frozen || frozen.scope !== this.#scope()) return live;
    const present = new Map(live.map((item) => [this.#key(item), item]));
    return frozen.order.flatMap((id) => {
      const item = present.get(id) ?? this.#kept.get(id);
      return item === undefined ? [] : [item];
    });
  });

  waiting = $derived.by(() => {
    const frozen = this.#frozen;
    if (!this.hold || !frozen || frozen.scope !== this.#scope()) return 0;
    const known = new Set(frozen.order);
    return this.#live().filter((item) => !known.has(this.#key(item))).length;
  });

  pause(): void {
    if (this.hold) return;
    const live = this.#live();
    this.#kept = new Map(live.map((item) => [this.#key(item), item]));
    this.#frozen = { scope: this.#scope(), order: live.map(this.#key) };
    this.hold = true;
  }

  /** Takes in what arrived; the hold goes on with the new order. */
  refresh(): void {
    this.hold = false;
    this.pause();
  }

  resume(): void {
    this.hold = false;
  }
}
