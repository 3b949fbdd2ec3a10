import { expect, open, signIn, test } from './fixtures';

test('filters are in the address, and back restores them', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/runs');
  await page.getByRole('link', { name: 'Cancelled', exact: true }).click();
  await expect(page).toHaveURL(/status=cancelled/);
  await expect(page.getByRole('link', { name: 'Cancelled', exact: true })).toHaveAttribute('aria-current', 'true');
  await page.goBack();
  await expect(page).toHaveURL(/\/runs$/);
  await expect(page.getByRole('link', { name: 'All', exact: true })).toHaveAttribute('aria-current', 'true');
});

test('a run shows its timeline, steps and data', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/runs');
  await page.locator('tbody th a').first().click();
  await expect(page).toHaveURL(/\/runs\/[^/?]+$/);
  await expect(page.getByRole('list', { name: /^What happened/ }).getByRole('listitem').first()).toBeVisible();

  await page.getByRole('link', { name: 'Steps', exact: true }).click();
  await expect(page).toHaveURL(/tab=steps/);
  await page.getByRole('table', { name: 'Steps' }).getByRole('link').first().click();
  await expect(page).toHaveURL(/step=/);
  await expect(page.getByRole('region', { name: 'Chosen step' })).toBeVisible();

  await page.getByRole('link', { name: 'Data', exact: true }).click();
  await expect(page).toHaveURL(/tab=data/);
  await page.reload();
  await expect(page.getByRole('link', { name: 'Data', exact: true })).toHaveAttribute('aria-current', 'page');
});

test('a run that does not exist says so', async ({ page, watch }) => {
  watch.allow(/status of 40[04]/);
  await signIn(page, 'admin');
  await open(page, '/runs/00000000-0000-7000-8000-000000000000');
  await expect(page.getByRole('alert')).toContainText('There is nothing here that you can see');
  await expect(page.getByRole('button', { name: /^Copy request id/ })).toBeVisible();
});
