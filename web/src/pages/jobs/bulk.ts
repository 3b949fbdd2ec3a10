// One action on every job that a filter matches: which there are, how they are asked, what came of them.
import { BLANK } from '../../lib/api';
import { count } from '../../lib/format';
import type { BulkAction, BulkProgress, JobErrorGroup, JobState } from '../../lib/types';

/** What the list is narrowed to, the page of it left out; empty parts are absent, but the group without a reason. */
export type BulkFilter = Partial<Record<'state' | 'name' | 'q' | 'group', string>>;

interface Words {
  /** In front of the number: "Retry 12 jobs". */
  verb: string;
  effect: (state: string | undefined) => string;
  /** In front of the number while it goes on, and behind it when it is over. */
  doing: string;
  done: string;
  danger?: boolean;
}

export const BULK: Record<BulkAction, Words> = {
  retry: {
    verb: 'Retry',
    effect: () => 'Each starts over, with all its attempts, as soon as a worker is free.',
    doing: 'Retrying',
    done: 'start over',
  },
  'retry-once': {
    verb: 'Retry once',
    effect: () => 'Each gets one attempt more. The attempts that were made still count; what fails again stays failed.',
    doing: 'Retrying once',
    done: 'get one more attempt',
  },
  promote: {
    verb: 'Run now',
    effect: () => 'None of them waits for its time any longer; they run as soon as workers are free.',
    doing: 'Bringing forward',
    done: 'run as soon as workers are free',
  },
  remove: {
    verb: 'Remove',
    effect: (state) =>
      state === 'completed'
        ? 'They did their work already; what goes is the record of it. This cannot be undone.'
        : 'Their work is not done, and what waits for it goes on waiting. This cannot be undone.',
    doing: 'Removing',
    done: 'are removed',
    danger: true,
  },
};

const POSSIBLE: Record<JobState, BulkAction[]> = {
  failed: ['retry', 'retry-once', 'remove'],
  delayed: ['promote', 'remove'],
  waiting: ['remove'],
  completed: ['remove'],
  active: [],
};

/** Only within one state: what is possible, and what it means, differs from state to state. */
export const bulkPossible = (state: string): BulkAction[] => POSSIBLE[state as JobState] ?? [];

/** From this many on, the number is typed before jobs are removed. */
export const TYPED_FROM = 100;

export const jobs = (number: number): string => (number === 1 ? '1 job' : `${count(number)} jobs`);

export function bulkFilter({ group, ...parts }: Record<keyof BulkFilter, string | null>): BulkFilter {
  const filter: BulkFilter = Object.fromEntries(Object.entries(parts).filter(([, value]) => value));
  return group === null ? filter : { ...filter, group };
}

/** What a finished action came to, in words. */
export function outcome(progress: BulkProgress): string {
  const left = progress.total - progress.changed;
  const changed = `${count(progress.changed)} of ${jobs(progress.total)} ${BULK[progress.action].done}`;
  if (left <= 0) return `${changed}.`;
  return `${changed}; ${count(left)} had moved on meanwhile and ${left === 1 ? 'was' : 'were'} left alone.`;
}

/** The query that narrows the list to one group of errors, and to nothing else. */
export const toGroup = (one: JobErrorGroup) => ({ state: 'failed', name: one.name, group: one.group || BLANK, q: null, cursor: null, id: null });

export const isGroup = (one: JobErrorGroup, name: string, group: string | null): boolean =>
  one.group === group && one.name === name;

/** What stands for a reason that nobody gave. */
export const NO_REASON = 'No reason was given';
