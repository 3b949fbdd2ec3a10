import { describe, expect, it } from 'vitest';
import { delegationState, fromField, spanFaults, toField } from '../src/lib/delegations';
import { MIN_REASON, isOpen, reasonFault, timeLeft } from '../src/lib/emergencies';
import { choiceText, insertAt } from '../src/lib/mails';
import type { BreakGlass, Delegation } from '../src/lib/types';

const at = Date.parse('2031-01-10T12:00:00Z');
const DAY = 86_400_000;

describe('a delegation', () => {
  const one = (more: Partial<Delegation>) =>
    ({ from: '2031-01-10T12:00:00Z', to: '2031-01-11T12:00:00Z', endedAt: null, ...more }) as Delegation;

  it('is in force from its first instant to before its last', () => {
    expect(delegationState(one({}), at)).toBe('in_force');
    expect(delegationState(one({}), at - 1)).toBe('scheduled');
    expect(delegationState(one({}), at + DAY - 1)).toBe('in_force');
    expect(delegationState(one({}), at + DAY)).toBe('over');
    expect(delegationState(one({ endedAt: '2031-01-10T12:00:00Z' }), at)).toBe('over');
  });

  it('is given in the zone of the reader', () => {
    expect(fromField(toField(at))).toBe('2031-01-10T12:00:00.000Z');
    expect(fromField('')).toBeNull();
    expect(fromField('soon')).toBeNull();
  });

  it('has a span that makes sense', () => {
    const faults = (from: number, to: number) => spanFaults(toField(from), toField(to), at);
    expect(faults(at, at + DAY)).toEqual({});
    expect(faults(at, at)).toEqual({ to: 'This has to come after the beginning.' });
    expect(faults(at - 2 * DAY, at - DAY)).toEqual({ to: 'This has to be in the future.' });
    expect(faults(at, at + 366 * DAY)).toEqual({});
    expect(faults(at, at + 367 * DAY)).toEqual({ to: 'At most 366 days after the beginning.' });
    expect(spanFaults('', 'x', at)).toEqual({ from: 'This is not a date and time.', to: 'This is not a date and time.' });
  });
});

describe('an emergency', () => {
  const one = (more: Partial<BreakGlass>) => ({ endsAt: '2031-01-10T14:00:00Z', verdict: null, ...more }) as BreakGlass;

  it('has time left until it ends or is taken back', () => {
    expect(timeLeft(one({}), at)).toBe('2 h');
    expect(timeLeft(one({}), at + 7_200_000)).toBe('');
    expect(timeLeft(one({ verdict: 'justified' }), at)).toBe('2 h');
    expect(timeLeft(one({ verdict: 'unjustified' }), at)).toBe('');
    expect(isOpen(one({}))).toBe(true);
    expect(isOpen(one({ verdict: 'justified' }))).toBe(false);
  });

  it('needs a reason of some length, counted as people count', () => {
    expect(reasonFault('   ')).toBe('Say what the emergency is.');
    expect(reasonFault('short')).toMatch(/15 more\.$/);
    expect(reasonFault('😀'.repeat(MIN_REASON - 1))).toMatch(/1 more\.$/);
    expect(reasonFault('x'.repeat(MIN_REASON))).toBeUndefined();
  });
});

describe('mails', () => {
  it('come as it is said', () => {
    expect(choiceText({ mail: 'usual', digestAfter: 5, digestMinutes: 15 })).toContain('After 5 mails within 15 minutes');
    expect(choiceText({ mail: 'usual', digestAfter: 1, digestMinutes: 1 })).toContain('After one mail within a minute,');
    expect(choiceText({ mail: 'together', digestAfter: 5, digestMinutes: 1 })).toContain('at most one every minute.');
    expect(choiceText({ mail: 'each', digestAfter: 5, digestMinutes: 15 })).toContain('at once');
  });

  it('take a value where the cursor is', () => {
    expect(insertAt('Hello , you', 6, 6, 'displayName')).toEqual({ text: 'Hello {{ displayName }}, you', cursor: 23 });
    expect(insertAt('abc', 0, 3, 'x')).toEqual({ text: '{{ x }}', cursor: 7 });
  });
});
