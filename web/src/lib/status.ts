// One word, one glyph and one tone for every state the server can answer.
import { words } from './format';

export type Tone = 'ok' | 'warn' | 'bad' | 'info' | 'idle';
export type Glyph = 'check' | 'cross' | 'dot' | 'ring' | 'clock' | 'warning' | 'half' | 'dash';

export interface StatusLook {
  word: string;
  tone: Tone;
  glyph: Glyph;
}

const LOOKS: Record<string, [Tone, Glyph, string?]> = {
  // runs, steps, jobs
  pending: ['info', 'ring'],
  running: ['info', 'half'],
  waiting: ['warn', 'clock'],
  completed: ['ok', 'check'],
  failed: ['bad', 'cross'],
  cancelled: ['idle', 'dash'],
  skipped: ['idle', 'dash'],
  delayed: ['warn', 'clock'],
  // checkpoints and where they are kept
  stored: ['ok', 'check'],
  dropped: ['idle', 'dash'],
  retrying: ['warn', 'clock', 'Trying again'],
  // the queue and schedules
  paused: ['warn', 'dash'],
  // approvals and documents
  approved: ['ok', 'check'],
  rejected: ['bad', 'cross'],
  submitted: ['info', 'ring'],
  withdrawn: ['idle', 'dash'],
  expired: ['idle', 'dash'],
  // stages of an approval
  coming: ['idle', 'ring'],
  passed: ['ok', 'check'],
  ended: ['idle', 'dash'],
  // delegations
  in_force: ['ok', 'dot', 'In force'],
  over: ['idle', 'dash'],
  // what was done although the rules let nobody do it alone
  exception: ['warn', 'warning'],
  justified: ['ok', 'check'],
  unjustified: ['bad', 'cross'],
  to_review: ['warn', 'clock', 'Review is due'],
  // tasks and consents
  open: ['info', 'ring'],
  assigned: ['info', 'half'],
  held: ['warn', 'clock', 'On hold'],
  done: ['ok', 'check'],
  agreed: ['ok', 'check'],
  declined: ['bad', 'cross'],
  // reconciliations
  listing: ['info', 'half'],
  comparing: ['info', 'half'],
  superseded: ['idle', 'dash', 'Replaced'],
  reported: ['idle', 'dot'],
  planned: ['info', 'ring'],
  still_present: ['warn', 'warning', 'Still there'],
  // workflows and roles
  draft: ['idle', 'ring'],
  active: ['ok', 'dot'],
  deprecated: ['idle', 'dash'],
  inactive: ['idle', 'dash'],
  retired: ['idle', 'dash'],
  // assignments and grants
  scheduled: ['info', 'clock'],
  provisioning: ['info', 'half'],
  partially_provisioned: ['warn', 'warning'],
  expiring: ['warn', 'clock'],
  revoking: ['info', 'half'],
  revoked: ['idle', 'dash'],
  provisioned: ['ok', 'check'],
  deprovisioning: ['info', 'half'],
  deprovisioned: ['idle', 'dash', 'Removed'],
  orphaned: ['bad', 'warning'],
  // connectors
  calls_go_out: ['ok', 'dot', 'Ready'],
  not_called: ['bad', 'cross', 'Not called'],
  being_tried: ['warn', 'half', 'Being tried'],
  mock_mode: ['bad', 'warning', 'Mock mode'],
  pretended: ['bad', 'warning', 'Only pretended'],
  // leavers
  dismissed: ['idle', 'dash', 'Stays'],
  // imports and their rows
  reviewed: ['info', 'ring'],
  applying: ['info', 'half'],
  applied: ['ok', 'check'],
  new: ['ok', 'dot'],
  changed: ['info', 'dot'],
  unchanged: ['idle', 'dash'],
  conflict: ['warn', 'warning'],
  fault: ['bad', 'cross'],
  // health
  ok: ['ok', 'check', 'OK'],
  warning: ['warn', 'warning'],
  down: ['bad', 'cross'],
  degraded: ['bad', 'warning'],
  // log levels
  error: ['bad', 'cross'],
  warn: ['warn', 'warning', 'Warning'],
  info: ['info', 'dot'],
  debug: ['idle', 'dot'],
  trace: ['idle', 'dot'],
};

const JOB_LOOKS: Record<string, [Tone, Glyph, string?]> = {
  waiting: ['info', 'ring'],
  active: ['info', 'half'],
};

/** `kind` sets apart the words that two kinds of things share with different meanings. */
export function statusLook(status: string, kind?: 'job'): StatusLook {
  const key = status.toLowerCase();
  const [tone, glyph, word] = (kind === 'job' ? JOB_LOOKS[key] : undefined) ?? LOOKS[key] ?? ['idle', 'dot'];
  return { word: word ?? words(key), tone, glyph };
}
