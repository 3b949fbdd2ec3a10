import { fireEvent, render, screen, waitFor, within } from '@testing-library/svelte';
import { QueryClient } from '@tanstack/svelte-query';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { navigate } from '../src/lib/router';
import { session } from '../src/lib/session.svelte';
import type { BulkProgress, Job, JobAttempt, JobErrorGroup, QueueInfo, Schedule } from '../src/lib/types';
import { BULK, bulkFilter, bulkPossible, outcome } from '../src/pages/jobs/bulk';
import Jobs from '../src/pages/Jobs.svelte';
import Schedules from '../src/pages/Schedules.svelte';
import Hosted from './Hosted.svelte';

interface Sent {
  method: string;
  path: string;
  body: unknown;
}
type Answer = unknown | ((sent: Sent) => unknown);

const AT = '2031-03-01T12:00:00Z';
const job: Job = {
  id: 'job_1',
  name: 'send-mail',
  state: 'failed',
  payload: {},
  attemptsMade: 4,
  failedReason: 'The mail failed.',
  runAt: AT,
  processedOn: AT,
  finishedOn: AT,
};
const info: QueueInfo = { paused: false, backend: 'embedded', failedKept: 4120, failedLimit: 5000, completedKept: 7, completedLimit: 1000 };
const group: JobErrorGroup = { name: 'send-mail', group: 'no route to #', count: 40, sample: 'no route to 10.0.0.1\nmore', newest: 'job_1', firstAt: AT, lastAt: AT };
const attempts: JobAttempt[] = [
  { attempt: 2, state: 'failed', startedAt: AT, endedAt: '2031-03-01T12:00:03Z', reason: 'second' },
  { attempt: 1, state: 'failed', startedAt: AT, endedAt: AT, reason: 'first\ncaused by: no route' },
];

class Refusal {
  constructor(
    readonly status: number,
    readonly title: string,
  ) {}
}

let sent: Sent[] = [];
let answers: Record<string, Answer> = {};

/** The server: an answer per method and path, the query left out. */
function serve(more: Record<string, Answer>) {
  answers = {
    'GET /api/jobs': { items: [job], nextCursor: null },
    'GET /api/jobs/counts': { waiting: 3, delayed: 0, active: 0, completed: 7, failed: 4120 },
    'GET /api/jobs/errors': { items: [group] },
    'GET /api/queue': info,
    'GET /api/jobs/job_1': job,
    'GET /api/jobs/job_1/attempts': { items: attempts },
    ...more,
  };
}

const posted = (path: string) => sent.filter((one) => one.method === 'POST' && one.path === path).map((one) => one.body);
const asked = (path: string) => sent.filter((one) => one.method === 'GET' && one.path.split('?')[0] === path).map((one) => one.path);

let client: QueryClient;
function show(page: typeof Jobs | typeof Schedules, address: string) {
  window.history.replaceState(null, '', address);
  render(Hosted, { client, page });
}

beforeEach(() => {
  sent = [];
  client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    const one = { method: init.method ?? 'GET', path: url, body: init.body ? JSON.parse(String(init.body)) : undefined };
    sent.push(one);
    const answer = answers[`${one.method} ${url.split('?')[0]}`];
    const data = typeof answer === 'function' ? answer(one) : answer;
    if (data instanceof Refusal) return new Response(JSON.stringify({ title: data.title }), { status: data.status });
    return data === undefined ? new Response('{"title":"Not found"}', { status: 404 }) : new Response(JSON.stringify(data));
  });
  vi.spyOn(session, 'can').mockReturnValue(true);
  vi.spyOn(session, 'canAny').mockReturnValue(true);
});

afterEach(() => {
  client.clear();
  vi.restoreAllMocks();
});

describe('the queue', () => {
  it('says how much is kept, and is paused only after a confirmation', async () => {
    const paused = { ...info, paused: true };
    serve({
      'POST /api/queue/pause': () => {
        answers['GET /api/queue'] = paused;
        return paused;
      },
    });
    show(Jobs, '/jobs');
    expect(await screen.findByText('4,120 of 5,000 failed kept')).toBeTruthy();
    expect(screen.queryByText('Paused')).toBeNull();
    await fireEvent.click(screen.getByRole('button', { name: 'Pause the queue…' }));
    expect(posted('/api/queue/pause')).toEqual([]);
    await fireEvent.click(await screen.findByRole('button', { name: 'Pause' }));
    expect(await screen.findByRole('button', { name: 'Resume the queue…' })).toBeTruthy();
    expect(posted('/api/queue/pause')).toHaveLength(1);
    expect(screen.getAllByText('Paused').length).toBeGreaterThan(0);
  });

  it('warns as the room for failed jobs runs out, and offers no change to a reader', async () => {
    vi.spyOn(session, 'can').mockReturnValue(false);
    serve({ 'GET /api/queue': { ...info, failedKept: 5000, completedKept: 1000 } });
    show(Jobs, '/jobs?state=failed');
    expect(await screen.findByText('Full: the oldest leave')).toBeTruthy();
    expect(screen.queryAllByText(/^Full/)).toHaveLength(1);
    await screen.findByRole('table', { name: 'Jobs' });
    expect(screen.queryByRole('button', { name: /queue…$/ })).toBeNull();
    expect(screen.queryByRole('group', { name: 'All jobs of this filter' })).toBeNull();
  });
});

