import { expect, open, signIn, test } from './fixtures';
import { overflow } from './look';

test.use({ viewport: { width: 360, height: 740 } });

// That a page made narrow is whole stands with the other checks of every page; here it is opened on a phone.
for (const path of ['/sign-in', '/inbox', '/audit', '/settings/security']) {
  test(`${path} does not scroll sideways`, async ({ page }) => {
    if (path !== '/sign-in') await signIn(page, 'admin');
    await open(page, path);
    expect(await overflow(page)).toBe(0);
  });
}

test('a log entry is whole without scrolling sideways', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/logs');
  const row = page.getByRole('row', { name: /Tenure is running/ });
  await expect(row.getByRole('rowheader').locator('time')).toBeInViewport({ ratio: 1 });
  await expect(row.locator('[data-status]')).toBeInViewport({ ratio: 1 });
  const hidden = await page.locator('table').evaluate((table) => table.scrollWidth - table.parentElement!.clientWidth);
  expect(hidden).toBeLessThanOrEqual(0);
});

test('the navigation is a drawer', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/inbox');
  await page.getByRole('button', { name: 'Open the navigation' }).click();
  const drawer = page.getByRole('dialog', { name: 'Navigation' });
  await drawer.getByRole('link', { name: 'Runs' }).click();
  await expect(page).toHaveURL(/\/runs$/);
  await expect(drawer).toBeHidden();
  await expect(page.getByRole('heading', { level: 1, name: 'Runs' })).toBeVisible();
});
