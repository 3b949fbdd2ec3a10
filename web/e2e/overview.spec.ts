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

for (const [width, rows] of [
  [1440, 1],
  [360, 2],
] as const) {
  test(`at ${width} px the figures of the queue stand in ${rows === 1 ? 'one row' : 'two rows'}`, async ({ page }) => {
    await page.setViewportSize({ width, height: 900 });
    await signIn(page, 'admin');
    await open(page, '/overview');
    const figures = page.getByRole('list', { name: 'Jobs by state' }).getByRole('link');
    await expect(figures).toHaveCount(5);
    const tops = await figures.evaluateAll((links) => links.map((link) => Math.round(link.getBoundingClientRect().top)));
    expect(new Set(tops).size).toBe(rows);
  });
}
