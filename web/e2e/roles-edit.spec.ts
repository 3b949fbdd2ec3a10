import type { Page } from '@playwright/test';
import { expect, open, signIn, test } from './fixtures';
import { look } from './look';

/** The sample organisation's built-in directory, by its name. */
async function directory(page: Page): Promise<{ id: string; name: string }> {
  const answer = await page.request.get(`${process.env.TENURE_URL}/api/connectors`);
  const { items } = (await answer.json()) as { items: { id: string; name: string; kind: string }[] };
  return items.find((one) => one.kind === 'directory')!;
}

test('an entitlement is added command by command, changed, copied and retired', async ({ page, watch }, info) => {
  test.slow();
  watch.allow(/status of (409|422)/);
  await signIn(page, 'admin');
  const system = await directory(page);
  await open(page, '/entitlements');
  await page.getByRole('link', { name: 'Add entitlement' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Add an entitlement' })).toBeVisible();
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('This is needed.')).toHaveCount(1);
  await expect(page.getByLabel('Name', { exact: true })).toBeFocused();

  await page.getByLabel('Name', { exact: true }).fill('Genome group');
  await expect(page.getByText('This is needed.')).toHaveCount(0);
  await page.getByLabel('Connector').selectOption(system.name);
  const give = page.getByRole('group', { name: 'Give it' });
  await give.getByLabel('Command').selectOption('add_member');
  await give.getByLabel('account').fill('{{ person.attributes.uid');
  await give.getByLabel('group').fill('genome');
  // The other calls begin with what was typed for the first.
  const take = page.getByRole('group', { name: 'Take it away' });
  await take.getByLabel('Command').selectOption('remove_member');
  await expect(take.getByLabel('group')).toHaveValue('genome');
  const list = page.getByRole('group', { name: 'List who has it' });
  await list.getByLabel('Command').selectOption('list_members');
  await expect(list.getByLabel('group')).toHaveValue('genome');
  await page.getByLabel('What a person is called in the list').fill('{{ provision.params.account }}');
  await page.getByLabel('When the list differs').selectOption('revoke_unknown');
  await page.getByRole('button', { name: 'Save' }).click();
  // The server says at which parameter its template cannot be read.
  await expect(give.getByLabel('account')).toHaveAttribute('aria-invalid', 'true');
  await look(page, info, 'faults');

  await give.getByLabel('account').fill('{{ person.attributes.uid }}');
  await take.getByLabel('account').fill('{{ person.attributes.uid }}');
  await page.getByRole('button', { name: 'Save' }).click();
  const panel = page.getByRole('region', { name: 'Chosen entitlement' });
  await expect(panel.getByRole('heading', { name: 'Genome group' })).toBeVisible();
  await expect(panel).toContainText('add_member');
  await expect(panel).toContainText('and remove what nobody stands behind');
  await look(page, info, 'entitlement');

  await panel.getByRole('link', { name: 'Change…' }).click();
  const asks = page.getByRole('group', { name: 'Ask whether it is there' });
  await asks.getByLabel('Command').selectOption('has_member');
  await expect(asks.getByLabel('account')).toHaveValue('{{ person.attributes.uid }}');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(panel).toContainText('has_member');

  await panel.getByRole('link', { name: 'Copy…' }).click();
  await expect(page.getByRole('group', { name: 'Give it' }).getByLabel('group')).toHaveValue('genome');
  await page.getByLabel('Name', { exact: true }).fill('Genome group');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText('There is an entitlement Genome group already.')).toBeVisible();
  await page.getByLabel('Name', { exact: true }).fill('Genome group, second');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(panel.getByRole('heading', { name: 'Genome group, second' })).toBeVisible();

  await panel.getByRole('button', { name: 'Retire…' }).click();
  await page.getByRole('button', { name: 'Retire it' }).click();
  await expect(panel.locator('[data-status="retired"]')).toBeVisible();
  await expect(panel.getByRole('link', { name: 'Change…' })).toHaveCount(0);
  await page.getByRole('link', { name: 'Retired', exact: true }).click();
  await expect(page.getByRole('row', { name: /Genome group, second/ })).toBeVisible();
  await expect(page.getByRole('rowheader', { name: 'Genome group', exact: true })).toHaveCount(0);
});

