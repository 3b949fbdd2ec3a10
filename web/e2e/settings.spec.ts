import { faultsOf } from './axe';
import { expect, open, signIn, test } from './fixtures';
import { expectNoFaults } from './look';

// A value from the environment has to be told apart from a default and a saved one.
test.use({ serverEnv: { STUCK_RUN_TIMEOUT_MINUTES: '55' } });

test('a security setting goes from the environment to a saved value and back', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/settings/security');
  await expect(page.getByText('55 minutes')).toBeVisible();
  await expect(page.locator('[data-source="environment"]')).toHaveText(/STUCK_RUN_TIMEOUT_MINUTES/);

  // By keyboard alone: open the form, type, send.
  const change = page.getByRole('button', { name: 'Change Stuck run timeout' });
  await change.press('Enter');
  const field = page.getByLabel('Stuck run timeout, in minutes');
  await expect(field).toBeFocused();
  await field.fill('45');
  await field.press('Enter');
  await expect(page.getByText('45 minutes')).toBeVisible();
  await expect(page.locator('[data-source="saved"]')).toHaveText(/^Saved here, .*, by you$/);
  await expect(change).toBeFocused();

  await page.getByRole('link', { name: 'Earlier changes of Stuck run timeout' }).click();
  await expect(page).toHaveURL(/\/audit\?entity=setting&entityId=security\.stuck_run_timeout_minutes/);
  await expect(page.getByRole('link', { name: 'setting.changed' }).first()).toBeVisible();
  await page.goBack();

  await page.getByRole('button', { name: 'Forget the saved value of Stuck run timeout' }).click();
  await expect(page.getByText('55 minutes')).toBeVisible();
  await expect(page.locator('[data-source="environment"]')).toBeVisible();
});

test('the days of reminders are chosen, refused and switched off', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/settings/security');
  // Another setting of the page says "Off" too.
  const reminders = page.getByRole('region', { name: 'Reminders' });
  await expect(reminders.getByText('30, 7 and 1 days before')).toBeVisible();
  const change = page.getByRole('button', { name: 'Change Reminders before an end' });
  await change.click();
  const field = page.getByLabel('Reminders before an end');
  await field.fill('14, 14');
  await field.press('Enter');
  await expect(field).toHaveAttribute('aria-invalid', 'true');
  await field.fill('3 14');
  await field.press('Enter');
  await expect(reminders.getByText('14 and 3 days before')).toBeVisible();
  await change.click();
  await field.fill('');
  await field.press('Enter');
  await expect(reminders.getByText('Off', { exact: true })).toBeVisible();
  await page.getByRole('button', { name: 'Forget the saved value of Reminders before an end' }).click();
  await expect(reminders.getByText('30, 7 and 1 days before')).toBeVisible();
});

test('what a setting cannot be is said at its field', async ({ page, watch }) => {
  watch.allow(/status of 422/);
  await signIn(page, 'admin');
  await open(page, '/settings/logging');
  await expect(page.locator('[data-source="default"]')).toHaveCount(2);

  await page.getByRole('button', { name: 'Change Log retention' }).click();
  const days = page.getByLabel('Log retention, in days');
  for (const [typed, fault] of [
    ['', 'A value is needed.'],
    ['1.5', 'A whole number is needed. From 1 to 3,650 days.'],
    ['3651', 'got 3651; expected 1 to 3650'],
  ] as const) {
    await days.fill(typed);
    await days.press('Enter');
    await expect(days).toHaveAttribute('aria-invalid', 'true');
    await expect(days).toHaveAccessibleDescription(fault);
  }
  expect(await faultsOf(page)).toEqual([]);
  await days.press('Escape');
  await expect(page.getByText('30 days')).toBeVisible();
});

test('a filter of the log that cannot be read is refused at its field', async ({ page, watch }) => {
  watch.allow(/status of 422/);
  await signIn(page, 'admin');
  await open(page, '/settings/logging');
  await page.getByRole('button', { name: 'Change Log level' }).click();
  const level = page.getByRole('textbox', { name: 'Log level' });
  await level.fill('info,tenure=loud');
  await level.press('Enter');
  await expect(level).toHaveAttribute('aria-invalid', 'true');
  await level.fill('info,tenure=debug');
  await level.press('Enter');
  await expect(page.getByText('info,tenure=debug')).toBeVisible();
});

