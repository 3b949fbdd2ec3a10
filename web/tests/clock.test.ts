import { fireEvent, render, screen } from '@testing-library/svelte';
import { QueryClient } from '@tanstack/svelte-query';
import { tick } from 'svelte';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { session } from '../src/lib/session.svelte';
import type { ServerClock } from '../src/lib/types';
import ClockBanner from '../src/shell/ClockBanner.svelte';
import Hosted from './Hosted.svelte';

const WHY = 'The clock was set ahead by 24777 days while Tenure ran.';
const TITLE = 'The clock is in doubt: nothing ends by itself';
const doubted: ServerClock = {
  now: '2099-01-01T00:00:00.000Z',
  held: true,
  kind: 'moved',
  why: WHY,
  since: '2099-01-01T00:00:00.000Z',
  expectedAt: '2031-03-01T12:00:00.000Z',
  driftMs: 2_140_776_000_000,
  jobsWaiting: 51,
  newestAuditEntry: { seq: 7, at: '2031-03-01T12:00:00.000Z' },
};
const believed: ServerClock = { ...doubted, held: false, kind: null, why: null, since: null, expectedAt: null, driftMs: 0, jobsWaiting: 0 };

let now: ServerClock;
let asked: string[];
let reasons: unknown[];
let client: QueryClient;

beforeEach(() => {
  now = doubted;
  asked = [];
  reasons = [];
  client = new QueryClient({ defaultOptions: { queries: { retry: false } } });
  vi.stubGlobal('fetch', async (url: string, init: RequestInit) => {
    asked.push(url);
    if (init.method === 'POST') {
      reasons.push(JSON.parse(String(init.body)));
      now = believed;
    }
    return new Response(JSON.stringify(now));
  });
  vi.spyOn(session, 'can').mockReturnValue(true);
});

afterEach(() => {
  client.clear();
  vi.restoreAllMocks();
});

describe('a clock in doubt', () => {
  it('is told to administrators, who confirm the time with a reason', async () => {
    render(Hosted, { client, page: ClockBanner });
    expect(await screen.findByText(TITLE)).toBeTruthy();
    expect(screen.getByText(WHY)).toBeTruthy();
    await fireEvent.click(screen.getByRole('button', { name: 'Confirm the time…' }));
    expect(await screen.findByText(/^51 jobs stand back/)).toBeTruthy();
    await fireEvent.click(screen.getByRole('button', { name: 'The time is right' }));
    expect(screen.getByText('Say how you know that the time is right.')).toBeTruthy();
    expect(reasons).toEqual([]);
    await fireEvent.input(screen.getByRole('textbox', { name: 'How do you know?' }), { target: { value: ' The wall says so. ' } });
    await fireEvent.click(screen.getByRole('button', { name: 'The time is right' }));
    await vi.waitFor(() => expect(screen.queryByText(TITLE)).toBeNull());
    expect(reasons).toEqual([{ reason: 'The wall says so.' }]);
  });

  it('is no news while the clock is believed', async () => {
    now = believed;
    render(Hosted, { client, page: ClockBanner });
    await vi.waitFor(() => expect(asked).toEqual(['/api/clock']));
    expect(screen.queryByText(TITLE)).toBeNull();
  });

  it('is not asked for by those who could do nothing about it', async () => {
    vi.spyOn(session, 'can').mockReturnValue(false);
    render(Hosted, { client, page: ClockBanner });
    await tick();
    expect(asked).toEqual([]);
  });
});
