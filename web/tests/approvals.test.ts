import { describe, expect, it } from 'vitest';
import { decidedBy, names, ruleText, rungs, seatLook, stageTitle, tally } from '../src/lib/approvals';
import type { Approval, Seat, Stage } from '../src/lib/types';

const ada = { id: 'per_a', displayName: 'Ada' };
const mona = { id: 'per_m', displayName: 'Mona' };
const rosa = { id: 'per_r', displayName: 'Rosa' };
const stage = (more: Partial<Stage> = {}): Stage => ({
  number: 1,
  name: '',
  state: 'open',
  rule: null,
  needed: 1,
  approved: 0,
  rejected: 0,
  approvers: [],
  ...more,
});
const seat = (more: Partial<Seat> = {}): Seat => ({ person: rosa, onBehalfOf: [], voted: false, leftAt: null, ...more });
const approval = (more: Partial<Approval>) => ({ votes: [], state: 'pending', byEscalation: false, decidedBy: null, ...more }) as unknown as Approval;

describe('names', () => {
  it('are joined as one says them', () => {
    expect(names([])).toBe('Nobody');
    expect(names([ada])).toBe('Ada');
    expect(names([ada, mona])).toBe('Ada and Mona');
    expect(names([ada, mona, null])).toBe('Ada, Mona and Somebody who left');
  });
});

describe('a stage', () => {
  it('says its rule and how far it is', () => {
    expect(ruleText(null)).toBe('Whoever decides first decides.');
    expect(ruleText('all')).toBe('Everybody has to approve.');
    expect(ruleText({ quorum: 1 })).toBe(ruleText('any'));
    expect(ruleText({ quorum: 3 })).toBe('3 have to approve.');
    expect(tally(stage())).toBe('');
    expect(tally(stage({ rule: { quorum: 2 }, state: 'coming', needed: null }))).toBe('');
    expect(tally(stage({ rule: { quorum: 2 }, needed: 2, approved: 1 }))).toBe('1 of 2 approved.');
    expect(tally(stage({ rule: 'all', needed: 3, approved: 1, rejected: 1 }))).toBe('1 of 3 approved, 1 rejected.');
  });

  it('has a number and a name only where there are several', () => {
    expect(stageTitle(stage({ name: 'Line' }), 1)).toBe('Who decides');
    expect(stageTitle(stage({ number: 2, name: 'Owners' }), 2)).toBe('Stage 2 of 2: Owners');
    expect(stageTitle(stage({ name: 'Stage 1' }), 2)).toBe('Stage 1 of 2');
  });

  it('shows who has it, on whose behalf, and what they did', () => {
    const item = approval({ votes: [{ stage: 1, person: rosa, onBehalfOf: [], approves: false, reason: 'no', at: '2031-01-01T00:00:00Z' }] });
    expect(seatLook(item, stage(), seat()).what).toBe('rejected');
    // A vote in another stage is not one in this.
    expect(seatLook(item, stage({ number: 2 }), seat()).what).toBe('waits');
    expect(seatLook(item, stage(), seat({ person: mona, onBehalfOf: [ada, rosa] }))).toMatchObject({ who: 'Mona', behalf: 'on behalf of Ada and Rosa', what: 'waits' });
    expect(seatLook(item, stage(), seat({ person: mona, leftAt: '2031-01-01T00:00:00Z' })).what).toBe('passed on');
    expect(seatLook(item, stage({ state: 'ended' }), seat({ person: mona })).what).toBe('none');
    expect(seatLook(item, stage(), seat({ person: null })).who).toBe('Somebody who left');
  });
});

describe('the escalation', () => {
  it('is told in the order of time, whatever the order it came in', () => {
    const all = rungs({ remindsAt: ['2031-01-03T00:00:00Z', '2031-01-01T00:00:00Z'], reassignsAt: '2031-01-02T00:00:00Z', endsAt: '2031-01-04T00:00:00Z', endsWith: 'approve' });
    expect(all.map((rung) => rung.at.slice(8, 10))).toEqual(['01', '02', '03', '04']);
    expect(all.at(-1)).toMatchObject({ last: true, text: 'It counts as approved, and is marked as an exception' });
    expect(rungs({ remindsAt: [], reassignsAt: null, endsAt: null, endsWith: null })).toEqual([]);
    expect(rungs(null)).toEqual([]);
  });

  it('has the last word only where nobody had', () => {
    expect(decidedBy(approval({ byEscalation: true, decidedBy: rosa }))).toBe('The escalation, because nobody had');
    expect(decidedBy(approval({ decidedBy: rosa }))).toBe('Rosa');
    expect(decidedBy(approval({ state: 'cancelled' }))).toBe('The run ended before');
    expect(decidedBy(approval({ state: 'failed' }))).toBe('The system');
  });
});
