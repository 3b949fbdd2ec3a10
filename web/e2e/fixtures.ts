import { test as base, expect, type APIRequestContext, type Page } from '@playwright/test';

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

export const test = base.extend<{ watch: Watch }>({
  baseURL: async ({}, use) => {
    await use(process.env.TENURE_URL);
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

/** Signs in without the form, as the form has a spec of its own. Returns the CSRF token. */
export async function signIn(page: Page, who: Who, baseURL = process.env.TENURE_URL!): Promise<string> {
  const answer = await page.request.post(`${baseURL}/api/auth/login`, {
    data: { email: EMAILS[who], password: PASSWORD },
    headers: { origin: baseURL },
  });
  expect(answer.status(), await answer.text()).toBe(200);
  return ((await answer.json()) as { csrfToken: string }).csrfToken;
}

export async function fillSignIn(page: Page, who: Who, password: string = PASSWORD): Promise<void> {
  await page.getByLabel('E-mail').fill(EMAILS[who]);
  await page.getByLabel('Password').fill(password);
  await page.getByRole('button', { name: 'Sign in' }).click();
}

export async function firstItem<T>(request: APIRequestContext, path: string): Promise<T | undefined> {
  const answer = await request.get(`${process.env.TENURE_URL}${path}`);
  expect(answer.status(), path).toBe(200);
  return ((await answer.json()) as { items: T[] }).items[0];
}

/** The address of every page, those of single objects included, as far as the sample organisation has them. */
export async function everyRoute(request: APIRequestContext): Promise<string[]> {
  const approval = await firstItem<{ id: string }>(request, '/api/approvals?state=all&mine=false');
  const workflow = await firstItem<{ id: string }>(request, '/api/workflows?status=active');
  const run = await firstItem<{ id: string }>(request, '/api/runs');
  const entry = await firstItem<{ seq: number }>(request, '/api/audit');
  const job = await firstItem<{ id: string }>(request, '/api/jobs');
  return [
    '/inbox',
    '/inbox?mine=false&state=decided',
    ...(approval ? [`/inbox?mine=false&id=${approval.id}`] : []),
    '/workflows',
    '/workflows?q=nothing-is-called-this',
    ...(workflow ? ['', '?tab=variables', '?tab=versions', '?tab=json', '?start=1'].map((tab) => `/workflows/${workflow.id}${tab}`) : []),
    '/runs',
    ...(run ? ['', '?tab=steps', '?tab=data'].map((tab) => `/runs/${run.id}${tab}`) : []),
    '/access',
    '/people',
    '/roles',
    '/documents',
    '/connectors',
    '/audit',
    ...(entry ? [`/audit?seq=${entry.seq}`] : []),
    '/overview',
    '/jobs',
    ...(job ? [`/jobs?id=${job.id}`] : []),
    '/logs',
    '/settings',
    '/no-such-page',
  ];
}

/** Opens a page and waits for what it shows; polling goes on for ever, so an idle network never comes. */
export async function open(page: Page, path: string): Promise<void> {
  await page.goto(path);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByRole('status', { name: /^Loading/ })).toHaveCount(0);
}
