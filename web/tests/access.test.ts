import { describe, expect, it } from 'vitest';
import { approverName, asOfIn, asOfWords, dayField, toChangeItem, wayWords } from '../src/lib/access';
import type { Approver, AssignmentChange } from '../src/lib/types';

const rosa = { id: 'per_1', displayName: 'Rosa' };
const approver = (more: Partial<Approver>): Approver => ({
  person: rosa,
  way: 'approval',
  at: '2031-03-01T12:00:00.000Z',
  reason: null,
  step: null,
  onBehalfOf: [],
  askedBy: null,
  ...more,
});
const change = (more: Partial<AssignmentChange>): AssignmentChange => ({
  seq: 7,
  at: '2031-03-01T12:00:00.000Z',
  action: 'role.granted',
  by: { type: 'person', id: 'per_1', name: 'Rosa' },
  askedBy: null,
  agreedBy: null,
  reason: null,
  state: null,
  expiresAt: null,
  entitlement: null,
  ...more,
});

describe('the day that is looked at', () => {
  it('is read from the address, or there is none', () => {
    const read = (query: string) => asOfIn(new URLSearchParams(query));
    expect(read('asOf=2031-03-01')).toBe('2031-03-01');
    expect(read('asOf=2031-03-01T12:00:00Z')).toBe('2031-03-01T12:00:00Z');
    expect(read('asOf=yesterday')).toBe('');
    expect(read('')).toBe('');
  });

  it('is told in words', () => {
    expect(asOfWords('2031-03-01', 'utc')).toBe('the end of 1 Mar 2031');
    expect(asOfWords('2031-03-01T12:00:00Z', 'utc')).toBe('1 Mar 2031, 12:00:00 UTC');
    expect(dayField(new Date(2031, 2, 1, 23, 59).getTime())).toBe('2031-03-01');
  });
});

describe('who agreed', () => {
  it('is told by what they did', () => {
    expect(wayWords(approver({ step: 'Review', onBehalfOf: [{ id: 'per_2', displayName: 'Bo' }] }))).toBe('approved “Review” for Bo');
    expect(wayWords(approver({ way: 'second_person', askedBy: { id: 'per_3', displayName: 'Mona' } }))).toBe(
      'agreed as the second person, asked by Mona',
    );
    expect(approverName(approver({ person: null, way: 'escalation' }))).toBe('Nobody');
  });
});

describe('a change', () => {
  it('says what, by whom and why', () => {
    const item = toChangeItem(change({ action: 'role.extended', reason: 'It takes longer', expiresAt: '2031-06-01T00:00:00.000Z' }), 'utc');
    expect([item.text, item.detail]).toEqual(['It lasts longer, until 1 Jun 2031', 'by Rosa: It takes longer']);
  });

  it('names the entitlement, and both people where it took two', () => {
    const item = toChangeItem(change({ action: 'grant.provisioned', entitlement: 'Project group', agreedBy: rosa, askedBy: { id: 'per_3', displayName: 'Mona' } }), 'utc');
    expect([item.text, item.detail]).toEqual(['Project group: given', 'asked by Mona, agreed by Rosa']);
    expect(toChangeItem(change({ action: 'role.something_new' }), 'utc').text).toBe('Role something new');
  });
});
