import { faultsOf } from './axe';
import { expect, open, signIn, test } from './fixtures';

test('a connector is added, tested, and shows that it only pretends', async ({ page, watch }) => {
  watch.allow(/status of 422/);
  const csrfToken = await signIn(page, 'admin');
  await open(page, '/connectors');
  await page.getByRole('link', { name: 'Add connector' }).click();
  const dialog = page.getByRole('dialog', { name: 'Add a connector' });
  await dialog.getByLabel('Name').fill('Badge programs');
  await dialog.getByLabel('Kind').selectOption({ label: 'Program' });
  await expect(dialog.getByLabel('Settings')).toHaveValue(/"program": "badges"/);
  // No program is allowed on this machine, and whoever adds one is told how it would be.
  await dialog.getByRole('button', { name: 'Add connector' }).click();
  await expect(dialog.getByText(/CONNECTOR_EXEC_PROGRAMS, by which/).first()).toBeVisible();

  await dialog.getByLabel('Name').fill('Second directory');
  await dialog.getByLabel('Kind').selectOption({ label: 'Built-in directory' });
  await dialog.getByRole('button', { name: 'Add connector' }).click();
  await expect(dialog).toBeHidden();
  await page.getByRole('link', { name: 'Second directory' }).click();
  await page.getByRole('button', { name: 'Test connection' }).click();
  await expect(page.getByText('The system answers')).toBeVisible();

  const id = new URL(page.url()).searchParams.get('id') ?? '';
  const changed = await page.request.patch(`/api/connectors/${id}`, {
    data: { mock: true },
    headers: { 'X-CSRF-Token': csrfToken },
  });
  expect(changed.status()).toBe(200);
  await page.reload();
  await expect(page.getByText('Mock mode: Second directory.')).toBeVisible();
  await expect(page.getByText('Its commands are only pretended.')).toBeVisible();
  expect(await faultsOf(page)).toEqual([]);
});

test('the secrets of connectors are sealed under the present key, and why is asked', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/connectors');
  await page.getByRole('button', { name: 'Rotate keys…' }).click();
  const dialog = page.getByRole('dialog', { name: 'Seal all secrets under the present key?' });
  await dialog.getByRole('button', { name: 'Seal them' }).click();
  await expect(dialog.getByText('Say why.')).toBeVisible();
  await dialog.getByLabel('Reason').fill('The key was replaced');
  expect(await faultsOf(page)).toEqual([]);
  await dialog.getByRole('button', { name: 'Seal them' }).click();
  await expect(page.getByText(/sealed anew, \d+ under the present key already/)).toBeVisible();
  await expect(dialog).toBeHidden();
});
