/** A value that a test changes while something reactive reads it. */
export function live<T>(start: T): { value: T } {
  let value = $state.raw(start);
  return {
    get value() {
      return value;
    },
    set value(next: T) {
      value = next;
    },
  };
}
