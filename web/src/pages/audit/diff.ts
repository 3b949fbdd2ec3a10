// What differs between two states of an object, place by place.

export interface Change {
  /** Such as `reconcile.policy` or `grants[2].state`; empty for a state that is no object. */
  path: string;
  before: unknown;
  after: unknown;
}

type Fields = Record<string, unknown>;

const isFields = (value: unknown): value is Fields => typeof value === 'object' && value !== null && !Array.isArray(value);
const same = (a: unknown, b: unknown): boolean => {
  if (a === b) return true;
  if (Array.isArray(a) && Array.isArray(b)) return a.length === b.length && a.every((one, at) => same(one, b[at]));
  if (!isFields(a) || !isFields(b)) return false;
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => name in b && same(a[name], b[name]));
};

/** The places at which the two differ; a state that is not there has none of the fields of the other. */
export function changesOf(before: unknown, after: unknown, path = ''): Change[] {
  if (same(before, after)) return [];
  const here = (name: string) => (path ? `${path}.${name}` : name);
  const fields = [before, after].filter((one) => one !== null && one !== undefined);
  if (fields.length > 0 && fields.every(isFields) && (fields.length === 2 || path === '')) {
    const names = [...new Set(fields.flatMap((one) => Object.keys(one as Fields)))];
    const of = (state: unknown, name: string) => (isFields(state) ? state[name] : undefined);
    return names.flatMap((name) => changesOf(of(before, name), of(after, name), here(name)));
  }
  // Of lists of the same length each item is compared; others are different as a whole.
  if (Array.isArray(before) && Array.isArray(after) && before.length === after.length && [...before, ...after].every(isFields)) {
    return before.flatMap((one, at) => changesOf(one, after[at], `${path}[${at}]`));
  }
  return [{ path, before, after }];
}

/** A value in a line: what is not there is a dash, texts are as they are. */
export function shownValue(value: unknown): string {
  if (value === undefined || value === null) return '–';
  return typeof value === 'string' ? value || '“”' : JSON.stringify(value);
}
