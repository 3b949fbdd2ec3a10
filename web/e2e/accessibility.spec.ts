import type { Page } from '@playwright/test';
import { COLOUR_RULES, faultsOf } from './axe';
import { expect, open, signIn, test } from './fixtures';
import { PAGES } from './pages';

/** Every rule in the light theme; the dark theme changes colours and nothing else, so the rules of colour follow there. */
async function expectNoFaults(page: Page): Promise<void> {
  for (const [theme, rules] of [['light', undefined], ['dark', COLOUR_RULES]] as const) {
    await page.emulateMedia({ colorScheme: theme });
    await expect(page.locator('html')).toHaveAttribute('data-theme', theme);
    expect(await faultsOf(page, rules), `in the ${theme} theme`).toEqual([]);
  }
}

test('the sign-in page is free of axe findings', async ({ page }) => {
  await open(page, '/sign-in');
  await expectNoFaults(page);
});

for (const { name, path } of PAGES) {
  test(`${name} is free of axe findings`, async ({ page, samples }) => {
    await signIn(page, 'admin');
    await open(page, path(samples));
    await expectNoFaults(page);
  });
}

test('the account menu is free of axe findings', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/inbox');
  await page.getByRole('button', { name: /^Account and display/ }).click();
  await expect(page.getByRole('button', { name: 'Sign out' })).toBeVisible();
  await expectNoFaults(page);
});

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
