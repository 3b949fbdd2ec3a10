// Delegations in words, and the instants that a form is filled in with.
import type { Delegation } from './types';

export type DelegationState = 'in_force' | 'scheduled' | 'over';

export function delegationState(delegation: Delegation, at: number): DelegationState {
  if (delegation.endedAt !== null || Date.parse(delegation.to) <= at) return 'over';
  return Date.parse(delegation.from) <= at ? 'in_force' : 'scheduled';
}

/** An instant as a `datetime-local` field has it, in the reader's zone. */
export function toField(at: number): string {
  const date = new Date(at);
  const two = (value: number) => String(value).padStart(2, '0');
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}T${two(date.getHours())}:${two(date.getMinutes())}`;
}

/** What a `datetime-local` field holds as an instant; null when it is no date. */
export function fromField(text: string): string | null {
  const at = new Date(text);
  return text === '' || Number.isNaN(at.getTime()) ? null : at.toISOString();
}

const DAY = 86_400_000;

/** What is wrong with a span, by its field. */
export function spanFaults(from: string, to: string, at: number): { from?: string; to?: string } {
  const start = fromField(from);
  const end = fromField(to);
  const faults: { from?: string; to?: string } = {};
  if (start === null) faults.from = 'This is not a date and time.';
  if (end === null) faults.to = 'This is not a date and time.';
  if (start === null || end === null) return faults;
  const [first, last] = [Date.parse(start), Date.parse(end)];
  if (last <= first) faults.to = 'This has to come after the beginning.';
  else if (last <= at) faults.to = 'This has to be in the future.';
  else if (last - first > 366 * DAY) faults.to = 'At most 366 days after the beginning.';
  return faults;
}
