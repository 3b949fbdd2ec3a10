import { expect, open, signIn, test } from './fixtures';
import { look } from './look';

test('a held plan says why, and an account is adopted from it', async ({ page, samples }, info) => {
  await signIn(page, 'admin');
  await open(page, `/reconciliation?id=${samples.reconciliation}`);
  const panel = page.getByRole('region', { name: 'Chosen reconciliation' });
  await expect(panel.getByText('It is held: more would be removed than may go without an approval')).toBeVisible();
  await expect(panel.getByRole('row', { name: /ghost/ })).toContainText('No assignment ever stood behind it.');
  await look(page, info, 'held');

  await panel.getByRole('button', { name: 'Approve' }).click();
  await expect(panel.getByText('Say why.')).toBeVisible();

  await panel.getByRole('button', { name: 'Adopt ada' }).click();
  const dialog = page.getByRole('dialog', { name: 'Adopt ada' });
  await expect(dialog.getByText(/^It belongs to Ada/)).toBeVisible();
  await dialog.getByRole('button', { name: 'Adopt' }).click();
  await expect(dialog.getByText('Everything that is adopted has an end.')).toBeVisible();
  await look(page, info, 'adopt');
  await dialog.getByRole('button', { name: 'Cancel' }).click();

  await panel.getByRole('textbox', { name: 'Reason' }).fill('Nobody of ours');
  await panel.getByRole('button', { name: 'Reject' }).click();
  await expect(panel.getByText('Nobody of ours')).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Approve' })).toBeHidden();
});

test('what ended and is still there has a list of its own', async ({ page }, info) => {
  await signIn(page, 'admin');
  await open(page, '/reconciliation');
  await look(page, info, 'list');
  await page.getByRole('link', { name: 'Ended and still there' }).click();
  await expect(page.getByText('Nothing is there that should be gone')).toBeVisible();
});
