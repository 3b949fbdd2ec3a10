import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from './fixtures';
import { startTenure, type Running } from './server';

let server: Running;
test.beforeAll(async () => {
  test.setTimeout(90_000);
  server = await startTenure('serve');
});
test.afterAll(async () => {
  await server.stop();
});

test('the first start creates the administrator with the one-time token', async ({ page, watch }) => {
  watch.allow(/status of 403 .*\/api\/setup/);
  await page.goto(`${server.url}/runs`);
  await expect(page).toHaveURL(`${server.url}/setup`);

  const password = 'four plain words here';
  await page.getByLabel('One-time token').fill('not-the-token');
  await page.getByLabel('Your name').fill('Grace Admin');
  await page.getByLabel('E-mail').fill('grace@example.org');
  await page.getByLabel('Password', { exact: true }).fill('short');
  await page.getByLabel('Password again').fill('other');
  const create = page.getByRole('button', { name: 'Create the administrator' });
  await create.click();
  await expect(page.getByText('Use at least 12 characters.')).toBeVisible();
  await expect(page.getByText('The two passwords differ.')).toBeVisible();

  await page.getByLabel('Password', { exact: true }).fill(password);
  await page.getByLabel('Password again').fill(password);
  await create.click();
  await expect(page.getByRole('alert')).toBeVisible();

  await page.getByLabel('One-time token').fill(readFileSync(join(server.dataDir, 'setup-token'), 'utf8').trim());
  await create.click();
  await expect(page.getByRole('heading', { level: 1, name: 'Inbox' })).toBeVisible();
  await expect(page.getByRole('button', { name: /Grace Admin$/ })).toBeVisible();

  await page.goto(`${server.url}/setup`);
  await expect(page).toHaveURL(`${server.url}/inbox`);
});

test('it is offered once only', async ({ page }) => {
  await page.goto(`${server.url}/setup`);
  await expect(page).toHaveURL(`${server.url}/sign-in`);
  await expect(page.getByRole('heading', { level: 1, name: 'Sign in' })).toBeVisible();
});
