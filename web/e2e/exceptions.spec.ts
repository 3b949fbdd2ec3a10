import type { Page } from '@playwright/test';
import { expect, open, signIn, test, type Who } from './fixtures';
import { look } from './look';

// The rule of the second person is switched on here, and nobody switches it off alone: a server of its own.
test.use({ serverEnv: { LOG_RETENTION_DAYS: '33' } });
test.describe.configure({ mode: 'serial' });

const URL = () => process.env.TENURE_URL!;

async function as(page: Page, who: Who): Promise<string> {
  await page.context().clearCookies();
  return signIn(page, who);
}

/** A role that rests on no document. */
async function makeRole(page: Page, name: string): Promise<void> {
  const token = await as(page, 'admin');
  const answer = await page.request.post(`${URL()}/api/roles`, {
    data: { name, description: 'For the tests', defaultDurationDays: 30, entitlementIds: [], requiredDocumentTypes: [] },
    headers: { origin: URL(), 'x-csrf-token': token },
  });
  expect(answer.status(), await answer.text()).toBe(201);
}

test('the second person is switched on, and access outside a run is asked for, agreed to and marked', async ({ page }, info) => {
  test.setTimeout(60_000);
  const dialog = page.getByRole('dialog');
  await makeRole(page, 'Archivist');
  await open(page, '/settings/security');
  await page.getByRole('button', { name: 'Switch on the second person' }).click();
  await expect(page.getByRole('button', { name: 'Ask to switch it off…' })).toBeVisible();
  await look(page, info, 'security');

  await open(page, '/access');
  await page.getByRole('link', { name: 'Give a role…' }).click();
  await dialog.getByRole('button', { name: 'Give the role' }).click();
  await expect(dialog.getByText('Choose who gets it.')).toBeVisible();
  await dialog.getByLabel('Who').selectOption({ label: 'Rosa Lindqvist' });
  await dialog.getByLabel('Role').selectOption({ label: 'Archivist' });
  await dialog.getByLabel('Reason').fill('For the audit');
  await look(page, info, 'give-role');
  await dialog.getByRole('button', { name: 'Give the role' }).click();
  await expect(dialog).toContainText('Asked for, not done yet');
  await dialog.getByRole('link', { name: 'See what was asked for' }).click();
  const panel = page.getByRole('region', { name: 'Chosen exception' });
  await expect(panel.getByText('You cannot decide this')).toBeVisible();

  await as(page, 'mona');
  await open(page, '/inbox?state=exceptions');
  await page.getByRole('link', { name: /Archivist/ }).click();
  await panel.getByRole('button', { name: 'Agree' }).click();
  await expect(panel.getByText('Say why.')).toBeVisible();
  await panel.getByLabel('Reason').fill('I looked at it');
  await look(page, info, 'exception');
  await panel.getByRole('button', { name: 'Agree' }).click();
  await expect(panel.getByText('I looked at it')).toBeVisible();

  await open(page, '/inbox?state=exceptions&mine=false&decision=approved');
  await expect(page.getByRole('row', { name: /Archivist/ })).toBeVisible();
  await open(page, '/inbox?state=exceptions&mine=false&decision=expired');
  await expect(page.getByText('No exception fits this filter')).toBeVisible();

  await open(page, '/access');
  await page.getByRole('row', { name: /Rosa Lindqvist/ }).getByRole('link').click();
  const access = page.getByRole('region', { name: 'Chosen access' });
  await expect(access.getByText('Given outside a run')).toBeVisible();
  await access.getByRole('button', { name: 'Extend…' }).click();
  await dialog.getByLabel('Reason').fill('It takes longer');
  await look(page, info, 'extend');
  await dialog.getByRole('button', { name: 'Extend' }).click();
  await expect(dialog).toContainText('Asked for, not done yet');
});

test('publishing one’s own workflow and switching the rule off take a second person', async ({ page, watch }) => {
  const token = await as(page, 'admin');
  const definition = { name: 'Mine', steps: [{ id: 'end', name: 'End', type: 'end', config: {} }] };
  const made = await page.request.post(`${URL()}/api/workflows`, { data: { definition }, headers: { origin: URL(), 'x-csrf-token': token } });
  const { id } = (await made.json()) as { id: string };
  const dialog = page.getByRole('dialog');
  watch.allow(/status of 422/);
  await open(page, `/workflows/${id}`);
  await page.getByRole('button', { name: 'Publish…' }).click();
  await dialog.getByRole('button', { name: 'Publish' }).click();
  await expect(dialog.getByLabel('Reason')).toHaveAttribute('aria-invalid', 'true');
  await dialog.getByLabel('Reason').fill('It is ready');
  await dialog.getByRole('button', { name: 'Publish' }).click();
  await expect(dialog).toContainText('Asked for, not done yet');

  await open(page, '/settings/security');
  await page.getByRole('button', { name: 'Ask to switch it off…' }).click();
  await dialog.getByLabel('Reason').fill('We are few');
  watch.allow(/status of 409/);
  await dialog.getByRole('button', { name: 'Ask for it' }).click();
  // There is one administrator only: it says that nobody else may agree.
  await expect(dialog.getByText(/Nobody else may agree to it/)).toBeVisible();
});

test('a role is taken in an emergency, runs out in sight, and is reviewed by somebody else', async ({ page }, info) => {
  test.setTimeout(60_000);
  const dialog = page.getByRole('dialog');
  await makeRole(page, 'Night watch');
  await as(page, 'mona');
  await open(page, '/break-glass');
  await expect(page.getByText('Nothing is left to review')).toBeVisible();
  await page.getByRole('link', { name: 'Break the glass…' }).click();
  await dialog.getByLabel('What the emergency is').fill('Help!');
  await dialog.getByRole('button', { name: 'Take the role' }).click();
  await expect(dialog.getByText('Choose a role.')).toBeVisible();
  await expect(dialog.getByText(/At least 20 characters that say/)).toBeVisible();
  await look(page, info, 'break-glass');
  await dialog.getByLabel('Role').selectOption({ label: 'Night watch' });
  await dialog.getByLabel('For how long').selectOption('2');
  await dialog.getByLabel('What the emergency is').fill('The cluster is down and nobody else is here.');
  await dialog.getByRole('button', { name: 'Take the role' }).click();
  const panel = page.getByRole('region', { name: 'Chosen emergency' });
  await expect(panel.getByText('1 h 59 min')).toBeVisible();
  await expect(panel.getByText('It waits for a review')).toBeVisible();
  await panel.getByRole('link', { name: 'What it gives' }).click();
  await expect(page.getByText('Taken in an emergency')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Extend…' })).toHaveCount(0);

  // The administrator is told, and the message leads to the review.
  await as(page, 'admin');
  await open(page, '/inbox');
  await page.getByRole('button', { name: /^Messages, / }).click();
  await page.getByRole('link', { name: /broke the glass/ }).click();
  await expect(page).toHaveURL(/\/break-glass\?id=/);
  await panel.getByRole('button', { name: 'There was no need, end it' }).click();
  await expect(panel.getByText('Say what you found.')).toBeVisible();
  await look(page, info, 'emergency');
  await panel.getByLabel('What you found').fill('Somebody was there');
  await panel.getByRole('button', { name: 'There was no need, end it' }).click();
  await expect(panel.getByText('Somebody was there')).toBeVisible();
  await expect(panel.getByText('Unjustified').first()).toBeVisible();
  await open(page, '/break-glass?open=false');
  await expect(page.getByRole('row', { name: /Mona Okafor/ })).toContainText('Over');
});
