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
      await logIn(context, 'admin', server.url);
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