test('the log is filtered by level and text, and leads to its settings', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/logs');
  await page.getByRole('link', { name: 'Info', exact: true }).click();
  await expect(page).toHaveURL(/level=info/);
  await page.getByRole('searchbox', { name: 'Search the log' }).fill('Tenure is running');
  await expect(page).toHaveURL(/q=Tenure/);
  await page.getByRole('link', { name: 'Tenure is running' }).click();
  await expect(page.getByRole('region', { name: 'Chosen entry' }).getByText('tenure::app::serve')).toBeVisible();
  await page.getByRole('searchbox', { name: 'Search the log' }).fill('nothing-is-called-this');
  await expect(page.getByText('No entry fits this filter')).toBeVisible();
  await page.getByRole('link', { name: 'Level and retention' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Logging' })).toBeVisible();
});

test('who may only read the settings is offered no change', async ({ page }) => {
  await page.route('**/api/auth/me', async (route) => {
    const answer = await route.fetch();
    const me = (await answer.json()) as { permissions: string[] };
    const permissions = me.permissions.filter((one) => one !== 'settings:write');
    await route.fulfill({ response: answer, json: { ...me, permissions } });
  });
  await signIn(page, 'admin');
  await open(page, '/settings');
  await expect(page).toHaveURL(/\/settings\/security$/);
  await expect(page.getByText('55 minutes')).toBeVisible();
  await expect(page.getByRole('button', { name: /^Change/ })).toHaveCount(0);
});

test('the log is purged by keyboard, counted before', async ({ page }) => {
  // A refused sign-in is logged, so that there is an entry to remove.
  const wrong = { email: 'nobody@example.org', password: 'not this one' };
  expect((await page.request.post('/api/auth/login', { data: wrong })).status()).toBe(401);
  await signIn(page, 'admin');
  await open(page, '/settings/logging');
  const start = page.getByRole('button', { name: 'Purge Now…' });
  await start.press('Enter');
  const dialog = page.getByRole('dialog', { name: 'Purge the system log?' });
  await expect(dialog.getByRole('status')).toContainText('There is nothing to remove.');
  await expect(dialog.getByRole('button', { name: 'Purge', exact: true })).toBeDisabled();
  await page.keyboard.press('Escape');
  await expect(dialog).toBeHidden();
  await expect(start).toBeFocused();

  await start.press('Enter');
  const days = dialog.getByLabel('Older than, in days');
  await days.fill('never');
  await expect(days).toHaveAttribute('aria-invalid', 'true');
  await days.fill('0');
  await expect(dialog.getByRole('status')).toContainText(/entr(y|ies) from before .* will be removed/);
  await expectNoFaults(page);
  await dialog.getByRole('button', { name: /^Purge \d+ entr/ }).press('Enter');
  await expect(page.getByText(/^[\d,]+ entr(y|ies) removed$/)).toBeVisible();
  await expect(dialog).toBeHidden();
  await page.goto('/audit?action=log.purged');
  await expect(page.getByRole('link', { name: 'log.purged' }).first()).toBeVisible();
});

test('a dialog that is opened again at once stays open', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/settings/logging');
  const start = page.getByRole('button', { name: 'Purge Now…' });
  await start.click();
  const dialog = page.getByRole('dialog', { name: 'Purge the system log?' });
  await expect(dialog).toBeVisible();
  // Shut and opened in one turn: the event of the closing arrives when the dialog stands open again.
  await page.evaluate(async () => {
    const press = (name: string) =>
      [...document.querySelectorAll('button')].find((button) => button.textContent?.trim() === name)!.click();
    const turn = () => new Promise<void>((done) => queueMicrotask(done));
    press('Keep them');
    for (let at = 0; at < 20; at += 1) await turn();
    press('Purge Now…');
    for (let at = 0; at < 20; at += 1) await turn();
    await new Promise((done) => setTimeout(done, 200));
  });
  await expect(dialog).toBeVisible();
});
