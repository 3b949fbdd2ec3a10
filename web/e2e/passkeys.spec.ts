import { expect, EMAILS, PASSWORD, test } from './fixtures';
import { expectNoFaults } from './look';
import { freePort, startTenure, type Running } from './server';

let office: Running;
let url: string;

test.beforeAll(async () => {
  const port = await freePort();
  // Passkeys are for a host with a name.
  url = `http://localhost:${port}`;
  office = await startTenure('demo', { PORT: String(port), PUBLIC_URL: url });
});

test.afterAll(async () => {
  await office?.stop();
});

test('a passkey is added, signs in, and is removed', async ({ page, watch }) => {
  watch.allow(/status of 401/);
  watch.allow(/^outside request: http:\/\/localhost/);
  const cdp = await page.context().newCDPSession(page);
  await cdp.send('WebAuthn.enable');
  const { authenticatorId } = await cdp.send('WebAuthn.addVirtualAuthenticator', {
    options: {
      protocol: 'ctap2',
      transport: 'internal',
      hasResidentKey: true,
      hasUserVerification: true,
      isUserVerified: true,
      automaticPresenceSimulation: true,
    },
  });
  await page.goto(`${url}/account`);
  await page.getByLabel('E-mail').fill(EMAILS.ada);
  await page.getByLabel('Password').fill(PASSWORD);
  await page.getByRole('button', { name: 'Sign in', exact: true }).click();
  await page.getByRole('button', { name: 'Add a passkey' }).click();
  await expect(page.getByRole('table', { name: 'Passkeys' }).getByRole('row', { name: /Never/ })).toBeVisible();
  await expectNoFaults(page);

  const signOut = async () => {
    await page.getByRole('button', { name: /^Account and display/ }).click();
    await page.getByRole('button', { name: 'Sign out' }).click();
    await expect(page).toHaveURL(/\/sign-in/);
  };
  await signOut();
  await page.goto(`${url}/account`);
  await expectNoFaults(page);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await expect(page.getByRole('heading', { level: 1, name: 'Your account' })).toBeVisible();
  await expect(page.getByRole('row', { name: /this one.*with a passkey/ })).toBeVisible();

  // An authenticator that does not verify who holds it is of no use.
  await signOut();
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: false });
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await expect(page.getByRole('alert')).toContainText('No passkey was used');
  await cdp.send('WebAuthn.setUserVerified', { authenticatorId, isUserVerified: true });
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await expect(page).not.toHaveURL(/\/sign-in/);
  await page.goto(`${url}/account`);
  await page.getByRole('button', { name: /^Remove/ }).click();
  await expect(page.getByRole('table', { name: 'Passkeys' })).toHaveCount(0);
});
