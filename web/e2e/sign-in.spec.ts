import { expect, fillSignIn, open, signIn, test } from './fixtures';

test('a wrong password is refused, the right one leads to where one wanted to go', async ({ page, watch }) => {
  watch.allow(/status of 401 .*\/api\/auth\/login/);
  await page.goto('/runs?status=waiting');
  await expect(page).toHaveURL(/\/sign-in\?next=/);
  await fillSignIn(page, 'admin', 'not-the-password');
  await expect(page.getByRole('alert')).toBeVisible();
  await expect(page.getByLabel('Password')).toHaveValue('');
  await fillSignIn(page, 'admin');
  await expect(page).toHaveURL(/\/runs\?status=waiting$/);
  await expect(page.getByRole('heading', { level: 1, name: 'Runs' })).toBeVisible();
});

test('signing out ends the session', async ({ page }) => {
  await signIn(page, 'rosa');
  await open(page, '/inbox');
  await page.getByRole('button', { name: /^Account and display/ }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in/);
  const answer = await page.request.get(`${process.env.TENURE_URL}/api/auth/me`);
  expect(answer.status()).toBe(401);
});

test('theme and time zone stay chosen', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/runs');
  await page.getByRole('button', { name: /^Account and display/ }).click();
  await page.getByLabel('Dark').check();
  await page.getByLabel('UTC').check();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.reload();
  await expect(page.locator('html')).toHaveAttribute('data-theme', 'dark');
  await page.locator('tbody time').first().hover();
  await expect(page.getByRole('tooltip')).toHaveText(/UTC$/);
});

test('the navigation and the pages follow the permissions', async ({ page, watch }) => {
  watch.allow(/status of 403/);
  await signIn(page, 'ada');
  await open(page, '/workflows');
  const main = page.getByRole('navigation', { name: 'Main' });
  await expect(main.getByRole('link', { name: 'Workflows' })).toBeVisible();
  await expect(main.getByRole('link', { name: 'Audit log' })).toHaveCount(0);
  await open(page, '/audit');
  await expect(page.getByRole('alert')).toContainText('You may not see the audit log');
});
