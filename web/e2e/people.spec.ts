// People, groups and imports, from the list to what is changed.
import { expect, open, signIn, test } from './fixtures';

test('a file of people is brought, looked at and applied, and a person leaves and comes back', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/imports');
  const csv = 'email,name,department,manager\npia@example.net,Pia Plum,Research,ada@example.org\nnot an address,Nobody,,\n';
  await page.locator('input[type=file]').setInputFiles({ name: 'hr.csv', mimeType: 'text/csv', buffer: Buffer.from(csv) });
  await expect(page.getByRole('heading', { name: 'hr.csv' })).toBeVisible();
  const wrong = page.getByRole('row', { name: /not an address/ });
  await expect(wrong).toContainText('expected an address');
  await page.getByRole('button', { name: 'Apply 1 rows' }).click();
  await expect(page.getByText('1 applied, 0 failed of 1')).toBeVisible();
  await page.getByRole('link', { name: 'pia@example.net' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Pia Plum' })).toBeVisible();
  await expect(page.getByText('Research')).toBeVisible();

  await page.getByRole('button', { name: 'Deactivate…' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Deactivate' }).click();
  await expect(page.getByRole('dialog')).toContainText('Say why');
  await page.getByLabel('Reason').fill('The project is over.');
  await page.getByRole('dialog').getByRole('button', { name: 'Deactivate' }).click();
  await expect(page.getByRole('button', { name: 'Reactivate…' })).toBeVisible();
  await expect(page.getByText('The project is over.')).toBeVisible();
  await page.getByRole('button', { name: 'Reactivate…' }).click();
  await page.getByLabel('Reason').fill('They are back.');
  await page.getByRole('dialog').getByRole('button', { name: 'Reactivate' }).click();
  await expect(page.getByRole('button', { name: 'Deactivate…' })).toBeVisible();
});

test('a group is made, filled, renamed and deleted', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/people?tab=groups');
  await page.getByRole('button', { name: 'New group…' }).click();
  await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('night-shift');
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await page.getByRole('link', { name: 'night-shift' }).click();
  const picker = page.getByLabel('Put in');
  await picker.fill('rosa');
  const option = page.locator('datalist option').first();
  await expect(option).toHaveAttribute('value', /rosa@example\.org/);
  await picker.fill((await option.getAttribute('value'))!);
  await page.getByRole('button', { name: 'Put in' }).click();
  await expect(page.getByRole('button', { name: /^Take out/ })).toBeVisible();
  await page.getByRole('button', { name: 'Change…' }).click();
  await page.getByRole('dialog').getByLabel('Name', { exact: true }).fill('late-shift');
  await page.getByRole('dialog').getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('heading', { name: 'late-shift' })).toBeVisible();
  await page.getByRole('button', { name: 'Delete…' }).click();
  await page.getByRole('button', { name: 'Delete the group' }).click();
  await expect(page.getByRole('link', { name: 'late-shift' })).toHaveCount(0);
});

test('a SCIM token is shown once and revoked', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/settings/provisioning');
  await page.getByLabel('New token for').fill('Entra ID');
  await page.getByRole('button', { name: 'Make a token' }).click();
  await expect(page.getByRole('button', { name: /Copy SCIM token tns_/ })).toBeVisible();
  await page.getByRole('button', { name: 'I have it' }).click();
  await expect(page.getByText('tns_')).toHaveCount(0);
  await page.getByRole('button', { name: 'Revoke… Entra ID' }).click();
  await page.getByRole('button', { name: 'Revoke the token' }).click();
  await expect(page.getByRole('row', { name: /Entra ID/ })).toContainText('Revoked');
});
