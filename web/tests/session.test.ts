import { beforeEach, describe, expect, it, vi } from 'vitest';
import { api } from '../src/lib/api';
import { session } from '../src/lib/session.svelte';

const me = (accountId = 'a1') => ({
  person: { id: 'p1', displayName: 'Ada', email: 'ada@example.org' },
  accountId,
  roles: ['requestor'],
  permissions: ['workflow:read'],
  csrfToken: `csrf-${accountId}`,
  expiresAt: '2026-11-24T10:00:00.000Z',
});

type Handler = () => Response;
let routes: Record<string, Handler>;
const json = (status: number, body: unknown) => new Response(JSON.stringify(body), { status });

beforeEach(() => {
  session.leave();
  routes = { 'GET /api/setup': () => json(200, { needed: false }), 'GET /api/auth/me': () => json(200, me()) };
  vi.stubGlobal('fetch', (url: string, init: RequestInit) =>
    Promise.resolve(routes[`${init.method} ${url}`]?.() ?? json(404, { title: 'Not found' })),
  );
});

describe('the session', () => {
  it('starts with the setup on an empty server', async () => {
    routes['GET /api/setup'] = () => json(200, { needed: true });
    await session.start();
    expect(session.state).toBe('setup');
  });

  it('knows who is signed in and what they may do', async () => {
    await session.start();
    expect(session.state).toBe('signed-in');
    expect(session.can('workflow:read')).toBe(true);
    expect(session.canAny(['audit:read', 'log:read'])).toBe(false);
  });

  it('tells signed out from broken', async () => {
    routes['GET /api/auth/me'] = () => json(401, { title: 'Not signed in' });
    await session.start();
    expect(session.state).toBe('signed-out');
    routes['GET /api/setup'] = () => json(503, { title: 'Starting' });
    await session.start();
    expect(session.state).toBe('broken');
  });

  it('goes to the provider to sign out there as well', async () => {
    await session.start();
    const assign = vi.fn();
    vi.stubGlobal('location', { ...window.location, assign });
    routes['POST /api/auth/logout'] = () => json(200, { endSessionUrl: 'https://id.example.org/end' });
    await session.signOut();
    expect(session.state).toBe('signed-out');
    expect(assign).toHaveBeenCalledWith('https://id.example.org/end');
  });

  it('is there again when the same person signed in in another window', async () => {
    await session.start();
    let signedIn = false;
    routes['POST /api/x'] = () => (signedIn ? json(200, { done: true }) : json(401, { title: 'Not signed in' }));
    const change = api.post('/api/x', { reason: 'typed' });
    await vi.waitFor(() => expect(session.ended).toBe(true));
    routes['GET /api/auth/me'] = () => json(401, { title: 'Not signed in' });
    await session.look();
    expect(session.ended).toBe(true);
    signedIn = true;
    routes['GET /api/auth/me'] = () => json(200, me());
    await session.look();
    await expect(change).resolves.toEqual({ done: true });
  });

  it('holds a change back until the same person is in again', async () => {
    await session.start();
    let signedIn = false;
    routes['POST /api/x'] = () => (signedIn ? json(200, { done: true }) : json(401, { title: 'Not signed in' }));
    routes['POST /api/auth/login'] = () => json(200, me());
    const change = api.post('/api/x', { reason: 'typed' });
    await vi.waitFor(() => expect(session.ended).toBe(true));
    signedIn = true;
    await session.signIn('ada@example.org', 'pass');
    await expect(change).resolves.toEqual({ done: true });
    expect(session.ended).toBe(false);
  });

  it('drops what was held back when the person leaves instead', async () => {
    await session.start();
    routes['POST /api/x'] = () => json(401, { title: 'Not signed in' });
    const change = api.post('/api/x').catch((error: { status: number }) => error.status);
    await vi.waitFor(() => expect(session.ended).toBe(true));
    session.leave();
    await expect(change).resolves.toBe(401);
    expect(session.state).toBe('signed-out');
  });
});
