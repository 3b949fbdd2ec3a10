import type { Page } from '@playwright/test';
import { readFile } from 'node:fs/promises';
import { expect, firstItem, open, signIn, test } from './fixtures';
import { look } from './look';

const rows = (page: Page) => page.getByRole('table', { name: 'Audit entries' }).locator('tbody tr');

/** A role that is made and changed, so that the log has something to tell. */
async function changedRole(page: Page, token: string, name: string): Promise<string> {
  const url = process.env.TENURE_URL!;
  const headers = { origin: url, 'x-csrf-token': token };
  const made = await page.request.post(`${url}/api/roles`, { data: { name, defaultDurationDays: 30 }, headers });
  expect(made.status(), await made.text()).toBe(201);
  const { id } = (await made.json()) as { id: string };
  const changed = await page.request.put(`${url}/api/roles/${id}`, { data: { name, defaultDurationDays: 60, description: 'Longer' }, headers });
  expect(changed.status(), await changed.text()).toBe(200);
  return id;
}

test('the log is narrowed by what, who and when, and shows what changed', async ({ page }, info) => {
  test.slow();
  const token = await signIn(page, 'admin');
  const id = await changedRole(page, token, 'Told reader');
  await open(page, '/audit');
  await page.getByLabel('Kind of object').selectOption('Role');
  await expect(page).toHaveURL(/entity=role/);
  await page.getByLabel('Action').fill('role.updated');
  await page.getByLabel('Action').press('Enter');
  await expect(page).toHaveURL(/action=role\.updated/);
  await expect(rows(page).first()).toContainText('role.updated');
  await expect(page.getByRole('link', { name: 'role.created' })).toHaveCount(0);

  await page.getByRole('link', { name: 'role.updated' }).first().click();
  const panel = page.getByRole('region', { name: 'Chosen entry' });
  const changes = panel.getByRole('table', { name: 'What changed' });
  await expect(changes.getByRole('row', { name: 'defaultDurationDays 30 60' })).toBeVisible();
  await expect(changes.getByRole('row', { name: /^description/ })).toContainText('Longer');
  // What stayed the same is not told.
  await expect(changes.getByRole('row', { name: /^name/ })).toHaveCount(0);
  await look(page, info, 'entry');

  // To the object, and from there back to what was done to it.
  await panel.getByRole('link', { name: 'Open it' }).click();
  await expect(page).toHaveURL(new RegExp(`/roles\\?id=${id}`));
  await page.getByRole('link', { name: 'Its entries' }).click();
  await expect(rows(page)).toHaveCount(2);

  // Whoever did it is found by name.
  await open(page, '/audit?entity=role');
  await page.getByLabel('Who').fill('Ada');
  const ada = page.locator('datalist option[value*="ada@example.org"]');
  await expect(ada).toHaveCount(1);
  await page.getByLabel('Who').fill((await ada.getAttribute('value')) ?? '');
  await page.getByLabel('Who').press('Enter');
  await expect(page).toHaveURL(/actorId=per_/);
  await expect(page.getByText('No entry fits this filter')).toBeVisible();
  await page.getByRole('link', { name: /✕$/ }).first().click();
  await expect(rows(page).first()).toBeVisible();

  // A day on which nothing was done, and the one that is not over.
  await open(page, '/audit?to=2020-01-01');
  await expect(page.getByText('No entry fits this filter')).toBeVisible();
  await open(page, `/audit?from=${new Date().toISOString().slice(0, 10)}`);
  await expect(rows(page).first()).toBeVisible();
});

