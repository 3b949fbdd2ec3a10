import { expect, open, signIn, test } from './fixtures';
import { look } from './look';

test('somebody decides for somebody else, by name and for an absence, and it is ended', async ({ page }, info) => {
  test.setTimeout(60_000);
  const dialog = page.getByRole('dialog');
  await signIn(page, 'rosa');
  await open(page, '/delegations');
  await expect(page.getByText('Nobody decides for anybody else')).toBeVisible();

  await page.getByRole('link', { name: 'Let somebody else decide' }).click();
  await expect(dialog.getByLabel('Whose decisions')).toHaveCount(0);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByText('Choose who decides.')).toBeVisible();
  await dialog.getByLabel('Person', { exact: true }).selectOption({ label: 'Mona Okafor' });
  await dialog.getByLabel('Until').fill('2020-01-01T10:00');
  await dialog.getByLabel('Reason').fill('On leave');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByText('This has to come after the beginning.')).toBeVisible();
  const soon = new Date(Date.now() + 3 * 86_400_000).toISOString().slice(0, 16);
  await dialog.getByLabel('Until').fill(soon);
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByText('decides for you until')).toContainText('Mona Okafor');
  const row = page.getByRole('row', { name: /Mona Okafor/ });
  await expect(row.getByText('In force')).toBeVisible();
  await look(page, info, 'delegations');

  // The other one sees it, and is told by a message that leads here.
  await page.context().clearCookies();
  await signIn(page, 'mona');
  await open(page, '/inbox');
  await page.getByRole('button', { name: /^Messages, \d+ unread/ }).click();
  await page.getByRole('link', { name: 'You decide for Rosa Lindqvist' }).click();
  await expect(page).toHaveURL(/\/delegations$/);
  await expect(page.getByText('You decide for').first()).toContainText('Rosa Lindqvist');
  await expect(page.getByRole('button', { name: /^End…/ })).toHaveCount(0);

  // An administrator ends it, and notes an absence for her.
  await page.context().clearCookies();
  await signIn(page, 'admin');
  await open(page, '/delegations');
  await page.getByRole('button', { name: /^End… what Mona Okafor decides for Rosa Lindqvist/ }).click();
  await dialog.getByRole('button', { name: 'End it' }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByRole('row', { name: /Mona Okafor/ }).getByText('Over')).toBeVisible();
  await page.getByRole('link', { name: 'Let somebody else decide' }).click();
  await dialog.getByLabel('Whose decisions').selectOption({ label: 'Rosa Lindqvist' });
  await dialog.getByRole('radio', { name: 'Their manager' }).check();
  await dialog.getByLabel('Reason').fill('Ill');
  await look(page, info, 'delegation-form');
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog).toBeHidden();
  await expect(page.getByRole('row', { name: /absence/ })).toContainText('The manager');
});
