// How an approval is told in words: its rule, its seats, what comes if nobody decides.
import type { Approval, Escalation, PersonRef, Seat, Stage, StageRule, Vote } from './types';

/** `Ada`, `Ada and Mona`, `Ada, Mona and Rosa` */
export function names(people: readonly (PersonRef | null)[], nobody = 'Nobody'): string {
  const all = people.map((person) => person?.displayName ?? 'Somebody who left');
  if (all.length === 0) return nobody;
  return all.length === 1 ? all[0]! : `${all.slice(0, -1).join(', ')} and ${all.at(-1)}`;
}

/** How a stage is decided. */
export function ruleText(rule: StageRule | null): string {
  if (rule === null) return 'Whoever decides first decides.';
  if (rule === 'all') return 'Everybody has to approve.';
  if (rule === 'any') return 'One has to approve.';
  return rule.quorum === 1 ? 'One has to approve.' : `${rule.quorum} have to approve.`;
}

/** How far a stage is, where votes are counted. */
export function tally(stage: Stage): string {
  if (stage.rule === null || stage.state === 'coming') return '';
  const rejected = stage.rejected > 0 ? `, ${stage.rejected} rejected` : '';
  return `${stage.approved}${stage.needed === null ? '' : ` of ${stage.needed}`} approved${rejected}.`;
}

export function stageTitle(stage: Stage, of: number): string {
  const number = of > 1 ? `Stage ${stage.number} of ${of}` : 'Who decides';
  const named = stage.name && stage.name !== String(stage.number) && !/^stage \d+$/i.test(stage.name);
  return of > 1 && named ? `${number}: ${stage.name}` : number;
}

export interface SeatLook {
  who: string;
  behalf: string;
  /** What they did with it. */
  what: 'approved' | 'rejected' | 'passed on' | 'waits' | 'none';
  vote: Vote | null;
}

/** A seat with the vote that was given on it. */
export function seatLook(approval: Approval, stage: Stage, seat: Seat): SeatLook {
  const vote = approval.votes.find((one) => one.stage === stage.number && one.person !== null && one.person.id === seat.person?.id) ?? null;
  const what = vote ? (vote.approves ? 'approved' : 'rejected') : seat.leftAt ? 'passed on' : stage.state === 'open' ? 'waits' : 'none';
  return {
    who: seat.person?.displayName ?? 'Somebody who left',
    behalf: seat.onBehalfOf.length > 0 ? `on behalf of ${names(seat.onBehalfOf)}` : '',
    what,
    vote,
  };
}

export interface Rung {
  at: string;
  text: string;
  last: boolean;
}

const LAST = {
  approve: 'It counts as approved, and is marked as an exception',
  reject: 'It counts as rejected',
  fail: 'It fails',
} as const;

/** What happens while nobody decides, in the order of time. */
export function rungs(escalation: Escalation | null): Rung[] {
  if (!escalation) return [];
  const all: Rung[] = escalation.remindsAt.map((at) => ({ at, text: 'Those who have not decided are reminded', last: false }));
  if (escalation.reassignsAt) all.push({ at: escalation.reassignsAt, text: 'It goes to somebody else', last: false });
  if (escalation.endsAt) all.push({ at: escalation.endsAt, text: LAST[escalation.endsWith ?? 'fail'], last: true });
  return all.sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
}

/** Who had the last word on an approval that is over. */
export function decidedBy(approval: Approval): string {
  if (approval.byEscalation) return 'The escalation, because nobody had';
  if (approval.decidedBy) return approval.decidedBy.displayName;
  return approval.state === 'cancelled' ? 'The run ended before' : 'The system';
}