test('a checkpoint is made, an entry is proven by it, and both are saved', async ({ page, watch }, info) => {
  test.slow();
  watch.allow(/status of 409/);
  const token = await signIn(page, 'admin');
  await changedRole(page, token, 'Proven reader');
  const { seq } = await firstItem<{ seq: number }>(page.request, '/api/audit?entity=role');
  await open(page, `/audit?seq=${seq}`);
  const panel = page.getByRole('region', { name: 'Chosen entry' });
  await panel.getByRole('button', { name: 'Show the proof' }).click();
  await expect(panel.getByText('There is no proof yet')).toBeVisible();
  await look(page, info, 'early');

  await panel.getByRole('link', { name: 'See the checkpoints' }).click();
  await page.getByRole('button', { name: 'Make a checkpoint now' }).click();
  await expect(page.getByText(/A checkpoint over [\d,]+ entries is signed/)).toBeVisible();
  const list = page.getByRole('table', { name: 'Checkpoints', exact: true });
  await list.getByRole('link').first().click();
  const chosen = page.getByRole('region', { name: 'Chosen checkpoint' });
  await expect(chosen).toContainText('Somebody asked for it');
  const [note] = await Promise.all([page.waitForEvent('download'), chosen.getByRole('button', { name: 'Download the note' }).click()]);
  expect(note.suggestedFilename()).toMatch(/^checkpoint-\d+\.note$/);
  const signed = await readFile(await note.path(), 'utf8');
  expect(signed).toMatch(/^[^\n]+\n\d+\n[A-Za-z0-9+/]{43}=\n\n— [^\n]+\n$/);
  await look(page, info, 'checkpoint');

  await open(page, `/audit?seq=${seq}`);
  await panel.getByRole('button', { name: 'Show the proof' }).click();
  await expect(panel.getByText('Root that is signed')).toBeVisible();
  const [proof] = await Promise.all([page.waitForEvent('download'), panel.getByRole('button', { name: 'Download the proof' }).click()]);
  expect(proof.suggestedFilename()).toBe(`entry-${seq}.tlog-proof`);
  expect(await readFile(await proof.path(), 'utf8')).toContain(`index ${seq - 1}\n`);
  const [entry] = await Promise.all([page.waitForEvent('download'), panel.getByRole('button', { name: 'Download the entry' }).click()]);
  const leaf = JSON.parse(await readFile(await entry.path(), 'utf8')) as { seq: number };
  expect(leaf.seq).toBe(seq);
  await look(page, info, 'proof');
});

test('the log is verified, and the key of the log can be taken along', async ({ page }, info) => {
  test.slow();
  await signIn(page, 'admin');
  await open(page, '/checkpoints');
  await page.getByRole('button', { name: 'Make a checkpoint now' }).click();
  await expect(page.getByText(/entries is signed/)).toBeVisible();
  await page.getByRole('link', { name: 'Verify', exact: true }).click();
  await page.getByRole('button', { name: 'Verify now' }).click();
  await expect(page.getByRole('alert')).toContainText('Sound');
  await expect(page.getByRole('alert')).toContainText(/checkpoints? agrees? with them/);
  await look(page, info, 'sound');
  await page.context().grantPermissions(['clipboard-read', 'clipboard-write']);
  await page.getByRole('button', { name: /^Copy verifier key/ }).click();
  const copied = await page.evaluate(() => navigator.clipboard.readText());
  expect(copied).toMatch(/^[^+\s]+\+[0-9a-f]{8}\+[A-Za-z0-9+/=]+$/);
});

const FAULT = { seq: 2041, kind: 'link', detail: 'does not name the hash of the row before' };

test('tampered with, cannot tell and signing refused are three texts', async ({ page, watch }, info) => {
  test.slow();
  watch.allow(/status of 503/);
  await signIn(page, 'admin');
  const answer = async (status: number, json: unknown) => {
    await page.unroute('**/api/audit/verify');
    await page.route('**/api/audit/verify', (route) => route.fulfill({ status, json }));
  };
  await open(page, '/checkpoints?tab=verify');
  await answer(200, { rows: 2040, erased: 0, fault: FAULT, checkpointsChecked: 3 });
  await page.getByRole('button', { name: 'Verify now' }).click();
  await expect(page.getByText('Tampered with at entry 2,041')).toBeVisible();
  await expect(page.getByText(/It does not name the entry before it/)).toBeVisible();
  await expect(page.getByRole('link', { name: 'Look at entry 2041' })).toHaveAttribute('href', '/audit?seq=2041');
  await look(page, info, 'tampered');

  await answer(503, { type: 'about:blank', title: 'Not available', status: 503, detail: 'The database is busy.' });
  await page.getByRole('button', { name: 'Verify now' }).click();
  await expect(page.getByText('Nobody can tell')).toBeVisible();
  await expect(page.getByText(/Tampered with/)).toHaveCount(0);
  await look(page, info, 'cannot-tell');

  await page.route('**/api/audit/checkpoints/state', async (route) => {
    const state = (await (await route.fetch()).json()) as Record<string, unknown>;
    const refused = { at: new Date().toISOString(), kind: 'root', detail: 'The checkpoint in the store file was signed for other entries.' };
    await route.fulfill({ json: { ...state, refused } });
  });
  await open(page, '/checkpoints');
  await expect(page.getByText('Signing is refused, so no checkpoint is made')).toBeVisible();
  await expect(page.getByText('The checkpoint in the store file was signed for other entries.')).toBeVisible();
  await look(page, info, 'refused');
});

