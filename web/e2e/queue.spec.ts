import type { Page } from '@playwright/test';
import { faultsOf } from './axe';
import { expect, open, signIn, test } from './fixtures';
import { expectNoFaults, overflow } from './look';

// Nothing listens there, so that every mail of the sample organisation fails.
test.use({ serverEnv: { SMTP_URL: 'smtp://127.0.0.1:9' } });

interface Job {
  id: string;
  state: string;
}

async function mails(page: Page, state: string): Promise<Job[]> {
  const answer = await page.request.get(`${process.env.TENURE_URL}/api/jobs?name=send-mail&state=${state}`);
  return ((await answer.json()) as { items: Job[] }).items;
}

/** Brings every mail forward, again and again, until all of them have failed for good. */
async function allMailsFailed(page: Page, csrfToken: string): Promise<number> {
  const url = process.env.TENURE_URL!;
  await expect(async () => {
    for (const job of await mails(page, 'delayed')) {
      // One that began meanwhile is refused, and comes again.
      await page.request.post(`${url}/api/jobs/${job.id}/promote`, { data: {}, headers: { origin: url, 'x-csrf-token': csrfToken } });
    }
    expect((await mails(page, 'failed')).length).toBeGreaterThan(1);
    const open = await Promise.all(['delayed', 'waiting', 'active'].map((state) => mails(page, state)));
    expect(open.flat()).toHaveLength(0);
  }).toPass({ timeout: 15_000, intervals: [100] });
  return (await mails(page, 'failed')).length;
}

for (const width of [360, 1440]) {
  test(`groups, attempts and dialogs are free of axe findings at ${width} px`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    await allMailsFailed(page, await signIn(page, 'admin'));
    await open(page, '/jobs?state=failed');
    await expect(page.getByText(/^\d+ of 5,000 failed kept$/)).toBeVisible();
    const groups = page.getByRole('table', { name: 'Error groups' });
    await expect(groups.getByRole('link', { name: /127\.0\.0\.1:9/ }).first()).toBeVisible();
    const wide = () => page.locator('table').evaluateAll((tables) => tables.map((one) => one.scrollWidth - one.parentElement!.clientWidth));
    for (const hidden of await wide()) expect(hidden, 'no column is out of sight').toBeLessThanOrEqual(0);
    expect(await overflow(page)).toBe(0);
    await expectNoFaults(page);
    await page.getByRole('button', { name: 'Remove all…' }).click();
    await expect(page.getByRole('button', { name: /^Remove: \d+ jobs$/ })).toBeVisible();
    await expectNoFaults(page);
    await page.keyboard.press('Escape');
    await expect(page.getByRole('button', { name: 'Remove all…' })).toBeFocused();
    const [job] = await mails(page, 'failed');
    await page.goto(`/jobs?state=failed&id=${job!.id}`);
    await expect(page.getByRole('list', { name: 'Attempts, newest first' }).getByRole('listitem').first()).toContainText('Attempt 4');
    expect(await overflow(page)).toBe(0);
    await expectNoFaults(page);
  });
}

test('a group of errors gets one more attempt by keyboard, and a paused queue holds back what is retried', async ({ page }) => {
  const csrfToken = await signIn(page, 'admin');
  const failed = await allMailsFailed(page, csrfToken);
  await open(page, '/jobs?state=failed');
  await page.getByRole('table', { name: 'Error groups' }).getByRole('link', { name: /127\.0\.0\.1:9/ }).first().press('Enter');
  await expect(page).toHaveURL(/group=/);
  await page.getByRole('button', { name: 'Retry once all…' }).press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Retry once all that match?' });
  await dialog.getByRole('button', { name: `Retry once: ${failed} jobs` }).press('Enter');
  await expect(page.getByText(`${failed} of ${failed} jobs get one more attempt.`)).toBeVisible();
  await expect(page.getByText(/^Asked for by .+, finished/)).toBeVisible();
  expect(await faultsOf(page)).toEqual([]);
  await page.getByRole('link', { name: 'Dismiss' }).click();
  await expect(page).not.toHaveURL(/bulk=/);
  // Each failed again, for good: one attempt was all they got.
  await expect(async () => expect(await mails(page, 'failed')).toHaveLength(failed)).toPass();
  const [job] = await mails(page, 'failed');
  await page.goto(`/jobs?id=${job!.id}`);
  await expect(page.getByRole('list', { name: 'Attempts, newest first' }).getByRole('listitem').first()).toContainText('Attempt 5');

  await page.getByRole('button', { name: 'Pause the queue…' }).click();
  await page.getByRole('dialog', { name: 'Pause the queue?' }).getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByText('No job starts until the queue is resumed')).toBeVisible();
  expect(await faultsOf(page)).toEqual([]);
  await page.reload();
  await page.getByRole('button', { name: 'Retry…' }).click();
  await page.getByRole('dialog').getByText('One more attempt').click();
  await page.getByRole('dialog').getByRole('button', { name: 'Retry' }).click();
  await expect(async () => expect(await mails(page, 'waiting')).toHaveLength(1)).toPass();
  await page.getByRole('button', { name: 'Resume the queue…' }).click();
  await page.getByRole('dialog', { name: 'Resume the queue?' }).getByRole('button', { name: 'Resume' }).click();
  await expect(page.getByRole('button', { name: 'Pause the queue…' })).toBeVisible();
  await expect(async () => expect(await mails(page, 'waiting')).toHaveLength(0)).toPass();
});

test('a schedule runs now, asked for by keyboard', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/schedules?kind=system');
  const button = page.getByRole('button', { name: /^Run .+ now$/ }).first();
  await button.press('Enter');
  const dialog = page.getByRole('dialog');
  expect(await faultsOf(page)).toEqual([]);
  await dialog.getByRole('button', { name: 'Run now' }).press('Enter');
  await expect(page.getByText(/runs as soon as a worker is free$/)).toBeVisible();
  await expect(button).toBeFocused();
});

// The last one: it leaves no failed mail to others.
test('removing all failed jobs by keyboard leaves the focus at the heading', async ({ page }) => {
  await allMailsFailed(page, await signIn(page, 'admin'));
  await open(page, '/jobs?state=failed');
  await page.getByRole('button', { name: 'Remove all…' }).press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Remove all that match?' });
  await dialog.getByRole('button', { name: /^Remove: \d+ jobs$/ }).press('Enter');
  await expect(page.getByText('No job has failed')).toBeVisible();
  await expect(page.getByRole('heading', { name: 'Jobs', level: 1 })).toBeFocused();
});
