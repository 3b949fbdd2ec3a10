// What a verification of the audit log found, in words that keep the four outcomes apart.
import { count } from '../../lib/format';
import type { Tone } from '../../lib/status';
import { duration } from '../../lib/time';
import type { AuditFault, AuditVerdict } from '../../lib/types';

const KINDS: Record<string, string> = {
  gap: 'An entry is missing, or one stands in the place of another',
  hash: 'The hash that is stored is not that of the entry',
  link: 'It does not name the entry before it',
  leaf: 'It cannot be read',
  copy: 'What the log is searched by is not what the entry says',
  state: 'What is kept of the object is not what was sealed',
  erased: 'What was kept of the object was erased, and no entry says so',
  node: 'A node of the tree is not what its entries give',
  root: 'A checkpoint was signed for other entries',
  short: 'A checkpoint was signed for more entries than there are',
  note: 'A checkpoint cannot be believed',
};

export interface VerdictLook {
  tone: Exclude<Tone, 'idle'>;
  title: string;
  text: string;
  /** The entry to look at. */
  seq?: number;
}

export const faultWords = (fault: AuditFault): string => KINDS[fault.kind] ?? `The kind of fault is “${fault.kind}”`;

const entries = (number: number) => (number === 1 ? '1 entry' : `${count(number)} entries`);

function faultLook(fault: AuditFault, rows: number): VerdictLook {
  const what = `${faultWords(fault)} (${fault.detail.replace(/\.$/, '')}).`;
  // A checkpoint itself is at fault, and no entry.
  if (fault.seq === 0) return { tone: 'bad', title: 'Tampered with: a checkpoint', text: what };
  const before = Math.min(rows, fault.seq - 1);
  const rest = before > 0 ? ` The ${entries(before)} before it ${before === 1 ? 'is' : 'are'} what was written.` : '';
  // Of what was cut off there is nothing to look at.
  if (fault.kind === 'short') return { tone: 'bad', title: `Tampered with: cut off after entry ${count(rows)}`, text: what };
  return { tone: 'bad', title: `Tampered with at entry ${count(fault.seq)}`, text: `${what}${rest}`, seq: fault.seq };
}

/** A verdict that was given: sound, tampered with, or that nobody can tell. */
export function verdictLook(verdict: AuditVerdict, tookMs?: number): VerdictLook {
  const { rows, erased, fault, checkpointsChecked: checked } = verdict;
  if (fault) return faultLook(fault, rows);
  if (verdict.outcome === 'unknown') {
    const why = verdict.detail ? ` ${verdict.detail.replace(/\.$/, '')}.` : '';
    return { tone: 'warn', title: 'Nobody can tell', text: `The log could not be read to its end, which says nothing about whether it is sound.${why}` };
  }
  const took = tookMs === undefined ? '' : ` in ${duration(tookMs)}`;
  const agree = checked === 1 ? '1 checkpoint agrees with them.' : `${count(checked)} checkpoints agree with them.`;
  const gone = erased === 0 ? '' : ` ${erased === 1 ? '1 state' : `${count(erased)} states`} of entries ${erased === 1 ? 'was' : 'were'} erased, as entries say; their proofs hold.`;
  const silent = verdict.silent?.length ? ` Not compared with the newest checkpoint in ${verdict.silent.join(' and ')}, which did not answer.` : '';
  const left = verdict.leftBehind
    ? ` The log was put back from a backup; ${verdict.leftBehind === 1 ? '1 checkpoint is' : `${count(verdict.leftBehind)} checkpoints are`} of entries that were left behind.`
    : '';
  if (checked === 0) {
    return {
      tone: 'info',
      title: 'Sound in itself',
      text: `All ${entries(rows)} were read${took}, and each is what was written. No checkpoint was there to compare with, so a log that was replaced as a whole would not show.${silent}${left}${gone}`,
    };
  }
  return { tone: silent || left ? 'info' : 'ok', title: 'Sound', text: `All ${entries(rows)} were read${took}, and each is what was written. ${agree}${silent}${left}${gone}` };
}
