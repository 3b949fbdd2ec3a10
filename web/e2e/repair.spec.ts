import type { APIRequestContext, Page } from '@playwright/test';
import { faultsOf } from './axe';
import { EMAILS, PASSWORD, expect, open, signIn, test } from './fixtures';
import { look } from './look';

// The rule of the second person is switched on here, and nobody switches it off alone: a server of its own.
test.use({ serverEnv: { LOG_RETENTION_DAYS: '31' } });
test.describe.configure({ mode: 'serial' });

async function send<T>(page: Page, method: 'post' | 'put', path: string, token: string, data: unknown = {}): Promise<T> {
  const url = process.env.TENURE_URL!;
  const answer = await page.request[method](`${url}${path}`, { data, headers: { origin: url, 'x-csrf-token': token } });
  expect(answer.ok(), `${path}: ${await answer.text()}`).toBe(true);
  return (await answer.json()) as T;
}

async function started(page: Page, token: string, steps: unknown[]): Promise<string> {
  const definition = {
    name: 'Access to the archive',
    variables: [{ name: 'role', type: 'string', required: true, label: 'Role' }],
    steps,
  };
  const draft = await send<{ id: string }>(page, 'post', '/api/workflows', token, { definition });
  await send(page, 'post', `/api/workflows/${draft.id}/publish`, token);
  return (await send<{ id: string }>(page, 'post', `/api/workflows/${draft.id}/start`, token, { input: { role: 'Archivist' } })).id;
}

async function asMona(request: APIRequestContext): Promise<void> {
  const url = process.env.TENURE_URL!;
  const answer = await request.post(`${url}/api/auth/login`, {
    data: { email: EMAILS.mona, password: PASSWORD },
    headers: { origin: url },
  });
  expect(answer.status()).toBe(200);
}

test('a failed run says why, and is corrected and taken up again', async ({ page }, info) => {
  const token = await signIn(page, 'admin');
  const run = await started(page, token, [
    { id: 'grant', name: 'Grant the role', type: 'role_grant', config: { role: '{{ vars.role }}', reason: 'asked for' },
      transitions: [{ on: 'success', to: 'nap' }] },
    { id: 'nap', name: 'Nap', type: 'delay', config: { seconds: 86400 } },
  ]);
  await open(page, `/runs/${run}`);
  const diagnosis = page.getByRole('region', { name: 'Diagnosis' });
  await expect(diagnosis).toContainText('Grant the role failed');
  await expect(diagnosis).toContainText('Archivist');
  await look(page, info, 'run');
  await diagnosis.getByRole('button', { name: 'Correct variables…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByRole('button', { name: 'Save the variables' }).click();
  await expect(dialog.getByText('Nothing is changed yet.')).toBeVisible();
  expect(await faultsOf(page)).toEqual([]);
  await dialog.getByLabel('Role').fill('Genome Access Participant');
  await dialog.getByLabel('Reason').fill('It is called otherwise');
  await dialog.getByRole('button', { name: 'Save the variables' }).click();
  await expect(dialog).toBeHidden();
  await diagnosis.getByRole('button', { name: 'Pass over a step…' }).click();
  await dialog.getByLabel('Reason').fill('Granted by hand');
  await dialog.getByRole('button', { name: 'Pass over the step' }).click();
  await expect(dialog).toBeHidden();
  await expect(diagnosis).not.toContainText('Grant the role failed');
});

test('passing over an approval takes two people', async ({ page, browser }, info) => {
  const token = await signIn(page, 'admin');
  const run = await started(page, token, [
    { id: 'review', name: 'Review', type: 'approval', config: { title: 'May they?', approvers: [{ group: 'genome-reviewers' }] } },
  ]);
  await send(page, 'put', '/api/settings/security', token, { fourEyes: true });
  await open(page, `/runs/${run}`);
  await page.getByRole('region', { name: 'Diagnosis' }).getByRole('button', { name: 'Pass over a step…' }).click();
  const dialog = page.getByRole('dialog');
  await expect(dialog).toContainText('This takes two people');
  await dialog.getByLabel('Reason').fill('Rosa is away');
  await dialog.getByRole('button', { name: 'Ask for it' }).click();
  await expect(dialog).toContainText('Mona Okafor can agree');
  expect(await faultsOf(page)).toEqual([]);
  await dialog.getByRole('link', { name: 'See what was asked for' }).click();
  await expect(page.getByRole('region', { name: 'Chosen exception' })).toContainText('You asked for it');

  const other = await browser.newContext({ baseURL: process.env.TENURE_URL! });
  await asMona(other.request);
  const mona = await other.newPage();
  await open(mona, '/inbox?state=exceptions');
  await mona.getByRole('link', { name: /pass over “Review”/ }).click();
  const panel = mona.getByRole('region', { name: 'Chosen exception' });
  await expect(panel).toContainText('Rosa is away');
  await look(mona, info, 'exception');
  await panel.getByRole('button', { name: 'Agree' }).click();
  await expect(panel.getByText('Say why.')).toBeVisible();
  await panel.getByLabel('Reason').fill('I know');
  await panel.getByRole('button', { name: 'Agree' }).click();
  await expect(panel).toContainText('Mona Okafor');
  await open(mona, `/runs/${run}`);
  await expect(mona.getByText('Completed').first()).toBeVisible();
  await other.close();
});
