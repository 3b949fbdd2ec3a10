import { readFileSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from '@playwright/test';
import { faultsOf } from './axe';
import { expect, open, signIn, test } from './fixtures';
import { expectNoFaults, look, overflow } from './look';

const URL = () => process.env.TENURE_URL!;

async function call<T>(page: Page, path: string, csrf: string, data: unknown, status: number): Promise<T> {
  const answer = await page.request.post(`${URL()}${path}`, { data, headers: { origin: URL(), 'x-csrf-token': csrf } });
  expect(answer.status(), await answer.text()).toBe(status);
  return (await answer.json()) as T;
}

/** Publishes an example as an administrator, then starts it as Ada. */
async function started(page: Page, file: string, input: unknown): Promise<void> {
  const definition = JSON.parse(readFileSync(join(import.meta.dirname, '../../examples/workflows', file), 'utf8')) as { name: string };
  // Each test has a workflow of its own.
  definition.name = `${definition.name} ${Math.random()}`;
  const admin = await signIn(page, 'admin');
  const { id } = await call<{ id: string }>(page, '/api/workflows', admin, { definition }, 201);
  await call(page, `/api/workflows/${id}/publish`, admin, {}, 200);
  await page.context().clearCookies();
  const ada = await signIn(page, 'ada');
  await call(page, `/api/workflows/${id}/start`, ada, { input }, 201);
  await page.context().clearCookies();
}

test('a task is claimed, filled in wrongly, put on hold, and completed', async ({ page, watch }) => {
  await started(page, 'task.json', { site: 'Lyon' });
  await signIn(page, 'rosa');
  await open(page, '/tasks');
  await page.getByRole('link', { name: 'Prepare a workplace in Lyon for Ada Marchetti' }).first().click();
  const panel = page.getByRole('region', { name: 'Chosen task' });
  await panel.getByRole('button', { name: 'Claim' }).click();
  await expect(panel.getByRole('button', { name: 'Complete' })).toBeVisible();
  expect(await faultsOf(page)).toEqual([]);

  await panel.getByRole('button', { name: 'Complete' }).click();
  await expect(panel.getByText('This is needed.').first()).toBeVisible();
  await panel.getByLabel('Room').fill('204');
  await panel.getByLabel('Ready on').fill('2031-03-01');
  await panel.getByRole('checkbox', { name: 'headset' }).check();
  await panel.getByRole('checkbox', { name: 'screen' }).check();
  watch.allow(/status of 422/);
  await panel.getByRole('button', { name: 'Complete' }).click();
  await expect(panel.getByText('expected a text that fits ^[A-Z]-[0-9]{3}$', { exact: true })).toBeVisible();

  await panel.getByRole('button', { name: 'Put on hold…' }).click();
  await panel.getByLabel('What it waits for').fill('The key of the room');
  await panel.getByRole('button', { name: 'Put on hold', exact: true }).click();
  await expect(panel.getByText('The key of the room')).toBeVisible();
  await panel.getByRole('button', { name: 'Resume' }).click();
  await panel.getByRole('textbox', { name: 'Comment' }).fill('The key is here.');
  await panel.getByRole('button', { name: 'Send' }).click();
  await expect(panel.getByText('The key is here.')).toBeVisible();

  await panel.getByLabel('Room').fill('B-204');
  await panel.getByLabel('Ready on').fill('2031-03-01');
  await panel.getByRole('checkbox', { name: 'screen' }).check();
  await panel.getByRole('button', { name: 'Complete' }).click();
  await expect(panel.getByRole('heading', { name: 'What was filled in' })).toBeVisible();
  await expect(panel.getByText('B-204')).toBeVisible();
});

test('tasks are narrowed by how they stand, given to somebody, and linked to', async ({ page }, info) => {
  test.setTimeout(60_000);
  await started(page, 'task.json', { site: 'Berlin' });
  const title = 'Prepare a workplace in Berlin for Ada Marchetti';
  await signIn(page, 'admin');
  await open(page, '/tasks?mine=false');
  const chips = page.getByRole('list', { name: 'How they stand' });
  await expect(chips.getByRole('link', { name: /^Nobody has it\s*[1-9]/ })).toBeVisible();
  await chips.getByRole('link', { name: /^On hold/ }).click();
  await expect(page).toHaveURL(/which=held/);
  await expect(page.getByText('No task fits this filter')).toBeVisible();
  await chips.getByRole('link', { name: /^Nobody has it/ }).click();
  await page.getByRole('link', { name: title }).first().click();
  const link = page.url();
  const panel = page.getByRole('region', { name: 'Chosen task' });
  await panel.getByRole('button', { name: 'Give it to somebody…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Give it' }).click();
  await expect(dialog.getByText('Choose who does it.')).toBeVisible();
  await dialog.getByLabel('Who does it').selectOption({ label: 'Rosa Lindqvist' });
  await look(page, info, 'assign');
  await dialog.getByRole('button', { name: 'Give it' }).click();
  await expect(dialog).toBeHidden();
  await expect(panel.getByText('Rosa Lindqvist').first()).toBeVisible();
  await look(page, info, 'tasks');

  // The link leads Rosa to the task, whatever the filter in it.
  await page.context().clearCookies();
  await signIn(page, 'rosa');
  await open(page, link);
  await expect(panel.getByRole('button', { name: 'Complete' })).toBeVisible();
});

test('a consent is read and given', async ({ page }) => {
  await started(page, 'consent.json', {});
  await signIn(page, 'ada');
  await open(page, '/tasks');
  await page.getByRole('link', { name: 'Rules of the laboratory, version 3' }).first().click();
  const panel = page.getByRole('region', { name: 'Chosen task' });
  await expect(panel.getByText('I wear protective glasses.')).toBeVisible();
  await panel.getByRole('button', { name: 'I agree' }).click();
  await expect(panel.getByText('Agreed').first()).toBeVisible();
});

/** The address of the link that was mailed to somebody. */
async function mailed(dataDir: string, address: string): Promise<string> {
  let found: string | undefined;
  await expect(() => {
    const folder = join(dataDir, 'outbox');
    const mails = readdirSync(folder).map((name) => readFileSync(join(folder, name), 'utf8').replace(/=\r\n/g, ''));
    const mail = mails.find((text) => text.includes(address) && text.includes('/i/'));
    found = mail && /\/i\/[0-9a-f]{64}/.exec(mail)?.[0];
    expect(found).toBeDefined();
  }).toPass({ timeout: 15_000, intervals: [100] });
  return found!;
}

test.describe('on a narrow screen', () => {
  test.use({ viewport: { width: 360, height: 740 } });

  test('an invitation is accepted without signing in, by keyboard alone', async ({ page, server }) => {
    const email = 'guest@elsewhere.example';
    await started(page, 'invitation.json', { email, guest: 'Gil Guest' });
    const path = await mailed(server.dataDir, email);
    await page.goto(path);
    await expect(page.getByRole('heading', { level: 1, name: /^You are invited/ })).toBeVisible();
    await expect(page).toHaveURL(new RegExp(`${path}$`));
    await expectNoFaults(page);
    expect(await overflow(page)).toBe(0);

    await page.getByLabel('Institution').focus();
    await page.keyboard.type('Museum of Natural History');
    await page.getByLabel('Last day of your stay').fill('2031-12-31');
    await page.getByRole('button', { name: 'Accept the invitation' }).focus();
    await page.keyboard.press('Enter');
    await expect(page.getByText('You accepted the invitation')).toBeVisible();
    await page.reload();
    await expect(page.getByText('This link was used already')).toBeVisible();
    await expectNoFaults(page);
  });
});

test('a link that there is not is told in words', async ({ page, watch }) => {
  watch.allow(/status of 404/);
  await page.goto(`/i/${'0'.repeat(64)}`);
  await expect(page.getByText('There is no such link')).toBeVisible();
});
