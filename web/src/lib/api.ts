// The one place that talks to the server: cookies, the CSRF header, problem documents, idempotency keys.
import type { FieldFault } from './types';

/** An empty text that is meant: elsewhere an empty value stands for none. */
export const BLANK = { blank: true } as const;

export type QueryValue = string | number | boolean | null | undefined | typeof BLANK;

export interface RequestOptions {
  query?: Record<string, QueryValue>;
  body?: unknown;
  /** A body that is sent as it is, instead of JSON. */
  file?: { content: Blob; mediaType: string };
  signal?: AbortSignal;
  idempotencyKey?: string;
  /** Answer a 401 to the caller instead of asking for a new sign-in. */
  silent401?: boolean;
  /** Statuses whose body is data although they are errors, like the 503 of the health check. */
  accept?: number[];
}

/** An error the server described, or, with status 0, a server that could not be reached. */
export class Problem extends Error {
  readonly status: number;
  readonly title: string;
  readonly detail: string;
  readonly requestId: string | null;
  readonly errors: FieldFault[];

  constructor(init: { status: number; title: string; detail?: string; requestId?: string | null; errors?: FieldFault[] }) {
    super(init.detail || init.title);
    this.name = 'Problem';
    this.status = init.status;
    this.title = init.title;
    this.detail = init.detail ?? '';
    this.requestId = init.requestId ?? null;
    this.errors = init.errors ?? [];
  }

  get unreachable(): boolean {
    return this.status === 0;
  }

  /** Whether the same request may succeed later without being changed. */
  get transient(): boolean {
    return this.status === 0 || this.status === 429 || this.status >= 500;
  }

  fault(field: string): string | undefined {
    return this.errors.find((error) => error.field === field)?.message;
  }
}

export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const detail = error instanceof Error ? error.message : String(error);
  return new Problem({ status: -1, title: 'This page ran into an error', detail });
}

let csrfToken: string | null = null;
let askToSignIn: (() => Promise<boolean>) | null = null;

export function setCsrfToken(token: string | null): void {
  csrfToken = token;
}

/** `ask` resolves to true when the same person signed in again, so that the waiting request can be sent once more. */
export function onSessionEnd(ask: (() => Promise<boolean>) | null): void {
  askToSignIn = ask;
}

export function withQuery(path: string, query?: Record<string, QueryValue>): string {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries(query ?? {})) {
    if (value === BLANK) params.set(name, '');
    else if (value !== null && value !== undefined && value !== '') params.set(name, String(value));
  }
  const text = params.toString();
  return text ? `${path}?${text}` : path;
}

/** A random v4 UUID. `crypto.randomUUID` is missing on plain http, where appliances do run. */
export function uuid(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6]! & 0x0f) | 0x40;
  bytes[8] = (bytes[8]! & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('');
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join('-');
}

const SAFE = new Set(['GET', 'HEAD']);

function buildInit(method: string, options: RequestOptions): RequestInit {
  const headers: Record<string, string> = { accept: 'application/json, application/problem+json' };
  const init: RequestInit = { method, headers, credentials: 'same-origin', signal: options.signal ?? null };
  if (!SAFE.has(method)) {
    if (csrfToken) headers['x-csrf-token'] = csrfToken;
    if (options.idempotencyKey) headers['idempotency-key'] = options.idempotencyKey;
    headers['content-type'] = options.file?.mediaType ?? 'application/json';
    init.body = options.file?.content ?? JSON.stringify(options.body ?? {});
  }
  return init;
}

async function parseJson(response: Response): Promise<unknown> {
  const text = await response.text();
  if (!text) return undefined;
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function toProblem(response: Response, body: unknown): Problem {
  const fields = (typeof body === 'object' && body !== null ? body : {}) as Record<string, unknown>;
  const text = (value: unknown) => (typeof value === 'string' ? value : undefined);
  return new Problem({
    status: response.status,
    title: text(fields.title) ?? (response.statusText || `The server answered ${response.status}`),
    detail: text(fields.detail) ?? '',
    requestId: text(fields.requestId) ?? response.headers.get('x-request-id'),
    errors: Array.isArray(fields.errors) ? (fields.errors as FieldFault[]) : [],
  });
}

async function send(method: string, url: string, options: RequestOptions): Promise<Response> {
  try {
    return await fetch(url, buildInit(method, options));
  } catch (error) {
    if (error instanceof DOMException && error.name === 'AbortError') throw error;
    throw new Problem({
      status: 0,
      title: 'Tenure cannot be reached',
      detail: 'The server did not answer. It may be restarting, or the network between you and it may be down.',
    });
  }
}

async function answer(method: string, path: string, options: RequestOptions): Promise<Response> {
  const url = withQuery(path, options.query);
  const response = await send(method, url, options);
  const again = response.status === 401 && !options.silent401 && askToSignIn && (await askToSignIn());
  return again ? send(method, url, options) : response;
}

/** A file that the server makes of what is sent, with the name that it gives it. */
export async function requestFile(path: string, body: unknown, fallback: string): Promise<{ name: string; content: Blob }> {
  const response = await answer('POST', path, { body });
  if (!response.ok) throw toProblem(response, await parseJson(response));
  const name = /filename="([^"]+)"/.exec(response.headers.get('content-disposition') ?? '')?.[1];
  return { name: name ?? fallback, content: await response.blob() };
}

export async function request<T>(method: string, path: string, options: RequestOptions = {}): Promise<T> {
  const response = await answer(method, path, options);
  const body = await parseJson(response);
  if (response.ok || options.accept?.includes(response.status)) return body as T;
  throw toProblem(response, body);
}

export const api = {
  get: <T>(path: string, options?: RequestOptions) => request<T>('GET', path, options),
  post: <T>(path: string, body?: unknown, options?: RequestOptions) => request<T>('POST', path, { ...options, body }),
  put: <T>(path: string, body?: unknown, options?: RequestOptions) => request<T>('PUT', path, { ...options, body }),
  patch: <T>(path: string, body?: unknown, options?: RequestOptions) => request<T>('PATCH', path, { ...options, body }),
  delete: <T>(path: string, options?: RequestOptions) => request<T>('DELETE', path, options),
};
