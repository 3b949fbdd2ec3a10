import { afterEach, describe, expect, it, vi } from 'vitest';
import { api, onSessionEnd, Problem, setCsrfToken, uuid, withQuery } from '../src/lib/api';

interface Sent {
  url: string;
  init: RequestInit & { headers: Record<string, string> };
}

/** Answers each request with the next of `answers`, and keeps what was sent. */
function serve(...answers: (Response | Error)[]): Sent[] {
  const sent: Sent[] = [];
  vi.stubGlobal('fetch', (url: string, init: Sent['init']) => {
    sent.push({ url, init });
    const answer = answers[sent.length - 1];
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  });
  return sent;
}

const json = (status: number, body: unknown) => new Response(JSON.stringify(body), { status });

afterEach(() => {
  setCsrfToken(null);
  onSessionEnd(null);
});

describe('request', () => {
  it('leaves empty filters out of the address', async () => {
    const sent = serve(json(200, { items: [] }));
    await api.get('/api/runs', { query: { status: 'failed', workflowId: '', cursor: null, limit: 0 } });
    expect(sent[0]?.url).toBe('/api/runs?status=failed&limit=0');
  });

  it('sends no CSRF token with a read', async () => {
    setCsrfToken('secret');
    const sent = serve(json(200, {}));
    await api.get('/api/runs');
    expect(sent[0]?.init.headers).not.toHaveProperty('x-csrf-token');
    expect(sent[0]?.init.body).toBeUndefined();
  });

  it('sends the CSRF token, the key and a JSON body with a change', async () => {
    setCsrfToken('secret');
    const sent = serve(json(201, { id: 'r1' }));
    const run = await api.post<{ id: string }>('/api/x', undefined, { idempotencyKey: 'k1' });
    expect(run.id).toBe('r1');
    expect(sent[0]?.init.headers).toMatchObject({ 'x-csrf-token': 'secret', 'idempotency-key': 'k1', 'content-type': 'application/json' });
    expect(sent[0]?.init.body).toBe('{}');
  });

  it('answers nothing to a 204', async () => {
    serve(new Response(null, { status: 204 }));
    await expect(api.post('/api/auth/logout')).resolves.toBeUndefined();
  });

  it('takes a degraded health answer as data', async () => {
    serve(json(503, { status: 'degraded' }));
    await expect(api.get('/api/health', { accept: [503] })).resolves.toEqual({ status: 'degraded' });
  });
});

describe('problems', () => {
  it('carries the fields of a problem document', async () => {
    serve(json(422, { title: 'Refused', detail: 'Say why.', requestId: 'q1', errors: [{ field: 'reason', message: 'Needed.' }] }));
    const problem = await api.post('/api/x').catch((error: unknown) => error as Problem);
    expect(problem).toMatchObject({ status: 422, title: 'Refused', requestId: 'q1', transient: false });
    expect((problem as Problem).fault('reason')).toBe('Needed.');
    expect((problem as Problem).fault('other')).toBeUndefined();
  });

  it('survives an answer that is not JSON', async () => {
    serve(new Response('<html>', { status: 502, statusText: 'Bad Gateway' }));
    await expect(api.get('/api/x')).rejects.toMatchObject({ status: 502, title: 'Bad Gateway', transient: true });
  });

  it('tells an unreachable server apart', async () => {
    serve(new TypeError('Failed to fetch'));
    await expect(api.get('/api/x')).rejects.toMatchObject({ status: 0, unreachable: true, transient: true });
  });

  it('lets an abort through as it is', async () => {
    serve(new DOMException('gone', 'AbortError'));
    await expect(api.get('/api/x')).rejects.toMatchObject({ name: 'AbortError' });
  });
});

describe('an ended session', () => {
  it('sends the request again, with the new token, once the person is back', async () => {
    setCsrfToken('old');
    onSessionEnd(() => {
      setCsrfToken('new');
      return Promise.resolve(true);
    });
    const sent = serve(json(401, { title: 'Not signed in' }), json(200, { ok: true }));
    await expect(api.post('/api/x', { reason: 'typed' })).resolves.toEqual({ ok: true });
    expect(sent[1]?.init.headers['x-csrf-token']).toBe('new');
    expect(sent[1]?.init.body).toBe('{"reason":"typed"}');
  });

  it('gives the 401 to the caller when the person leaves', async () => {
    onSessionEnd(() => Promise.resolve(false));
    serve(json(401, { title: 'Not signed in' }));
    await expect(api.get('/api/x')).rejects.toMatchObject({ status: 401 });
  });

  it('does not ask while signing in', async () => {
    const ask = vi.fn(() => Promise.resolve(true));
    onSessionEnd(ask);
    serve(json(401, { title: 'Wrong password' }));
    await expect(api.post('/api/auth/login', {}, { silent401: true })).rejects.toMatchObject({ status: 401 });
    expect(ask).not.toHaveBeenCalled();
  });
});

describe('helpers', () => {
  it('makes v4 UUIDs without a secure context', () => {
    expect(uuid()).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
    expect(uuid()).not.toBe(uuid());
  });

  it('escapes query values', () => {
    expect(withQuery('/a', { q: 'x&y z' })).toBe('/a?q=x%26y+z');
    expect(withQuery('/a')).toBe('/a');
  });
});
