import { expect, open, signIn, test } from './fixtures';
import { look } from './look';

test('two roles are kept apart, and a rule is taken away with a reason', async ({ page }, info) => {
  const token = await signIn(page, 'admin');
  const url = process.env.TENURE_URL!;
  const [one, other] = ['Orders', 'Pays'] as const;
  for (const name of [one, other]) {
    const answer = await page.request.post(`${url}/api/roles`, { data: { name }, headers: { origin: url, 'x-csrf-token': token } });
    expect(answer.status(), await answer.text()).toBe(201);
  }
  await open(page, '/roles');
  await page.getByRole('link', { name: 'Separation of duties' }).click();
  await expect(page.getByText('No roles exclude each other')).toBeVisible();
  await page.getByRole('link', { name: 'Add rule' }).click();
  const dialog = page.getByRole('dialog', { name: 'Roles that exclude each other' });
  await dialog.getByRole('button', { name: 'Add rule' }).click();
  await expect(dialog.getByText('Choose a role.')).toHaveCount(2);
  await dialog.getByLabel('Role', { exact: true }).selectOption(one);
  await dialog.getByLabel('Other role').selectOption(other);
  await dialog.getByLabel('Reason').fill('Nobody pays what they order');
  await look(page, info, 'add');
  await dialog.getByRole('button', { name: 'Add rule' }).click();
  const rule = page.getByRole('row', { name: new RegExp(`${one} and ${other}|${other} and ${one}`) });
  await expect(rule).toContainText('Nobody pays what they order.');
  await look(page, info, 'list');
  await rule.getByRole('button', { name: /^Remove the rule/ }).click();
  await page.getByRole('textbox', { name: 'Reason' }).fill('There is a third person now');
  await page.getByRole('button', { name: 'Remove the rule', exact: true }).click();
  await expect(page.getByText('No roles exclude each other')).toBeVisible();
});
