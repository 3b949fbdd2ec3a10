import { render, screen } from '@testing-library/svelte';
import { describe, expect, it } from 'vitest';
import type { Job, JobState } from '../src/lib/types';
import { ACTIONS, possible } from '../src/pages/jobs/actions';
import FailedReason from '../src/pages/jobs/FailedReason.svelte';
import Figures from '../src/ui/Figures.svelte';

const job = (state: JobState, attemptsMade = 0): Job => ({
  id: 'job_1',
  name: 'send-mail',
  state,
  payload: {},
  attemptsMade,
  failedReason: null,
  runAt: '2031-03-01T12:00:00Z',
  processedOn: null,
  finishedOn: null,
});

describe('what may be done to a job', () => {
  it('is what the server allows in its state', () => {
    const states: JobState[] = ['failed', 'delayed', 'waiting', 'completed', 'active'];
    expect(states.map((state) => possible(job(state)))).toEqual([
      ['retry', 'remove'],
      ['promote', 'remove'],
      ['remove'],
      ['remove'],
      [],
    ]);
  });

  it('is asked with its true effect', () => {
    expect(ACTIONS.promote.effect(job('delayed', 2))).toContain('still count');
    expect(ACTIONS.promote.effect(job('delayed'))).not.toContain('still count');
    expect(ACTIONS.remove.effect(job('completed', 1))).toContain('did its work');
    expect(ACTIONS.remove.effect(job('failed', 4))).toContain('not done');
  });
});

describe('FailedReason', () => {
  it('shows a short reason as it is', () => {
    render(FailedReason, { reason: 'The connection failed.', final: true });
    expect(screen.getByText('Why it failed')).toBeTruthy();
    expect(screen.queryByText('The whole reason')).toBeNull();
  });

  it('folds a long chain behind its first line', () => {
    render(FailedReason, { reason: 'The mail failed.\ncaused by: no route', final: false });
    expect(screen.getByText('Why the last attempt failed')).toBeTruthy();
    expect(screen.getByText('The mail failed.')).toBeTruthy();
    expect(screen.getByText(/no route/).closest('details')?.open).toBe(false);
  });
});

describe('Figures', () => {
  it('leads to what each number counts and marks the chosen one', () => {
    render(Figures, {
      label: 'Jobs',
      figures: [
        { word: 'All', value: 1234, href: '/jobs', current: true },
        { status: 'failed', value: undefined, href: '/jobs?state=failed' },
      ],
    });
    expect(screen.getByRole('link', { name: '1,234 All' }).getAttribute('aria-current')).toBe('true');
    expect(screen.getByRole('link', { name: '– Failed' }).getAttribute('href')).toBe('/jobs?state=failed');
  });
});