test('the commands of an entitlement that is held stay, and the page says what to do', async ({ page, watch }) => {
  watch.allow(/status of 409/);
  const token = await signIn(page, 'admin');
  const url = process.env.TENURE_URL!;
  const system = await directory(page);
  const send = async <T>(path: string, data: unknown): Promise<T> => {
    const answer = await page.request.post(`${url}${path}`, { data, headers: { origin: url, 'x-csrf-token': token } });
    expect(answer.status(), await answer.text()).toBe(201);
    return (await answer.json()) as T;
  };
  const member = { account: '{{ person.attributes.uid }}', group: 'held' };
  const entitlement = await send<{ id: string }>('/api/entitlements', {
    name: 'Held group',
    connectorId: system.id,
    provision: { command: 'add_member', params: member },
    deprovision: { command: 'remove_member', params: member },
  });
  const role = await send<{ id: string }>('/api/roles', { name: 'Held reader', entitlementIds: [entitlement.id] });
  const people = (await (await page.request.get(`${url}/api/people?q=ada@example.org`)).json()) as { items: { id: string }[] };
  await send('/api/assignments', { personId: people.items[0]!.id, roleId: role.id, reason: 'For the study' });

  await open(page, `/entitlements/${entitlement.id}/edit`);
  await page.getByRole('group', { name: 'Give it' }).getByLabel('group').fill('another');
  await page.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByText(/is held (once|1 times), so its connector and commands stay/)).toBeVisible();
  await page.getByRole('link', { name: 'Begin a new entitlement' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Add an entitlement' })).toBeVisible();
  await expect(page.getByRole('group', { name: 'Give it' }).getByLabel('group')).toHaveValue('held');

  // Whoever holds it and which roles give it are one step away.
  await open(page, `/entitlements?id=${entitlement.id}`);
  await page.getByRole('link', { name: 'Those that give it' }).click();
  await expect(page.getByRole('row', { name: /Held reader/ })).toBeVisible();
  await expect(page.getByRole('table', { name: 'Roles', exact: true }).locator('tbody tr')).toHaveCount(1);
});

test('a role is added with what it gives and needs, changed and retired', async ({ page, watch }, info) => {
  test.slow();
  watch.allow(/status of (409|422)/);
  const token = await signIn(page, 'admin');
  const url = process.env.TENURE_URL!;
  const system = await directory(page);
  for (const name of ['Archive', 'Laboratory']) {
    const member = { account: '{{ person.attributes.uid }}', group: name.toLowerCase() };
    const data = {
      name,
      connectorId: system.id,
      provision: { command: 'add_member', params: member },
      deprovision: { command: 'remove_member', params: member },
    };
    const answer = await page.request.post(`${url}/api/entitlements`, { data, headers: { origin: url, 'x-csrf-token': token } });
    expect(answer.status(), await answer.text()).toBe(201);
  }
  await open(page, '/roles');
  await page.getByRole('link', { name: 'Add role' }).click();
  const dialog = page.getByRole('dialog', { name: 'Add a role' });
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByText('expected 1 to 200 characters')).toBeVisible();
  await dialog.getByLabel('Name', { exact: true }).fill('Archivist');
  await expect(dialog.getByText('expected 1 to 200 characters')).toBeHidden();
  await dialog.getByLabel('What it is for').fill('Reads and files what is kept.');
  await dialog.getByLabel('Owner').fill('Mona');
  const mona = dialog.locator('datalist option[value*="mona@example.org"]');
  await expect(mona).toHaveCount(1);
  await dialog.getByLabel('Owner').fill((await mona.getAttribute('value')) ?? '');
  await dialog.getByLabel('Lasts, in days').fill('soon');
  await dialog.getByLabel('Documents it needs').fill('Training certificate; ID card');
  await dialog.getByLabel(`Archive (${system.name})`).check();
  await dialog.getByRole('button', { name: 'Save' }).click();
  await expect(dialog.getByText('Expected a number of days, 1 or more.')).toBeVisible();
  await dialog.getByLabel('Lasts, in days').fill('90');
  await look(page, info, 'add');
  await dialog.getByRole('button', { name: 'Save' }).click();

  const panel = page.getByRole('region', { name: 'Chosen role' });
  await expect(panel.getByRole('heading', { name: 'Archivist' })).toBeVisible();
  await expect(panel).toContainText('90 days');
  await expect(panel).toContainText('Id card, Training certificate');
  await expect(panel.getByRole('link', { name: /Mona/ })).toBeVisible();
  await expect(panel.getByRole('row', { name: /Archive/ })).toBeVisible();
  await look(page, info, 'role');

  await panel.getByRole('button', { name: 'Change…' }).click();
  const change = page.getByRole('dialog', { name: 'Change the role' });
  await expect(change.getByLabel(`Archive (${system.name})`)).toBeChecked();
  await change.getByLabel(`Archive (${system.name})`).uncheck();
  await change.getByLabel(`Laboratory (${system.name})`).check();
  await change.getByLabel('Lasts, in days').fill('');
  await change.getByRole('button', { name: 'Save' }).click();
  await expect(panel.getByRole('row', { name: /Laboratory/ })).toBeVisible();
  await expect(panel.getByRole('row', { name: /Archive/ })).toHaveCount(0);
  await expect(panel).toContainText('No end');
  await expect(panel.getByRole('link', { name: /Mona/ })).toBeVisible();

  await panel.getByRole('button', { name: 'Retire…' }).click();
  await page.getByRole('dialog', { name: 'Retire Archivist?' }).getByRole('button', { name: 'Retire it' }).click();
  await expect(panel.locator('[data-status="retired"]')).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Change…' })).toHaveCount(0);

  // The log says who did it, and leads back from the object.
  await panel.getByRole('link', { name: 'Its entries' }).click();
  await expect(page.getByRole('row', { name: /role\.retired/ })).toBeVisible();
  await expect(page.getByRole('row', { name: /role\.created/ })).toBeVisible();

  await open(page, '/roles?q=archiv&status=active');
  await expect(page.getByText('No role fits this filter')).toBeVisible();
});

test('whoever may only read roles sees them without the ways to change them', async ({ page }) => {
  await signIn(page, 'ada');
  await open(page, '/roles?new=1');
  await expect(page.getByRole('link', { name: 'Add role' })).toHaveCount(0);
  await expect(page.getByRole('dialog')).toHaveCount(0);
});
