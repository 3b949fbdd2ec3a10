import { faultsOf } from './axe';
import { expect, open, signIn, test } from './fixtures';
import { PAGES } from './pages';

for (const theme of ['light', 'dark'] as const) {
  test.describe(`in the ${theme} theme`, () => {
    test.use({ colorScheme: theme });

    test('the sign-in page is free of axe findings', async ({ page }) => {
      await open(page, '/sign-in');
      await expect(page.locator('html')).toHaveAttribute('data-theme', theme);
      expect(await faultsOf(page)).toEqual([]);
    });

    for (const { name, path } of PAGES) {
      test(`${name} is free of axe findings`, async ({ page, samples }) => {
        await signIn(page, 'admin');
        await open(page, path(samples));
        expect(await faultsOf(page)).toEqual([]);
      });
    }

    test('the account menu is free of axe findings', async ({ page }) => {
      await signIn(page, 'admin');
      await open(page, '/inbox');
      await page.getByRole('button', { name: /^Account and display/ }).click();
      await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
      expect(await faultsOf(page)).toEqual([]);
    });
  });
}

test('the keyboard reaches the content first and the exact time of a run', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/runs');
  await page.keyboard.press('Tab');
  await expect(page.getByRole('link', { name: 'Skip to the content' })).toBeFocused();
  await page.keyboard.press('Enter');
  await expect(page.locator('main')).toBeFocused();
  await page.locator('tbody time').first().focus();
  await expect(page.getByRole('tooltip')).toHaveText(/\d{1,2} \w{3,4} \d{4}, \d\d:\d\d:\d\d /);
  await page.keyboard.press('Escape');
  await expect(page.getByRole('tooltip')).toBeHidden();
});
