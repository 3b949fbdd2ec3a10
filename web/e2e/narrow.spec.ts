import { everyRoute, expect, open, signIn, test } from './fixtures';

test.use({ viewport: { width: 360, height: 740 } });

test('no page scrolls sideways at 360 px', async ({ page }) => {
  test.setTimeout(180_000);
  await open(page, '/sign-in');
  const overflow = () => page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  expect(await overflow(), '/sign-in').toBe(0);
  await signIn(page, 'admin');
  for (const route of await everyRoute(page.request)) {
    await open(page, route);
    expect(await overflow(), route).toBe(0);
  }
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
