import type { Locator } from '@playwright/test';
import { expect, open, signIn, test } from './fixtures';

interface Variable {
  name: string;
  type: string;
  required: boolean;
  label?: string;
  default?: unknown;
}

const SAMPLES: Record<string, string> = { integer: '30', number: '30', date: '2031-01-31', datetime: '2031-01-31T10:00', json: '{}', object: '{}', list: '[]', array: '[]' };

async function fillForm(dialog: Locator, variables: Variable[]): Promise<void> {
  for (const variable of variables.filter((one) => one.required && one.type !== 'boolean')) {
    const field = dialog.locator(`[name="${variable.name}"]`);
    if ((await field.evaluate((node) => node.tagName)) === 'SELECT') await field.selectOption({ index: 1 });
    else await field.fill(SAMPLES[variable.type] ?? 'Rare variants in cardiomyopathy');
  }
}

test('a workflow is found, started with its form, watched and cancelled', async ({ page }) => {
  await signIn(page, 'ada');
  await open(page, '/workflows');
  const start = page.getByRole('link', { name: /^Start / }).first();
  const name = (await start.innerText()).replace(/^Start\s*/, '').trim();
  await page.getByRole('searchbox', { name: 'Search workflows' }).fill(name.slice(0, 12));
  await expect(page).toHaveURL(/q=/);
  await start.click();
  await expect(page).toHaveURL(/start=/);
  const id = new URL(page.url()).searchParams.get('start')!;

  const dialog = page.getByRole('dialog');
  await expect(dialog.getByRole('button', { name: 'Start' })).toBeVisible();
  const workflow = (await (await page.request.get(`${process.env.TENURE_URL}/api/workflows/${id}`)).json()) as {
    definition: { variables: Variable[] };
  };
  const needed = workflow.definition.variables.filter((one) => one.required && one.type !== 'boolean' && one.default == null);
  if (needed.length > 0) {
    await dialog.getByRole('button', { name: 'Start' }).click();
    await expect(dialog.getByText('This is needed.').first()).toBeVisible();
  }
  await fillForm(dialog, workflow.definition.variables);
  await dialog.getByRole('button', { name: 'Start' }).click();

  await expect(page).toHaveURL(/\/runs\/[^/?]+$/);
  await expect(page.getByRole('list', { name: /^What happened/ }).getByRole('listitem').first()).toBeVisible();
  const run = page.url();
  await page.goBack();
  await expect(page).toHaveURL(/\/workflows/);
  await expect(page.getByRole('dialog')).toHaveCount(0);

  await page.context().clearCookies();
  await signIn(page, 'admin');
  await open(page, run);
  await page.getByRole('button', { name: 'Cancel the run…' }).click();
  const cancel = page.getByRole('dialog', { name: 'Cancel this run?' });
  await cancel.getByRole('button', { name: 'Cancel the run' }).click();
  await expect(cancel.getByText('Say why the run is cancelled.')).toBeVisible();
  await cancel.getByLabel('Reason').fill('Asked for by mistake.');
  await cancel.getByRole('button', { name: 'Cancel the run' }).click();
  await expect(cancel).toBeHidden();
  await expect(page.locator('header [data-status="cancelled"]')).toBeVisible();
  await expect(page.getByText('Asked for by mistake.').first()).toBeVisible();
});
