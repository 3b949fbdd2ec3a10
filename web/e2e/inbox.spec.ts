import { expect, fillSignIn, firstItem, open, signIn, test } from './fixtures';

interface Pending {
  id: string;
  title: string;
  runId: string;
  subject: { displayName: string } | null;
  role: { name: string; entitlements: { name: string }[] } | null;
}

test('nobody decides their own request', async ({ page }) => {
  await signIn(page, 'rosa');
  const pending = await firstItem<Pending>(page.request, '/api/approvals?state=pending&mine=true');
  await page.context().clearCookies();
  await signIn(page, 'ada');
  await open(page, `/inbox?id=${pending.id}`);
  await expect(page.getByText('You cannot decide this request')).toBeVisible();
  await expect(page.getByRole('button', { name: 'Approve' })).toHaveCount(0);
});

test('a request is read, and decided although the session ended meanwhile', async ({ page, watch }) => {
  await signIn(page, 'rosa');
  const pending = await firstItem<Pending>(page.request, '/api/approvals?state=pending&mine=true');
  await open(page, '/inbox');
  await page.getByRole('link', { name: pending.title }).first().click();
  await expect(page).toHaveURL(new RegExp(`id=`));

  const panel = page.getByRole('region', { name: 'Chosen request' });
  await expect(panel.getByRole('heading', { name: pending.title })).toBeVisible();
  if (pending.subject) await expect(panel.getByText(pending.subject.displayName).first()).toBeVisible();
  for (const entitlement of pending.role?.entitlements ?? []) {
    await expect(panel.getByRole('rowheader', { name: entitlement.name })).toBeVisible();
  }

  await expect(panel.getByRole('button', { name: 'Approve' }), 'in sight without scrolling').toBeInViewport({ ratio: 1 });
  await panel.getByRole('button', { name: 'Reject' }).click();
  await expect(panel.getByText('Say why you reject it.')).toBeVisible();
  await panel.getByLabel('Reason').fill('Covered by the agreement.');

  watch.allow(/status of 401/);
  await page.context().clearCookies();
  await panel.getByRole('button', { name: 'Approve' }).click();
  const again = page.getByRole('dialog', { name: 'Your session has ended' });
  await expect(again).toBeVisible();
  await expect(again.getByLabel('Password')).toBeFocused();
  await expect(panel.getByLabel('Reason')).toHaveValue('Covered by the agreement.');
  await fillSignIn(page, 'rosa');
  await expect(again).toBeHidden();
  await expect(panel.getByText('Approved').first()).toBeVisible();
  await expect(panel.getByText('Covered by the agreement.').first()).toBeVisible();

  await page.getByRole('link', { name: 'Decided' }).click();
  await expect(page).toHaveURL(/state=decided/);
  await page.getByRole('link', { name: pending.title }).first().click();
  await expect(panel.getByText('Rosa').first()).toBeVisible();
});
