import { expect, open, signIn, test } from './fixtures';
import { look } from './look';

const DOUBTED = {
  now: '2099-01-01T00:04:00.000Z',
  held: true,
  kind: 'moved',
  why: 'The clock was set ahead by 26333 days while Tenure ran: it showed 2099-01-01T00:00:00.000Z, expected about 2026-11-27T12:00:00.000Z.',
  since: '2099-01-01T00:00:00.000Z',
  expectedAt: '2026-11-27T12:00:00.000Z',
  driftMs: 2275171200000,
  jobsWaiting: 51,
  newestAuditEntry: { seq: 120, at: '2026-11-27T12:00:00.000Z' },
};

test('a clock in doubt is told on every page of an administrator, with a way to confirm the time', async ({ page }, info) => {
  await page.route('**/api/clock', (route) => route.fulfill({ json: DOUBTED }));
  await signIn(page, 'admin');
  await open(page, '/overview');
  const banner = page.getByRole('alert').filter({ hasText: 'The clock is in doubt' });
  await expect(banner).toContainText('set ahead by 26333 days');
  await look(page, info, 'clock-banner');
  await open(page, '/people');
  await expect(banner).toBeVisible();
  await banner.getByRole('button', { name: 'Confirm the time…' }).click();
  await expect(page.getByRole('dialog', { name: 'Is the time right now?' })).toContainText('51 jobs stand back');
  await look(page, info, 'clock-dialog');
});
