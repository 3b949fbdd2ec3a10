import type { Page } from '@playwright/test';
import { expect, open, signIn, test, type Who } from './fixtures';
import { look } from './look';

const URL = () => process.env.TENURE_URL!;

async function call<T>(page: Page, path: string, token: string, data: unknown = {}): Promise<T> {
  const answer = await page.request.post(`${URL()}${path}`, { data, headers: { origin: URL(), 'x-csrf-token': token } });
  expect(answer.ok(), `${path}: ${await answer.text()}`).toBe(true);
  return (await answer.json()) as T;
}

async function as(page: Page, who: Who): Promise<string> {
  await page.context().clearCookies();
  return signIn(page, who);
}

/** An approval that Ada asked for; its id. */
async function asked(page: Page, config: Record<string, unknown>): Promise<{ id: string; run: string }> {
  const admin = await as(page, 'admin');
  const definition = { name: `Access ${Math.random()}`, steps: [{ id: 'review', name: 'Review', type: 'approval', config }] };
  const draft = await call<{ id: string }>(page, '/api/workflows', admin, { definition });
  await call(page, `/api/workflows/${draft.id}/publish`, admin);
  const ada = await as(page, 'ada');
  const run = await call<{ id: string }>(page, `/api/workflows/${draft.id}/start`, ada);
  const seen = await page.request.get(`${URL()}/api/runs/${run.id}`);
  const { waitingFor } = (await seen.json()) as { waitingFor: { refId: string }[] };
  return { id: waitingFor[0]!.refId, run: run.id };
}

const rosa = { person: 'rosa@example.org' };
const mona = { person: 'mona@example.org' };
const admin = { person: 'admin@example.org' };

test('a question is asked and answered, a stage is passed, and everybody sees how it stands', async ({ page }, info) => {
  test.setTimeout(60_000);
  const { id } = await asked(page, {
    title: 'The archive',
    pattern: 'sequential',
    stages: [
      { name: 'Line', approvers: [rosa] },
      { name: 'Owners', approvers: [mona, admin], rule: { quorum: 2 } },
    ],
    escalation: { remindAfterMinutes: [60, 90], last: { afterMinutes: 120, then: 'reject' } },
  });
  const panel = page.getByRole('region', { name: 'Chosen request' });

  // The requestor sees who decides and what comes if nobody does.
  await as(page, 'ada');
  await open(page, `/inbox?id=${id}`);
  await expect(panel.getByRole('heading', { name: 'Stage 1 of 2: Line' })).toBeVisible();
  await expect(panel.getByText('Rosa Lindqvist').first()).toBeVisible();
  await expect(panel.getByRole('heading', { name: 'If nobody decides' })).toBeVisible();
  await expect(panel.getByText('Those who have not decided are reminded')).toHaveCount(2);
  await expect(panel.getByText('It counts as rejected')).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Approve' })).toHaveCount(0);
  await expect(panel.getByRole('button', { name: /^Ask/ })).toHaveCount(0);

  await as(page, 'rosa');
  await open(page, `/inbox?id=${id}`);
  await panel.getByRole('button', { name: 'Ask for information…' }).click();
  await panel.getByRole('button', { name: 'Ask', exact: true }).click();
  await expect(panel.getByText('Write what you want to know.')).toBeVisible();
  await panel.getByLabel('Question').fill('Which shelf?');
  await panel.getByRole('button', { name: 'Ask', exact: true }).click();
  await expect(panel.getByText('Which shelf?')).toBeVisible();

  await as(page, 'ada');
  await open(page, `/inbox?id=${id}`);
  await panel.getByLabel('Your answer').fill('The third one.');
  await panel.getByRole('button', { name: 'Answer' }).click();
  await expect(panel.getByText('The third one.')).toBeVisible();

  await as(page, 'rosa');
  await open(page, `/inbox?id=${id}`);
  await expect(panel.getByText('The third one.')).toBeVisible();
  await panel.getByLabel('Reason').fill('The third shelf is fine.');
  await look(page, info, 'approval');
  await panel.getByRole('button', { name: 'Approve' }).click();
  await expect(panel.getByText('The third shelf is fine.')).toBeVisible();
  await expect(panel.getByText('0 of 2 approved.')).toBeVisible();

  await as(page, 'mona');
  await open(page, `/inbox?id=${id}`);
  await panel.getByRole('button', { name: 'Approve' }).click();
  await expect(panel.getByText('1 of 2 approved.')).toBeVisible();
  await expect(page.getByText(/It is not decided yet/)).toBeVisible();
});

test('a decision is handed over, and an administrator reassigns one', async ({ page, watch }, info) => {
  test.setTimeout(60_000);
  const { id } = await asked(page, { title: 'The cellar', approvers: [rosa] });
  const panel = page.getByRole('region', { name: 'Chosen request' });
  const dialog = page.getByRole('dialog');

  await as(page, 'rosa');
  await open(page, `/inbox?id=${id}`);
  await panel.getByRole('button', { name: 'Hand over…' }).click();
  await dialog.getByRole('button', { name: 'Hand it over' }).click();
  await expect(dialog.getByText('Choose who decides.')).toBeVisible();
  await expect(dialog.getByText('Say why.')).toBeVisible();
  await expect(dialog.getByLabel('Who decides').locator('option')).not.toContainText(['Ada Marchetti']);
  await look(page, info, 'hand-over');
  await dialog.getByLabel('Who decides').selectOption({ label: 'Mona Okafor' });
  await dialog.getByLabel('Reason').fill('On leave');
  await dialog.getByRole('button', { name: 'Hand it over' }).click();
  await expect(dialog).toBeHidden();
  await expect(panel.getByText('You cannot decide this request')).toBeVisible();
  await expect(panel.getByText('on behalf of Rosa Lindqvist')).toBeVisible();

  await as(page, 'mona');
  await open(page, `/inbox?id=${id}`);
  await expect(panel.getByText('You decide on behalf of Rosa Lindqvist.')).toBeVisible();

  await as(page, 'admin');
  await open(page, `/inbox?mine=false&id=${id}`);
  await panel.getByRole('button', { name: 'Reassign…' }).click();
  await dialog.getByLabel('Who decides').selectOption({ label: 'Rosa Lindqvist' });
  await expect(dialog.getByRole('list', { name: 'Chosen' })).toContainText('Rosa Lindqvist');
  await dialog.getByLabel('Reason').fill('She is back');
  await dialog.getByRole('button', { name: 'Reassign' }).click();
  await expect(dialog).toBeHidden();
  await expect(panel.getByText('Mona Okafor, on behalf of Rosa Lindqvist')).toContainText('no longer decides');

  // Where the policy says so, approving needs a reason too.
  watch.allow(/status of 422/);
  const token = await as(page, 'admin');
  const policy = (value: unknown) =>
    page.request.put(`${URL()}/api/settings/security`, { data: { reasonPolicy: value }, headers: { origin: URL(), 'x-csrf-token': token } });
  expect((await policy('both')).ok()).toBe(true);
  await as(page, 'rosa');
  await open(page, `/inbox?id=${id}`);
  await panel.getByRole('button', { name: 'Approve' }).click();
  await expect(panel.getByText('Say why you approve it.')).toBeVisible();
  await panel.getByLabel('Reason').fill('Known to me');
  await panel.getByRole('button', { name: 'Approve' }).click();
  await expect(panel.getByText('Known to me').first()).toBeVisible();
  const again = await as(page, 'admin');
  await page.request.put(`${URL()}/api/settings/security`, { data: { reasonPolicy: null }, headers: { origin: URL(), 'x-csrf-token': again } });
});
