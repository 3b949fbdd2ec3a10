// Access in words: who agreed to it, what changed, and the day that a question is about.
import type { TimelineItem } from '../ui/Timeline.svelte';
import { names } from './approvals';
import { words } from './format';
import type { Glyph, Tone } from './status';
import { day, exact, type Zone } from './time';
import type { Approver, AssignmentChange } from './types';

const two = (value: number) => String(value).padStart(2, '0');

/** The day of an instant where the reader is, as a date field has it. */
export function dayField(at: number): string {
  const date = new Date(at);
  return `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
}

/** What the address asks for as a day or an instant; nothing when it is neither. */
export function asOfIn(query: URLSearchParams): string {
  const text = query.get('asOf') ?? '';
  return /^\d{4}-\d\d-\d\d($|T)/.test(text) ? text : '';
}

/** `the end of 1 Mar 2031`, or the instant. */
export function asOfWords(asOf: string, zone: Zone): string {
  return asOf.length === 10 ? `the end of ${day(`${asOf}T12:00:00Z`, 'utc')}` : exact(asOf, zone);
}

/** What somebody did so that the access came about. */
export function wayWords(approver: Approver): string {
  const step = approver.step ? ` “${approver.step}”` : '';
  const asked = approver.askedBy ? `, asked by ${approver.askedBy.displayName}` : '';
  switch (approver.way) {
    case 'approval':
      return `approved${step}${approver.onBehalfOf.length > 0 ? ` for ${names(approver.onBehalfOf)}` : ''}`;
    case 'escalation':
      return `decided${step} in time, and it counted as approved`;
    case 'passed_over':
      return `passed over${step}${asked}`;
    case 'second_person':
      return `agreed as the second person${asked}`;
    case 'alone':
      return 'gave it alone';
    case 'import':
      return `brought it in from a file${asked}`;
    case 'emergency':
      return 'took it in an emergency';
    case 'extension':
      return `let it last longer${asked}`;
  }
}

export const approverName = (approver: Approver): string => approver.person?.displayName ?? 'Nobody';

const CHANGES: Record<string, [text: string, Tone, Glyph]> = {
  'role.granted': ['Granted', 'info', 'dot'],
  'role.started': ['It began', 'info', 'half'],
  'role.activated': ['All of it is there', 'ok', 'check'],
  'role.partially_provisioned': ['A part of it could not be given', 'warn', 'warning'],
  'role.extended': ['It lasts longer', 'info', 'clock'],
  'role.reminded': ['The person was reminded of the end', 'idle', 'clock'],
  'role.expiring': ['Its time is over', 'warn', 'clock'],
  'role.revoking': ['Revoked', 'warn', 'dash'],
  'role.expired': ['It has ended', 'idle', 'dash'],
  'role.revoked': ['It has ended', 'idle', 'dash'],
  'account.adopted': ['Made of an account that was found', 'info', 'dot'],
  'grant.provisioned': ['Given', 'ok', 'check'],
  'grant.deprovisioning': ['Being taken away', 'info', 'half'],
  'grant.deprovisioned': ['Taken away', 'idle', 'dash'],
  'grant.failed': ['The system did not do it', 'bad', 'cross'],
  'grant.missing': ['The system lost it', 'warn', 'warning'],
  'grant.lasts_longer': ['The system is told that it lasts longer', 'info', 'half'],
  'grant.end_not_told': ['The system could not be told that it lasts longer', 'warn', 'warning'],
  'grant.still_there': ['The system still has it', 'warn', 'warning'],
};

export function toChangeItem(change: AssignmentChange, zone: Zone): TimelineItem {
  const [text, tone, glyph] = CHANGES[change.action] ?? [words(change.action), 'idle', 'dot'];
  const what = change.entitlement ? `${change.entitlement}: ${text.charAt(0).toLowerCase()}${text.slice(1)}` : text;
  const until = change.action === 'role.extended' && change.expiresAt ? `, until ${day(change.expiresAt, zone)}` : '';
  const agreed = change.agreedBy ? `asked by ${change.askedBy?.displayName ?? 'nobody'}, agreed by ${change.agreedBy.displayName}` : `by ${change.by.name}`;
  const detail = change.reason ? `${agreed}: ${change.reason}` : agreed;
  return { key: change.seq, at: change.at, text: `${what}${until}`, detail, tone, glyph };
}
