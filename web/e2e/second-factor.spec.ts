import { createHmac } from 'node:crypto';
import { expect, fillSignIn, open, signIn, test } from './fixtures';
import { expectNoFaults } from './look';

// What is decided here must not meet other specs: a server of its own.
test.use({ serverEnv: { LOG_LEVEL: 'info' } });

/** What an authenticator app shows: RFC 6238. A code counts once, so a later one is of the next half minute. */
function codeOf(key: string, ahead = 0): string {
  const bits = [...key].map((c) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(c).toString(2).padStart(5, '0')).join('');
  const secret = Buffer.from(bits.match(/.{8}/g)!.map((byte) => parseInt(byte, 2)));
  const step = Buffer.alloc(8);
  step.writeBigInt64BE(BigInt(Math.floor(Date.now() / 30_000) + ahead));
  const tag = createHmac('sha1', secret).update(step).digest();
  const at = tag[19]! & 15;
  return String((tag.readUInt32BE(at) & 0x7fffffff) % 1_000_000).padStart(6, '0');
}

test('a second factor is set up, asked for, and taken away by an administrator', async ({ page, watch }) => {
  watch.allow(/status of (401|422) .*\/api\/auth\/(login|second-factor)/);
  watch.allow(/status of 401/);
  await signIn(page, 'ada');
  await open(page, '/account');
  await expect(page.getByRole('row', { name: /this one/ })).toBeVisible();
  await page.getByRole('button', { name: 'Set up an authenticator app…' }).click();
  await page.getByRole('button', { name: 'Begin' }).click();
  await expect(page.getByRole('img', { name: /QR code/ })).toBeVisible();
  await expectNoFaults(page);
  const key = (await page.getByText(/^Key:/).innerText()).replace(/^Key:\s*/, '').match(/[A-Z2-7]{32}/)![0];
  await page.getByLabel('Code', { exact: true }).fill('12');
  await page.getByRole('button', { name: 'Confirm' }).click();
  await expect(page.getByLabel('Code', { exact: true })).toHaveAttribute('aria-invalid', 'true');
  await page.getByLabel('Code', { exact: true }).fill(codeOf(key));
  await page.getByRole('button', { name: 'Confirm' }).click();
  const codes = page.getByRole('dialog').getByRole('listitem');
  await expect(codes).toHaveCount(10);
  const recovery = await codes.first().innerText();
  await expectNoFaults(page);
  await page.getByRole('button', { name: 'I have them' }).click();
  await expect(page.getByText('10 recovery codes are left')).toBeVisible();

  // Signing in takes two steps now.
  await page.getByRole('button', { name: /^Account and display/ }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in/);
  await fillSignIn(page, 'ada');
  await expect(page.getByLabel('Code')).toBeFocused();
  await expect(page.getByRole('alert')).toHaveCount(0);
  await page.getByLabel('Code').fill('000 000x');
  await page.keyboard.press('Enter');
  await expect(page.getByLabel('Code')).toHaveAttribute('aria-invalid', 'true');
  await expectNoFaults(page);
  await page.getByLabel('Code').fill(codeOf(key, 1));
  await page.keyboard.press('Enter');
  await expect(page.getByRole('button', { name: /^Account and display/ })).toBeVisible();
  await page.getByRole('button', { name: /^Account and display/ }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in/);
  await fillSignIn(page, 'ada');
  await page.getByLabel('Code').fill(recovery);
  await page.keyboard.press('Enter');
  await expect(page.getByRole('button', { name: /^Account and display/ })).toBeVisible();

  // An administrator helps whoever lost everything.
  await page.context().clearCookies();
  await signIn(page, 'admin');
  await open(page, '/people?q=ada');
  await page.getByRole('link', { name: /^Ada/ }).first().click();
  await expect(page.getByText('Authenticator app')).toBeVisible();
  await page.getByRole('button', { name: 'Reset the second factor…' }).click();
  await page.getByRole('button', { name: 'Reset it' }).click();
  await expect(page.getByRole('button', { name: 'Reset the second factor…' })).toHaveCount(0);
});

test('a password is changed by whoever knows it, and a common one is not taken', async ({ page, watch }) => {
  watch.allow(/status of 422/);
  await signIn(page, 'mona');
  await open(page, '/account');
  await page.getByRole('button', { name: 'Change your password…' }).click();
  const dialog = page.getByRole('dialog');
  await dialog.getByLabel('Present password').fill('tenure-demo-2026');
  await dialog.getByLabel('New password').fill('Password2026!');
  await dialog.getByRole('button', { name: 'Change' }).click();
  await expect(dialog.getByText(/tried first/)).toBeVisible();
  await expectNoFaults(page);
  await dialog.getByLabel('New password').fill('a quiet harbour at noon');
  await dialog.getByRole('button', { name: 'Change' }).click();
  await expect(dialog).toHaveCount(0);
  // The session goes on, with secrets of its own.
  await page.getByRole('button', { name: 'Change your password…' }).click();
  await dialog.getByLabel('Present password').fill('a quiet harbour at noon');
  await dialog.getByLabel('New password').fill('tenure-demo-2026');
  await dialog.getByRole('button', { name: 'Change' }).click();
  await expect(dialog).toHaveCount(0);
});

test('whoever has to have a second factor sets one up before anything else', async ({ page, watch }) => {
  watch.allow(/status of (401|403)/);
  await signIn(page, 'admin');
  await open(page, '/settings/sign-in');
  await page.getByRole('button', { name: 'Change Who needs a second factor' }).click();
  await page.getByLabel('Who needs a second factor').selectOption('administrators');
  await page.getByRole('button', { name: 'Save' }).click();
  await page.goto('/people');
  await expect(page.getByRole('heading', { level: 1, name: 'Set up a second factor' })).toBeVisible();
  await expectNoFaults(page);
  await page.getByRole('button', { name: 'Begin' }).click();
  const key = (await page.getByText(/^Key:/).innerText()).match(/[A-Z2-7]{32}/)![0];
  await page.getByLabel('Code', { exact: true }).fill(codeOf(key));
  await page.getByRole('button', { name: 'Confirm' }).click();
  await page.getByRole('button', { name: 'I have them' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'People' })).toBeVisible();
});
