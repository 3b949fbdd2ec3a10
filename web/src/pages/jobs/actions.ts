// What a person may do to a job by hand, in which state, and how it is asked.
import type { Job, JobState } from '../../lib/types';

export type JobAction = 'retry' | 'promote' | 'remove';
export type RetryMode = 'start-over' | 'one-more';

export const RETRY_MODES: { value: RetryMode; label: string }[] = [
  { value: 'start-over', label: 'Start over' },
  { value: 'one-more', label: 'One more attempt' },
];

interface Words {
  button: string;
  question: string;
  done: string;
  danger?: boolean;
  effect: (job: Job, mode?: RetryMode) => string;
}

export const ACTIONS: Record<JobAction, Words> = {
  retry: {
    button: 'Retry',
    question: 'Run this job again?',
    done: 'starts over',
    effect: (_, mode) =>
      mode === 'one-more'
        ? 'It gets one attempt more, as soon as a worker is free. The attempts that were made still count; if this one fails too, it stays failed.'
        : 'It starts over, with all its attempts, as soon as a worker is free.',
  },
  promote: {
    button: 'Run now',
    question: 'Run this job now?',
    done: 'runs as soon as a worker is free',
    effect: (job) =>
      job.attemptsMade > 0
        ? 'The next attempt does not wait for its time. The attempts that were made still count.'
        : 'It does not wait for its time, but runs as soon as a worker is free.',
  },
  remove: {
    button: 'Remove',
    question: 'Remove this job?',
    done: 'is removed',
    danger: true,
    effect: (job) =>
      job.state === 'completed'
        ? 'It did its work already; what goes is the record of it. This cannot be undone.'
        : 'Its work is not done, and what waits for it goes on waiting. This cannot be undone.',
  },
};

const POSSIBLE: Record<JobState, JobAction[]> = {
  failed: ['retry', 'remove'],
  delayed: ['promote', 'remove'],
  waiting: ['remove'],
  completed: ['remove'],
  // A running attempt is waited for.
  active: [],
};

export const possible = (job: Job): JobAction[] => POSSIBLE[job.state] ?? [];