describe('error groups', () => {
  it('stand among the failed jobs and narrow the list to one of them', async () => {
    serve({});
    show(Jobs, '/jobs?state=failed&q=x');
    const table = await screen.findByRole('table', { name: 'Error groups' });
    const href = within(table).getByRole('link', { name: 'no route to 10.0.0.1' }).getAttribute('href')!;
    expect(Object.fromEntries(new URL(href, 'http://x').searchParams)).toEqual({ state: 'failed', name: 'send-mail', group: 'no route to #' });
  });

  it('are asked of the server, and left the same way', async () => {
    serve({});
    show(Jobs, '/jobs?state=failed&name=send-mail&group=no%20route%20to%20%23');
    const table = await screen.findByRole('table', { name: 'Error groups' });
    const link = within(table).getByRole('link', { name: 'no route to 10.0.0.1' });
    expect(link.getAttribute('aria-current')).toBe('true');
    expect(link.getAttribute('href')).toBe('/jobs?state=failed');
    expect(asked('/api/jobs')[0]).toContain('group=no+route+to+%23');
  });

  it('without a reason are a group like any other', async () => {
    const silent: JobErrorGroup = { ...group, group: '', count: 3, sample: '' };
    serve({ 'GET /api/jobs/errors': { items: [group, silent] }, 'POST /api/jobs/bulk': { matched: 3 } });
    show(Jobs, '/jobs?state=failed');
    const table = await screen.findByRole('table', { name: 'Error groups' });
    const href = within(table).getByRole('link', { name: 'No reason was given' }).getAttribute('href')!;
    expect(Object.fromEntries(new URL(href, 'http://x').searchParams)).toEqual({ state: 'failed', name: 'send-mail', group: '' });
    navigate(href);
    await waitFor(() => expect(asked('/api/jobs').at(-1)).toBe('/api/jobs?state=failed&name=send-mail&group='));
    expect(await screen.findByRole('link', { name: 'Only one kind of error ✕' })).toBeTruthy();
    const chosen = within(screen.getByRole('table', { name: 'Error groups' })).getByRole('link', { name: 'No reason was given' });
    expect(chosen.getAttribute('aria-current')).toBe('true');
    expect(chosen.getAttribute('href')).toBe('/jobs?state=failed');
    // Nor does an action on the group reach beyond it.
    await fireEvent.click(await screen.findByRole('button', { name: 'Remove all…' }));
    await screen.findByRole('button', { name: 'Remove: 3 jobs' });
    expect(posted('/api/jobs/bulk')).toEqual([{ action: 'remove', filter: { state: 'failed', name: 'send-mail', group: '' }, dryRun: true }]);
    expect(within(screen.getByRole('dialog')).getByText('No reason was given')).toBeTruthy();
  });

  it('are not shown among jobs of other states', async () => {
    serve({});
    show(Jobs, '/jobs?state=completed');
    await screen.findByRole('table', { name: 'Jobs' });
    expect(asked('/api/jobs/errors')).toEqual([]);
  });
});

