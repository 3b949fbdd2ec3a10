import AxeBuilder from '@axe-core/playwright';
import type { Page } from '@playwright/test';
import { everyRoute, expect, open, signIn, test } from './fixtures';

const RULES = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'];

async function faultsOf(page: Page): Promise<string[]> {
  const { violations } = await new AxeBuilder({ page }).withTags(RULES).analyze();
  return violations.flatMap((rule) => rule.nodes.map((node) => `${rule.id}: ${node.target.join(' ')} ${node.failureSummary ?? ''}`));
}

for (const theme of ['light', 'dark'] as const) {
  test.describe(`in the ${theme} theme`, () => {
    test.use({ colorScheme: theme });

    test('the sign-in page is free of axe findings', async ({ page }) => {
      await open(page, '/sign-in');
      await expect(page.locator('html')).toHaveAttribute('data-theme', theme);
      expect(await faultsOf(page)).toEqual([]);
    });

    test('every page is free of axe findings', async ({ page }) => {
      test.setTimeout(240_000);
      await signIn(page, 'admin');
      for (const route of await everyRoute(page.request)) {
        await test.step(route, async () => {
          await open(page, route);
          expect.soft(await faultsOf(page), route).toEqual([]);
        });
      }
    });

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
