import { faultsOf } from './axe';
import { expect, test } from './fixtures';
import { overflow } from './look';

for (const [width, colorScheme] of [[360, 'dark'], [1440, 'light']] as const) {
  test(`the description of the API is read without a script at ${width} px, ${colorScheme}`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    await page.emulateMedia({ colorScheme });
    await page.goto('/api/docs');
    await page.getByRole('link', { name: 'GET /api/people', exact: true }).click();
    await expect(page.getByRole('heading', { name: 'GET /api/people', exact: true })).toBeInViewport();
    await page.getByRole('link', { name: 'Page_Person', exact: true }).first().click();
    await expect(page.getByRole('heading', { name: 'Page_Person', exact: true })).toBeInViewport();
    expect(await overflow(page)).toBe(0);
    // To look at two hundred operations that are written alike takes long: one area stands for them.
    await page.evaluate(() => {
      document.querySelectorAll('section:not([aria-labelledby="audit"]), nav li li:not(:first-child)').forEach((e) => e.remove());
    });
    expect(await faultsOf(page)).toEqual([]);
  });
}
