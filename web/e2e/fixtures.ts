import { test as base, expect, request as requests, type APIRequestContext, type Page } from '@playwright/test';
import { startTenure, type Running } from './server';

export const PASSWORD = 'tenure-demo-2026';
export const EMAILS = {
  ada: 'ada@example.org',
  rosa: 'rosa@example.org',
  mona: 'mona@example.org',
  admin: 'admin@example.org',
} as const;
export type Who = keyof typeof EMAILS;

/** What a page must never do: log an error, break the content security policy, or ask another host. */
export class Watch {
  readonly faults: string[] = [];
  #allowed: RegExp[] = [];

  /** A refusal that the test provokes shows in the console too. */
  allow(pattern: RegExp): void {
    this.#allowed.push(pattern);
  }

  note(fault: string): void {
    if (!this.#allowed.some((pattern) => pattern.test(fault))) this.faults.push(fault);
  }

  async follow(page: Page): Promise<void> {
    await page.exposeFunction('noteViolation', (text: string) => this.note(`CSP: ${text}`));
    await page.addInitScript(() => {
      document.addEventListener('securitypolicyviolation', (event) => {
        const note = (window as unknown as { noteViolation: (text: string) => void }).noteViolation;
        note(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber}`);
      });
    });
    page.on('console', (message) => {
      if (message.type() === 'error') this.note(`console: ${message.text()} ${message.location().url}`);
    });
    page.on('pageerror', (error) => this.note(`error: ${error.message}`));
    page.on('request', (request) => {
      const { protocol, host } = new URL(request.url());
      if (protocol !== 'data:' && host !== new URL(page.url() === 'about:blank' ? request.url() : page.url()).host) {
        this.note(`outside request: ${request.url()}`);
      }
    });
  }
}

/** Ids of objects of the sample organisation, one of each kind that has a page. */
export interface Samples {
  approval: string;
  workflow: string;
  run: string;
  entry: string;
  job: string;
  line: string;
  person: string;
  group: string;
  import: string;
  reconciliation: string;
  assignment: string;
  role: string;
  entitlement: string;
}

interface PerWorker {
  /** What the server of a spec's own is told besides; the worker then starts one for that spec. */
  serverEnv: Record<string, string>;
  server: Running;
  samples: Samples;
}

export const test = base.extend<{ watch: Watch }, PerWorker>({
  serverEnv: [{}, { option: true, scope: 'worker' }],
  // One server with the sample organisation serves all tests of a worker.
  server: [
    async ({ serverEnv }, use) => {
      const server = await startTenure('demo', serverEnv);
      process.env.TENURE_URL = server.url;
      await use(server);
      await server.stop();
    },
    { scope: 'worker', timeout: 90_000 },
  ],
  samples: [
    async ({ server }, use) => {
      const context = await requests.newContext({ baseURL: server.url });
      const csrf = await logIn(context, 'admin', server.url);
      const first = async (path: string, key = 'id') => {
        const item = await firstItem<Record<string, unknown>>(context, path);
        return String(item[key]);
      };
      await use({
        approval: await first('/api/approvals?state=all&mine=false'),
        workflow: await first('/api/workflows?status=active'),
        run: await first('/api/runs'),
        entry: await first('/api/audit', 'seq'),
        job: await first('/api/jobs'),
        line: await first('/api/logs'),
        person: await first('/api/people'),
        group: await first('/api/groups'),
        import: await reviewed(context, server.url, csrf),
        reconciliation: await reconciled(context, csrf, server.url),
        assignment: (await granted(context, csrf, 'Sample reader')).id,
        role: await first('/api/roles'),
        entitlement: await first('/api/entitlements'),
      });
      await context.dispose();
    },
    { scope: 'worker' },
  ],
  baseURL: async ({ server }, use) => {
    await use(server.url);
  },
  // Without UTC the tests would read other hours on another machine.
  timezoneId: 'Europe/Berlin',
  watch: [
    async ({ page }, use) => {
      const watch = new Watch();
      // Asking who is signed in is answered 401 to a visitor, and the browser logs it.
      watch.allow(/status of 401 .*\/api\/auth\/me/);
      await watch.follow(page);
      await use(watch);
      expect(watch.faults).toEqual([]);
    },
    { auto: true },
  ],
});

export { expect };

/** A file of people that was brought and not applied. */
async function reviewed(context: APIRequestContext, url: string, csrf: string): Promise<string> {
  const data = { kind: 'people', name: 'people.csv', csv: 'email,name,manager\nnew@example.org,Nia New,ada@example.org\nwrong,Nobody,\n' };
  const answer = await context.post(`${url}/api/imports`, { data, headers: { origin: url, 'x-csrf-token': csrf } });
  expect(answer.status(), await answer.text()).toBe(201);
  return ((await answer.json()) as { id: string }).id;
}

async function logIn(request: APIRequestContext, who: Who, baseURL: string): Promise<string> {
  const answer = await request.post(`${baseURL}/api/auth/login`, {
    data: { email: EMAILS[who], password: PASSWORD },
    headers: { origin: baseURL },
  });
  expect(answer.status(), await answer.text()).toBe(200);
  return ((await answer.json()) as { csrfToken: string }).csrfToken;
}

/** Signs in without the form, as the form has a spec of its own. Returns the CSRF token. */
export async function signIn(page: Page, who: Who, baseURL = process.env.TENURE_URL!): Promise<string> {
  // A page of somebody else that still stands there would ask on with a session that has just ended.
  if (page.url() !== 'about:blank') await page.goto('about:blank');
  return logIn(page.request, who, baseURL);
}

export async function fillSignIn(page: Page, who: Who, password: string = PASSWORD): Promise<void> {
  await page.getByLabel('E-mail').fill(EMAILS[who]);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

/** A change by the API, as the pages make them. */
export async function post(page: Page, path: string, csrfToken: string, data: unknown = {}): Promise<void> {
  const url = process.env.TENURE_URL!;
  const answer = await page.request.post(`${url}${path}`, { data, headers: { origin: url, 'x-csrf-token': csrfToken } });
  expect(answer.status(), await answer.text()).toBe(200);
}

/** The runs of the sample organisation, and with them approvals and jobs, follow the start of the server by a moment. */
export async function firstItem<T>(request: APIRequestContext, path: string): Promise<T> {
  let item: T | undefined;
  await expect(async () => {
    const answer = await request.get(`${process.env.TENURE_URL}${path}`);
    expect(answer.status(), path).toBe(200);
    item = ((await answer.json()) as { items: T[] }).items[0];
    expect(item, `the sample organisation has an item of ${path}`).toBeDefined();
  }).toPass({ timeout: 15_000, intervals: [100] });
  return item!;
}

/** Opens a page and waits for what it shows; polling goes on for ever, so an idle network never comes. */
export async function open(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
}

/** Ada holds a role that gives nothing in any system and ends in a month. */
export async function granted(
  request: APIRequestContext,
  csrfToken: string,
  name: string,
): Promise<{ id: string; expiresAt: string; role: { id: string; name: string } }> {
  const url = process.env.TENURE_URL!;
  const send = async <T>(path: string, data: unknown): Promise<T> => {
    const answer = await request.post(`${url}${path}`, { data, headers: { origin: url, 'x-csrf-token': csrfToken } });
    expect(answer.status(), `${path}: ${await answer.text()}`).toBe(201);
    return (await answer.json()) as T;
  };
  const people = (await (await request.get(`${url}/api/people?q=${EMAILS.ada}`)).json()) as { items: { id: string }[] };
  const role = await send<{ id: string }>('/api/roles', {
    name,
    description: '',
    defaultDurationDays: 30,
    entitlementIds: [],
    requiredDocumentTypes: [],
  });
  return send('/api/assignments', { personId: people.items[0]!.id, roleId: role.id, reason: 'For the study' });
}

/** A reconciliation of the sample directory, in which somebody is found whom nobody let in. */
async function reconciled(request: APIRequestContext, csrfToken: string, baseURL: string): Promise<string> {
  const send = async <T>(method: 'post' | 'put', path: string, data: unknown): Promise<T> => {
    const answer = await request[method](`${baseURL}${path}`, { data, headers: { origin: baseURL, 'x-csrf-token': csrfToken } });
    expect(answer.ok(), `${path}: ${await answer.text()}`).toBe(true);
    return (await answer.json()) as T;
  };
  const connectors = (await (await request.get(`${baseURL}/api/connectors`)).json()) as { items: { id: string; kind: string }[] };
  const connectorId = connectors.items.find((one) => one.kind === 'directory')!.id;
  const member = { account: '{{ person.attributes.uid }}', group: 'reconciled' };
  for (const account of ['ada', 'ghost']) {
    await send('post', `/api/connectors/${connectorId}/execute`, { command: 'add_member', params: { account, group: 'reconciled' } });
  }
  const entitlement = await send<{ id: string }>('post', '/api/entitlements', {
    name: 'Reconciled group',
    connectorId,
    provision: { command: 'add_member', params: member },
    deprovision: { command: 'remove_member', params: member },
    list: { command: 'list_members', params: { group: 'reconciled' }, key: '{{ provision.params.account }}' },
    reconcile: { policy: 'revoke_unknown', remove: { command: 'remove_member', params: { account: '{{ account.key }}', group: 'reconciled' } } },
  });
  await send('post', '/api/roles', { name: 'Reconciled reader', description: '', entitlementIds: [entitlement.id], requiredDocumentTypes: [] });
  const { id } = await send<{ id: string }>('post', '/api/reconciliations', { entitlementIds: [entitlement.id] });
  await expect(async () => {
    const found = (await (await request.get(`${baseURL}/api/reconciliations/${id}`)).json()) as { status: string };
    expect(found.status).toBe('held');
  }).toPass();
  return id;
}
