import { expect, open, signIn, test } from './fixtures';
import { look } from './look';

// Mails of this server go nowhere, so that they fail.
test.use({ serverEnv: { SMTP_URL: 'smtp://127.0.0.1:9' } });

test('messages are seen at the bell and on their page, and marked as read', async ({ page }, info) => {
  await signIn(page, 'rosa');
  await open(page, '/inbox');
  const bell = page.getByRole('button', { name: /^Messages/ });
  await expect(bell).toHaveAccessibleName(/^Messages, \d+ unread$/);
  await bell.press('Enter');
  await expect(bell).toHaveAttribute('aria-expanded', 'true');
  await look(page, info, 'bell');
  await page.keyboard.press('Escape');
  await expect(bell).toHaveAttribute('aria-expanded', 'false');
  await bell.click();
  await page.getByRole('link', { name: 'All messages and how mails come' }).click();
  await expect(page).toHaveURL(/\/notifications$/);
  await expect(page.getByRole('status').filter({ hasText: 'unread.' })).toBeVisible();

  await page.getByRole('button', { name: 'Mark all as read' }).click();
  await expect(page.getByText('All are read.')).toBeVisible();
  await expect(bell).toHaveAccessibleName('Messages');

  await expect(page.getByText('After 5 mails within 15 minutes')).toBeVisible();
  await page.getByRole('radio', { name: 'Together' }).check();
  await expect(page.getByText('at most one every 15 minutes')).toBeVisible();
  await page.reload();
  await expect(page.getByRole('radio', { name: 'Together' })).toBeChecked();
  await look(page, info, 'messages');
});

test('a mail is worded anew with a preview, and back', async ({ page, watch }, info) => {
  test.setTimeout(60_000);
  watch.allow(/status of 422/);
  await signIn(page, 'admin');
  await open(page, '/settings/mail');
  await page.getByRole('link', { name: 'Somebody is invited by a one-time link' }).click();
  const panel = page.getByRole('region', { name: 'Chosen mail' });
  const preview = panel.getByRole('region', { name: 'Preview' });
  await expect(preview).toContainText('You are invited: Guest access');
  await panel.getByLabel('Subject').fill('Come to {{ workflow');
  await expect(panel.getByText(/^line 1: /)).toBeVisible();
  await panel.getByLabel('Subject').fill('Come to {{ workflow }}');
  await expect(preview).toContainText('Come to Guest access');
  await panel.getByLabel('Text', { exact: true }).fill('Dear ');
  await panel.getByRole('button', { name: '{{ displayName }}' }).click();
  await expect(panel.getByLabel('Text', { exact: true })).toHaveValue('Dear {{ displayName }}');
  await expect(preview).toContainText('Dear Ada');
  await look(page, info, 'wording');
  await panel.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('row', { name: /one-time link/ })).toContainText('Changed');
  await page.reload();
  await expect(panel.getByLabel('Subject')).toHaveValue('Come to {{ workflow }}');
  await panel.getByRole('button', { name: 'Back to the built-in wording' }).click();
  await expect(panel.getByLabel('Subject')).toHaveValue('You are invited: {{ workflow }}');

  await page.getByRole('button', { name: 'Change Mails before they come together' }).click();
  await page.getByLabel('Mails before they come together, in mails').fill('3');
  await page.keyboard.press('Enter');
  await expect(page.getByText('3 mails')).toBeVisible();
});

test('a mail that could not be sent is seen with its reason, and sent again', async ({ page }, info) => {
  // Four attempts take 35 seconds.
  test.setTimeout(90_000);
  await signIn(page, 'admin');
  await open(page, '/settings/mail');
  const table = page.getByRole('table', { name: 'Mails that could not be sent' });
  await expect(table.getByRole('row').nth(1)).toBeVisible({ timeout: 60_000 });
  await look(page, info, 'failed-mails');
  const first = table.getByRole('row').nth(1);
  await expect(first.getByRole('link')).toHaveAttribute('href', /\/jobs\?id=job_/);
  await first.getByRole('button', { name: /^Send again/ }).click();
  await expect(page.getByText('It is sent again')).toBeVisible();
});
