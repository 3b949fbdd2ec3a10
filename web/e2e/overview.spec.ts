import { expect, open, signIn, test } from './fixtures';

test('the overview shows health, queue, connections and schedules', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/overview');
  const checks = page.getByRole('table', { name: 'Health checks' });
  await expect(checks.getByRole('row', { name: /^Database/ }).locator('[data-status="ok"]')).toBeVisible();
  await expect(page.locator('h1 + [data-status="ok"]')).toBeVisible();
  await expect(page.getByText(/active, \d+ idle of \d+/)).toBeVisible();
  const schedules = page.getByRole('table', { name: 'System schedules' });
  await expect(schedules.getByRole('link', { name: 'stuck-run-recovery' })).toBeVisible();
  await page.getByRole('link', { name: /Failed$/ }).click();
  await expect(page).toHaveURL(/\/jobs\?state=failed/);
});

test('a setting shows its source and refuses what is out of range', async ({ page, watch }) => {
  watch.allow(/status of 422/);
  await signIn(page, 'admin');
  await open(page, '/settings');
  await page.getByRole('button', { name: 'Change Stuck run timeout' }).click();
  const field = page.getByLabel('Stuck run timeout, in minutes');
  await field.fill('99999999');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(field).toHaveAttribute('aria-invalid', 'true');
  await field.fill('45');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('45 minutes')).toBeVisible();
  await expect(page.getByText(/^Saved here/)).toBeVisible();
  await page.getByRole('button', { name: 'Forget the saved value' }).click();
  await expect(page.getByText('45 minutes')).toHaveCount(0);
});