describe('a bulk action', () => {
  const running: BulkProgress = { id: 'job_9', action: 'retry', total: 40, seen: 10, changed: 9, requestedBy: 'Ada', createdAt: AT, finishedAt: null };

  it('names the number the server counted, and expects that number', async () => {
    serve({
      'POST /api/jobs/bulk': ({ body }: Sent) => ((body as { dryRun?: true }).dryRun ? { matched: 40 } : { id: 'job_9', matched: 40 }),
      'GET /api/jobs/bulk/job_9': running,
    });
    show(Jobs, '/jobs?state=failed&name=send-mail&cursor=c1');
    await fireEvent.click(await screen.findByRole('button', { name: 'Retry all…' }));
    await fireEvent.click(await screen.findByRole('button', { name: 'Retry: 40 jobs' }));
    const bar = await screen.findByRole('progressbar', { name: 'Retrying' });
    expect([bar.getAttribute('aria-valuenow'), bar.getAttribute('aria-valuemax')]).toEqual(['10', '40']);
    const filter = { state: 'failed', name: 'send-mail' };
    expect(posted('/api/jobs/bulk')).toEqual([
      { action: 'retry', filter, dryRun: true },
      { action: 'retry', filter, expectedCount: 40 },
    ]);
    expect(window.location.search).toContain('bulk=job_9');
  });

  it('that empties the list leaves the focus at the heading', async () => {
    let left = [job];
    serve({
      'GET /api/jobs': () => ({ items: left, nextCursor: null }),
      'POST /api/jobs/bulk': ({ body }: Sent) => ((body as { dryRun?: true }).dryRun ? { matched: 1 } : { id: 'job_9', matched: 1 }),
      'GET /api/jobs/bulk/job_9': () => {
        left = [];
        return { ...running, total: 1, seen: 1, changed: 1, finishedAt: AT };
      },
    });
    show(Jobs, '/jobs?state=failed');
    const opener = await screen.findByRole('button', { name: 'Retry all…' });
    opener.focus();
    await fireEvent.click(opener);
    const begin = await screen.findByRole('button', { name: 'Retry: 1 job' });
    begin.focus();
    await fireEvent.click(begin);
    await screen.findByText('No job has failed');
    await waitFor(() => expect(document.activeElement).toBe(screen.getByRole('heading', { name: 'Jobs', level: 1 })));
  });

  it('leaves the focus where it is when it was elsewhere as the list became empty', async () => {
    let left = [job];
    serve({ 'GET /api/jobs': () => ({ items: left, nextCursor: null }) });
    show(Jobs, '/jobs?state=failed');
    await screen.findByRole('button', { name: 'Retry all…' });
    const search = screen.getByRole('searchbox', { name: 'Search jobs' });
    search.focus();
    left = [];
    await client.invalidateQueries();
    await screen.findByText('No job has failed');
    expect(document.activeElement).toBe(search);
  });

  it('is asked about anew when another number matches', async () => {
    let matched = 40;
    serve({
      'POST /api/jobs/bulk': ({ body }: Sent) => {
        if ((body as { dryRun?: true }).dryRun) return { matched };
        matched = 41;
        return new Refusal(409, 'Another number matches now');
      },
    });
    show(Jobs, '/jobs?state=failed');
    await fireEvent.click(await screen.findByRole('button', { name: 'Retry once all…' }));
    await fireEvent.click(await screen.findByRole('button', { name: 'Retry once: 40 jobs' }));
    expect(await screen.findByRole('button', { name: 'Retry once: 41 jobs' })).toBeTruthy();
    expect(screen.getByText('Another number matches now')).toBeTruthy();
  });

  it('that removes many wants the number typed', async () => {
    serve({ 'POST /api/jobs/bulk': { matched: 4120 } });
    show(Jobs, '/jobs?state=failed');
    await fireEvent.click(await screen.findByRole('button', { name: 'Remove all…' }));
    const button = await screen.findByRole<HTMLButtonElement>('button', { name: 'Remove: 4,120 jobs' });
    expect(button.disabled).toBe(true);
    await fireEvent.input(screen.getByLabelText('Type the number of jobs'), { target: { value: '412' } });
    expect(button.disabled).toBe(true);
    await fireEvent.input(screen.getByLabelText('Type the number of jobs'), { target: { value: '4,120' } });
    expect(button.disabled).toBe(false);
  });

  it('is followed until it is over, also after the page was loaded again', async () => {
    let asks = 0;
    serve({
      'GET /api/jobs/bulk/job_9': () => {
        asks += 1;
        return asks < 2 ? running : { ...running, seen: 40, changed: 38, finishedAt: AT };
      },
    });
    show(Jobs, '/jobs?state=failed&bulk=job_9');
    await screen.findByRole('progressbar');
    await waitFor(() => expect(screen.getByText('38 of 40 jobs start over; 2 had moved on meanwhile and were left alone.')).toBeTruthy(), { timeout: 4000 });
    expect(screen.queryByRole('progressbar')).toBeNull();
    expect(screen.getByRole('link', { name: 'Dismiss' }).getAttribute('href')).toBe('/jobs?state=failed');
  });

  it('is followed over a short outage, and says what holds it back', async () => {
    let asks = 0;
    serve({
      'GET /api/queue': { ...info, paused: true },
      'GET /api/jobs/bulk/job_9': () => {
        asks += 1;
        if (asks === 1) return running;
        return asks === 2 ? new Refusal(503, 'Starting') : { ...running, seen: 40, changed: 40, finishedAt: AT };
      },
    });
    show(Jobs, '/jobs?state=failed&bulk=job_9');
    expect(await screen.findByText('The queue is paused; this goes on when it is resumed.')).toBeTruthy();
    await waitFor(() => expect(screen.getByText('40 of 40 jobs start over.')).toBeTruthy(), { timeout: 4500 });
    expect(asks).toBe(3);
  });

  it('that nobody knows of any more is not asked for again', async () => {
    serve({});
    show(Jobs, '/jobs?state=failed&bulk=job_8');
    expect(await screen.findByText('How far the action is cannot be told')).toBeTruthy();
    expect(screen.queryByRole('progressbar')).toBeNull();
  });

  it('is offered within one state only, and never for jobs that run', () => {
    expect(bulkPossible('failed')).toEqual(['retry', 'retry-once', 'remove']);
    expect(bulkPossible('delayed')).toEqual(['promote', 'remove']);
    expect(bulkPossible('active')).toEqual([]);
    expect(bulkPossible('')).toEqual([]);
    expect(BULK.remove.effect('completed')).toContain('record');
    expect(BULK.remove.effect('failed')).toContain('not done');
    expect(bulkFilter({ state: 'failed', name: '', q: 'a', group: null })).toEqual({ state: 'failed', q: 'a' });
    expect(bulkFilter({ state: 'failed', name: '', q: '', group: '' })).toEqual({ state: 'failed', group: '' });
    expect(outcome({ ...running, changed: 40 })).toBe('40 of 40 jobs start over.');
  });
});

