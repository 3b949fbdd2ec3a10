import { expect, open, signIn, test } from './fixtures';
import { expectNoFaults, overflow } from './look';
import { PAGES } from './pages';

const PHONE = { width: 360, height: 740 };

test('the sign-in page is free of axe findings, and whole on a phone', async ({ page }) => {
  await open(page, '/sign-in');
  await expectNoFaults(page);
  await page.setViewportSize(PHONE);
  expect(await overflow(page)).toBe(0);
});

for (const { name, path } of PAGES) {
  test(`${name} is free of axe findings, and whole on a phone`, async ({ page, samples }) => {
    await signIn(page, 'admin');
    await open(page, path(samples));
    await expectNoFaults(page);
    await page.setViewportSize(PHONE);
    expect(await overflow(page)).toBe(0);
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