test('the log is taken away as a file and as a tree', async ({ page }) => {
  await signIn(page, 'admin');
  await open(page, '/checkpoints');
  await page.getByRole('button', { name: 'Make a checkpoint now' }).click();
  await expect(page.getByText(/entries is signed/)).toBeVisible();
  await page.getByRole('link', { name: 'Take away' }).click();
  await page.getByLabel('From').first().fill('2020-01-01');
  const link = page.getByRole('link', { name: 'Download JSON Lines' });
  // A day begins where the reader is.
  await expect(link).toHaveAttribute('href', /from=2019-12-31T23%3A00%3A00/);
  const [lines] = await Promise.all([page.waitForEvent('download'), link.click()]);
  const first = (await readFile(await lines.path(), 'utf8')).split('\n')[0] ?? '';
  expect(JSON.parse(first)).toMatchObject({ seq: 1 });
  const [tiles] = await Promise.all([page.waitForEvent('download'), page.getByRole('link', { name: 'Download tiles' }).click()]);
  expect(tiles.suggestedFilename()).toMatch(/^audit-tiles-.*\.tar$/);
});

test('an evidence pack is made for a period, roles and people', async ({ page }, info) => {
  test.slow();
  const token = await signIn(page, 'admin');
  await changedRole(page, token, 'Evident reader');
  await open(page, '/checkpoints?tab=take');
  await page.getByRole('button', { name: 'Make the pack' }).click();
  await expect(page.getByText('Choose a day.')).toHaveCount(2);
  const today = new Date().toISOString().slice(0, 10);
  await page.getByLabel('First day').fill('2020-01-01');
  await page.getByLabel('Last day').fill('2019-01-01');
  await page.getByRole('button', { name: 'Make the pack' }).click();
  await expect(page.getByText('Choose a day that is not before the first.')).toBeVisible();
  await page.getByLabel('Last day').fill(today);
  await page.getByLabel('Evident reader').check();
  await page.getByLabel('Only these people').fill('Ada');
  const ada = page.locator('datalist option[value*="ada@example.org"]');
  await expect(ada).toHaveCount(1);
  await page.getByLabel('Only these people').fill((await ada.getAttribute('value')) ?? '');
  await expect(page.getByRole('button', { name: /^Leave out Ada/ })).toBeVisible();
  await expect(page.getByLabel('Open the other grants of the period too')).toBeChecked();
  await look(page, info, 'pack');
  const [pack] = await Promise.all([page.waitForEvent('download'), page.getByRole('button', { name: 'Make the pack' }).click()]);
  expect(pack.suggestedFilename()).toMatch(/^evidence-.*\.tar$/);
  // A tar names its first file in its first bytes.
  expect((await readFile(await pack.path())).subarray(0, 100).toString('utf8')).toMatch(/^evidence-/);
});

test('an auditor reads and verifies, and does not sign', async ({ page }) => {
  await signIn(page, 'admin');
  await page.route('**/api/auth/me', async (route) => {
    const me = (await (await route.fetch()).json()) as { permissions: string[] };
    await route.fulfill({ json: { ...me, permissions: ['audit:read'] } });
  });
  await open(page, '/checkpoints?tab=verify');
  await expect(page.getByRole('button', { name: 'Verify now' })).toBeVisible();
  await expect(page.getByRole('button', { name: 'Make a checkpoint now' })).toHaveCount(0);
});
