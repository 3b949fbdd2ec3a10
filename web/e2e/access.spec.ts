import { expect, granted, open, signIn, test } from './fixtures';
import { look } from './look';

// Access is extended and ended here, on a server of its own; its days are those of the browser.
test.use({ serverEnv: { ORG_TIMEZONE: 'Europe/Berlin' } });
test.describe.configure({ mode: 'serial' });

test('access is extended, its history says by whom, and it is ended', async ({ page }, info) => {
  test.setTimeout(60_000);
  const csrf = await signIn(page, 'admin');
  const { id } = await granted(page.request, csrf, 'Archive reader');
  const dialog = page.getByRole('dialog');
  const panel = page.getByRole('region', { name: 'Chosen access' });
  await open(page, '/access');
  await page.getByRole('row', { name: /Archive reader/ }).getByRole('link').click();
  await expect(page).toHaveURL(new RegExp(`id=${id}`));
  await expect(panel.getByText('Ines Adler gave it alone')).toBeVisible();

  await panel.getByRole('button', { name: 'Extend…' }).click();
  const until = dialog.getByLabel('Until');
  await until.fill('2020-01-01T00:00');
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await expect(dialog.getByText('This has to come after the present end.')).toBeVisible();
  await expect(dialog.getByText('Say why.')).toBeVisible();
  await until.fill('2099-06-01T12:00');
  await dialog.getByLabel('Reason').fill('The study goes on');
  await look(page, info, 'extend');
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await expect(dialog).toHaveCount(0);
  await expect(page.getByText('Ada Marchetti keeps Archive reader longer')).toBeVisible();
  await expect(panel.getByText('Ines Adler let it last longer')).toBeVisible();
  const history = panel.getByRole('list', { name: 'What changed, the oldest first' });
  await expect(history.getByRole('listitem')).toHaveCount(3);
  await expect(history.getByRole('listitem').last()).toContainText('It lasts longer, until 1 Jun 2099');
  await expect(history.getByRole('listitem').last()).toContainText('by Ines Adler: The study goes on');
  await look(page, info, 'access-detail');

  await panel.getByRole('button', { name: 'Revoke…' }).click();
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await expect(dialog.getByText('Say why.')).toBeVisible();
  await dialog.getByLabel('Reason').fill('The study is over');
  await look(page, info, 'revoke');
  await dialog.getByRole('button', { name: 'Revoke' }).click();
  await expect(panel.getByText('Why it ended')).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Extend…' })).toHaveCount(0);
  await expect(history.getByRole('listitem').last()).toContainText('It has ended');
});

test('a past day shows who had access then, and says that it is past', async ({ page }, info) => {
  const csrf = await signIn(page, 'admin');
  await granted(page.request, csrf, 'Map reader');
  await open(page, '/access');
  const rows = page.getByRole('table', { name: 'Access' }).getByRole('row');
  const today = await page.evaluate(() => {
    const at = new Date();
    const two = (value: number) => String(value).padStart(2, '0');
    return `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())}`;
  });
  // What had ended is not among those who had access, and is one chip away.
  await page.getByLabel('As of').fill(today);
  await expect(page).toHaveURL(new RegExp(`asOf=${today}`));
  await expect(page.getByText(/^You look at the end of /)).toBeVisible();
  await expect(rows.filter({ hasText: 'Map reader' })).toContainText('Ines Adler');
  await expect(rows.filter({ hasText: 'Archive reader' })).toHaveCount(0);
  await page.getByRole('link', { name: 'All', exact: true }).click();
  await expect(rows.filter({ hasText: 'Archive reader' })).toContainText('Revoked');
  await page.getByRole('link', { name: 'Had access' }).click();
  await rows.filter({ hasText: 'Map reader' }).getByRole('link').click();
  const panel = page.getByRole('region', { name: 'Chosen access' });
  await expect(panel.getByText('Ines Adler gave it alone')).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Revoke…' })).toHaveCount(0);
  await look(page, info, 'past-day');

  const download = page.waitForEvent('download');
  await page.getByRole('link', { name: 'Download CSV' }).click();
  const file = await download;
  expect(file.suggestedFilename()).toMatch(/^access-\d{4}-\d\d-\d\dT.*\.csv$/);

  // A day before anything: the address keeps it, and one click leads back.
  await page.getByLabel('As of').fill('2020-01-01');
  await expect(page.getByText('Nobody had access then')).toBeVisible();
  await page.reload();
  await expect(page.getByText('You look at the end of 1 Jan 2020')).toBeVisible();
  await look(page, info, 'past-day-empty');
  await page.getByRole('link', { name: 'Back to now' }).first().click();
  await expect(page).not.toHaveURL(/asOf/);
  await expect(rows.filter({ hasText: 'Map reader' })).toHaveCount(1);

  // From a person the way leads to their access on a past day.
  await open(page, '/people');
  await page.getByRole('link', { name: 'Ada Marchetti' }).click();
  await page.getByRole('link', { name: 'Access on a past day…' }).click();
  await expect(page).toHaveURL(/personId=per_.*&asOf=/);
  await expect(rows.filter({ hasText: 'Map reader' })).toHaveCount(1);
});
