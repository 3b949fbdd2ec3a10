import type { Page } from '@playwright/test';
import { expect, open, post, signIn, test } from './fixtures';
import { expectNoFaults, overflow } from './look';

// Nothing listens there, so that every mail of the sample organisation fails.
test.use({ serverEnv: { SMTP_URL: 'smtp://127.0.0.1:9' } });

interface Job {
  id: string;
  name: string;
  state: string;
  attemptsMade: number;
}

async function mails(page: Page): Promise<Job[]> {
  const answer = await page.request.get(`${process.env.TENURE_URL}/api/jobs?name=send-mail`);
  return ((await answer.json()) as { items: Job[] }).items;
}

/** Brings the attempts of a mail forward until so many were made. It may come due by itself meanwhile, which is as good. */
async function attempted(page: Page, csrfToken: string, wanted: number, id?: string): Promise<Job> {
  const url = process.env.TENURE_URL!;
  let job: Job | undefined;
  await expect(async () => {
    const all = await mails(page);
    job = id ? all.find((one) => one.id === id) : all.at(-1);
    expect(job).toBeDefined();
    if (job!.state === 'delayed' && job!.attemptsMade < wanted) {
      const headers = { origin: url, 'x-csrf-token': csrfToken };
      const answer = await page.request.post(`${url}/api/jobs/${job!.id}/promote`, { data: {}, headers });
      expect([200, 409]).toContain(answer.status());
    }
    expect(job!.attemptsMade).toBeGreaterThanOrEqual(wanted);
    expect(['delayed', 'failed']).toContain(job!.state);
  }).toPass({ intervals: [50], timeout: 20_000 });
  return job!;
}

async function failedMail(page: Page, csrfToken: string): Promise<Job> {
  const job = await attempted(page, csrfToken, 4);
  expect(job.state).toBe('failed');
  return job;
}

const panelOf = (page: Page) => page.getByRole('region', { name: 'Chosen job' });

for (const width of [360, 1440]) {
  test(`a failed job is read and asked about at ${width} px`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    const job = await failedMail(page, await signIn(page, 'admin'));
    await open(page, '/jobs');
    await expect(page.locator('tbody').getByText(/127\.0\.0\.1:9/).locator('visible=true').first()).toBeVisible();
    const hidden = () => page.locator('table').evaluate((table) => table.scrollWidth - table.parentElement!.clientWidth);
    expect(await hidden(), 'no column is out of sight').toBeLessThanOrEqual(0);
    await page.getByRole('list', { name: 'Jobs by state' }).getByRole('link', { name: /Failed$/ }).click();
    await expect(page).toHaveURL(/state=failed/);
    await page.goto(`/jobs?state=failed&id=${job.id}`);
    const panel = panelOf(page);
    await expect(panel.getByText('Why it failed')).toBeVisible();
    // The job says it, and so does each of its attempts.
    await expect(panel.getByText(/127\.0\.0\.1:9/).first()).toBeVisible();
    await expect(panel.getByRole('listitem').filter({ hasText: /Attempt \d/ })).toHaveCount(4);
    await expect(panel.getByRole('group', { name: 'Payload' })).toContainText('notificationId');
    await expect(panel.getByRole('link', { name: 'What the system log says' })).toHaveAttribute('href', `/logs?q=${job.id}`);
    await expectNoFaults(page);
    await panel.getByRole('button', { name: 'Retry…' }).click();
    await expect(page.getByRole('dialog', { name: 'Run this job again?' })).toBeVisible();
    await expectNoFaults(page);
    expect(await overflow(page)).toBe(0);
  });
}

test('a failed job is retried by keyboard, brought forward and removed', async ({ page, watch }) => {
  const csrfToken = await signIn(page, 'admin');
  const job = await failedMail(page, csrfToken);
  await open(page, `/jobs?id=${job.id}`);
  const panel = panelOf(page);

  const retry = panel.getByRole('button', { name: 'Retry…' });
  await retry.press('Enter');
  const again = page.getByRole('dialog', { name: 'Run this job again?' });
  await page.keyboard.press('Escape');
  await expect(again).toBeHidden();
  await expect(retry).toBeFocused();
  await retry.press('Enter');
  await again.getByRole('button', { name: 'Retry' }).press('Enter');
  await expect(again).toBeHidden();

  // It fails again at once and waits for its second attempt; before the last it waits longest.
  await expect(panel.getByText('Why the last attempt failed')).toBeVisible();
  await attempted(page, csrfToken, 3, job.id);
  await panel.getByRole('button', { name: 'Run now…' }).click();
  await page.getByRole('dialog', { name: 'Run this job now?' }).getByRole('button', { name: 'Run now' }).click();
  await expect(async () => {
    const now = (await mails(page)).find((one) => one.id === job.id);
    expect(now?.state).toBe('failed');
  }).toPass();

  await panel.getByRole('button', { name: 'Remove…' }).click();
  const sure = page.getByRole('dialog', { name: 'Remove this job?' });
  await expect(sure.getByText('This cannot be undone.')).toBeVisible();
  await sure.getByRole('button', { name: 'Remove' }).click();
  await expect(sure).toBeHidden();
  await expect(page).toHaveURL(/\/jobs$/);
  await expect(page.getByRole('heading', { level: 1, name: 'Jobs' })).toBeFocused();
  expect((await mails(page)).some((one) => one.id === job.id)).toBe(false);

  watch.allow(/status of 404/);
  await page.goto(`/jobs?id=${job.id}`);
  await expect(panel.getByRole('alert')).toContainText('There is nothing here that you can see');
});

test('a change that came too late is refused in words', async ({ page, watch }) => {
  watch.allow(/status of 409/);
  const csrfToken = await signIn(page, 'admin');
  const job = await failedMail(page, csrfToken);
  await open(page, `/jobs?id=${job.id}`);
  await panelOf(page).getByRole('button', { name: 'Retry…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Run this job again?' });
  await post(page, `/api/jobs/${job.id}/retry`, csrfToken);
  await dialog.getByRole('button', { name: 'Retry' }).click();
  await expect(dialog.getByRole('alert')).toContainText('Only a failed job can be retried');
});

test('jobs are searched and narrowed, and nothing found is said in words', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/jobs');
  await page.getByRole('searchbox', { name: 'Search jobs' }).fill('expire-document');
  await expect(page).toHaveURL(/q=expire-document/);
  await expect(page.locator('tbody th').filter({ hasNotText: 'expire-document' })).toHaveCount(0);
  await page.getByRole('searchbox', { name: 'Search jobs' }).fill('nothing-is-called-this');
  await expect(page.getByText('No job fits this filter')).toBeVisible();
  await page.goto('/jobs?state=active');
  await expect(page.getByText('No job runs at the moment')).toBeVisible();
  await page.goto('/jobs?name=expire-document');
  await page.getByRole('link', { name: 'Only expire-document ✕' }).click();
  await expect(page).toHaveURL(/\/jobs$/);
});

test('who may only read the jobs is offered no change', async ({ page }) => {
  await page.route('**/api/auth/me', async (route) => {
    const answer = await route.fetch();
    const me = (await answer.json()) as { permissions: string[] };
    await route.fulfill({ response: answer, json: { ...me, permissions: me.permissions.filter((one) => one !== 'job:manage') } });
  });
  await signIn(page, 'admin');
  const [job] = await mails(page);
  await open(page, `/jobs?id=${job!.id}`);
  await expect(panelOf(page).getByRole('group', { name: 'Payload' })).toBeVisible();
  await expect(panelOf(page).getByRole('button', { name: /…$/ })).toHaveCount(0);
});
