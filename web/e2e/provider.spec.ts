import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { faultsOf } from './axe';
import { expect, fillSignIn, signIn, test } from './fixtures';
import { freePort, startTenure, type Running } from './server';

const SECRET = 'of the browser tests';

let provider: ChildProcess;
let issuer: string;
let office: Running;

test.beforeAll(async () => {
  const [port, own] = [await freePort(), await freePort()];
  const url = `http://127.0.0.1:${own}`;
  issuer = `http://127.0.0.1:${port}`;
  const client = {
    client_id: 'tenure',
    client_secret: SECRET,
    redirect_uris: [`${url}/api/auth/oidc/callback`],
    post_logout_redirect_uris: [`${url}/`],
    grant_types: ['authorization_code'],
    response_types: ['code'],
  };
  const folder = new URL('../../tests/node', import.meta.url).pathname;
  provider = spawn('node', ['oidc.mjs', String(port), JSON.stringify(client)], { cwd: folder, stdio: ['ignore', 'pipe', 'inherit'] });
  await once(provider.stdout!, 'data');
  office = await startTenure('demo', {
    PORT: String(own),
    PUBLIC_URL: url,
    OIDC_ISSUER: issuer,
    OIDC_CLIENT_ID: 'tenure',
    OIDC_CLIENT_SECRET: SECRET,
    OIDC_REDIRECT_URI: `${url}/api/auth/oidc/callback`,
    OIDC_NAME: 'Example SSO',
  });
});

test.afterAll(async () => {
  await office?.stop();
  provider?.kill();
});

async function personIs(person: Record<string, unknown>): Promise<void> {
  const answer = await fetch(`${issuer}/test/person`, { method: 'PUT', body: JSON.stringify(person) });
  expect(answer.ok).toBe(true);
}

test('somebody signs in with the provider, gets the role of their group, and signs out there as well', async ({ page, watch }) => {
  watch.allow(/^outside request: http:\/\/127\.0\.0\.1/);
  // The pages of the provider are its own.
  watch.allow(/^CSP: |^console: .*favicon/);
  await personIs({ sub: 'n-1', email: 'nora@example.org', email_verified: true, name: 'Nora Newman', groups: ['staff'] });

  await page.goto(`${office.url}/sign-in?next=%2Fsettings%2Fsign-in`);
  await fillSignIn(page, 'admin');
  await expect(page.getByRole('heading', { level: 1, name: 'Sign-in' })).toBeVisible();
  await expect(page.getByText('Example SSO')).toBeVisible();
  await page.getByRole('button', { name: 'Add a group' }).click();
  await page.getByLabel('Group', { exact: true }).fill('staff');
  await page.getByLabel('System role', { exact: true }).selectOption('auditor');
  await page.getByRole('button', { name: 'Add', exact: true }).click();
  await expect(page.getByRole('row', { name: /staff Auditor/ })).toBeVisible();
  expect(await faultsOf(page)).toEqual([]);
  await page.getByRole('button', { name: /^Account and display/ }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await expect(page).toHaveURL(/\/sign-in/);

  await page.goto(`${office.url}/audit`);
  await page.getByRole('link', { name: 'Sign in with Example SSO' }).click();
  await expect(page).toHaveURL(`${office.url}/audit`);
  await expect(page.getByRole('heading', { level: 1, name: 'Audit log' })).toBeVisible();
  await page.getByRole('button', { name: /^Account and display, Nora Newman/ }).click();
  await page.getByRole('button', { name: 'Sign out' }).click();
  await page.getByRole('button', { name: /yes/i }).click();
  await expect(page).toHaveURL(/\/sign-in/);
  expect(page.url().startsWith(office.url)).toBe(true);
});

test('a sign-in that does not work is said calmly', async ({ page, watch }) => {
  watch.allow(/^outside request: http:\/\/127\.0\.0\.1/);
  await personIs({ sub: 'x-1', email: 'ada@example.org', email_verified: true, name: 'Not Ada', groups: [] });
  await page.goto(`${office.url}/sign-in`);
  await page.getByRole('link', { name: 'Sign in with Example SSO' }).click();
  await expect(page.getByRole('alert')).toContainText('no access to Tenure yet');
  expect(await faultsOf(page)).toEqual([]);
});

test('without a provider there is no button for one', async ({ page }) => {
  await page.goto('/sign-in');
  await expect(page.getByRole('button', { name: 'Sign in' })).toBeVisible();
  await expect(page.getByRole('link', { name: /^Sign in with/ })).toHaveCount(0);
  await signIn(page, 'admin');
  await page.goto('/settings/sign-in');
  await expect(page.getByText('No provider')).toBeVisible();
});