describe('a job', () => {
  it('lists its attempts newest first, a long reason folded', async () => {
    serve({});
    show(Jobs, '/jobs?id=job_1');
    const list = await screen.findByRole('list', { name: 'Attempts, newest first' });
    const items = within(list).getAllByRole('listitem').map((item) => item.textContent?.replace(/\s+/g, ' '));
    expect(items[0]).toMatch(/Attempt 2 .*took 3\.0 s.*second/);
    expect(items[1]).toMatch(/Attempt 1 /);
    expect(within(list).getByText('first').closest('details')?.open).toBe(false);
  });

  it('starts over, or gets one more attempt', async () => {
    serve({ 'POST /api/jobs/job_1/retry': job });
    show(Jobs, '/jobs?id=job_1');
    await fireEvent.click(await screen.findByRole('button', { name: 'Retry…' }));
    expect(screen.getByText(/starts over, with all/)).toBeTruthy();
    await fireEvent.click(screen.getByRole('radio', { name: 'One more attempt' }));
    expect(screen.getByText(/still count/)).toBeTruthy();
    await fireEvent.click(screen.getByRole('button', { name: 'Retry' }));
    await waitFor(() => expect(posted('/api/jobs/job_1/retry')).toEqual([{ mode: 'one-more' }]));

    await fireEvent.click(screen.getByRole('button', { name: 'Retry…' }));
    await fireEvent.click(await screen.findByRole('button', { name: 'Retry' }));
    await waitFor(() => expect(posted('/api/jobs/job_1/retry')[1]).toEqual({ mode: 'start-over' }));
  });
});

describe('schedules', () => {
  const own: Schedule = {
    id: 'sweep', kind: 'system', name: 'sweep', cron: '0 3 * * *', timezone: 'UTC', paused: false, nextRunAt: AT,
    lastRunAt: AT, lastState: 'completed', lastJobId: 'job_1', late: { slotAt: AT, byMs: 200_000 }, workflow: null,
  };
  const starts: Schedule = {
    ...own, id: 'sch_1', kind: 'workflow', name: 'Quarterly review', paused: true, late: null, lastState: null,
    workflow: { workflowId: 'wf_1', workflowKey: 'review', workflowName: 'Access review' },
  };

  it('show both kinds, what is late, and what rests', async () => {
    serve({ 'GET /api/schedules': { items: [starts, own], nextCursor: null } });
    show(Schedules, '/schedules?kind=system');
    const row = (await screen.findByRole('link', { name: 'sweep' })).closest('tr')!;
    expect(within(row).getAllByText('3 min 20 s late').length).toBeGreaterThan(0);
    const other = screen.getByRole('link', { name: 'Quarterly review' });
    expect(other.getAttribute('href')).toBe('/workflows/wf_1');
    expect(within(other.closest('tr')!).getByText('Paused')).toBeTruthy();
    expect(within(other.closest('tr')!).queryByText(/ late$/)).toBeNull();
    expect(asked('/api/schedules')[0]).toContain('kind=system');
  });

  it('run now after a confirmation', async () => {
    serve({ 'GET /api/schedules': { items: [own], nextCursor: null }, 'POST /api/schedules/sweep/run': { jobId: 'job_2' } });
    show(Schedules, '/schedules');
    await fireEvent.click(await screen.findByRole('button', { name: 'Run sweep now' }));
    expect(posted('/api/schedules/sweep/run')).toEqual([]);
    await fireEvent.click(screen.getByRole('button', { name: 'Run now' }));
    await waitFor(() => expect(posted('/api/schedules/sweep/run')).toHaveLength(1));
  });
});
