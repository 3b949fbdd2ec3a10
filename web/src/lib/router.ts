// The address bar is the state: path, parameters and query of the page on show, and the ways to change them.
import { createSubscriber } from 'svelte/reactivity';
import { BLANK, withQuery, type QueryValue } from './api';

export type Params = Record<string, string>;

export interface Match<T> {
  route: T;
  params: Params;
}

const listeners = new Set<() => void>();
const changed = () => listeners.forEach((listener) => listener());

const subscribe = createSubscriber((update) => {
  listeners.add(update);
  window.addEventListener('popstate', update);
  return () => {
    listeners.delete(update);
    window.removeEventListener('popstate', update);
  };
});

/** Reading these inside a component makes it follow the address. */
export const location = {
  get path(): string {
    subscribe();
    return window.location.pathname;
  },
  get query(): URLSearchParams {
    subscribe();
    return new URLSearchParams(window.location.search);
  },
  get href(): string {
    subscribe();
    return window.location.pathname + window.location.search;
  },
};

/**
 * The id that the address chooses on the page of this path. While another page takes its place, the address is that
 * one's already, and its id is nothing to ask for here.
 */
export const chosenOn = (path: string): string | null => (location.path === path ? location.query.get('id') : null);

export function matchPath(pattern: string, path: string): Params | null {
  const want = pattern.split('/').filter(Boolean);
  const have = path.split('/').filter(Boolean);
  if (want.length !== have.length) return null;
  const params: Params = {};
  for (const [index, part] of want.entries()) {
    const value = have[index]!;
    if (part.startsWith(':')) {
      try {
        params[part.slice(1)] = decodeURIComponent(value);
      } catch {
        return null;
      }
    } else if (part !== value) {
      return null;
    }
  }
  return params;
}

export function findRoute<T extends { path: string }>(routes: readonly T[], path: string): Match<T> | null {
  for (const route of routes) {
    const params = matchPath(route.path, path);
    if (params) return { route, params };
  }
  return null;
}

export function navigate(to: string, options: { replace?: boolean } = {}): void {
  if (to === window.location.pathname + window.location.search) return;
  const samePage = new URL(to, window.location.origin).pathname === window.location.pathname;
  if (options.replace) window.history.replaceState(null, '', to);
  else window.history.pushState(null, '', to);
  if (!samePage) window.scrollTo(0, 0);
  changed();
}

/** The present address with some query values changed; an empty value leaves the address, unless it is {@link BLANK}. */
export function hrefWith(changes: Record<string, QueryValue>): string {
  const query: Record<string, QueryValue> = Object.fromEntries([...location.query].map(([name, value]) => [name, value === '' ? BLANK : value]));
  return withQuery(location.path, { ...query, ...changes });
}

export function setQuery(changes: Record<string, QueryValue>, options: { replace?: boolean } = {}): void {
  navigate(hrefWith(changes), options);
}

/** Only an address of this application may follow a sign-in. */
export function safeReturn(target: string | null): string {
  if (!target || !target.startsWith('/') || target.startsWith('//') || target.includes('\\')) return '/';
  return target.startsWith('/sign-in') || target.startsWith('/setup') ? '/' : target;
}

function isPlainClick(event: MouseEvent): boolean {
  return event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
}

/** Lets ordinary `<a href>` elements change the page without loading it again. */
export function followLinks(event: MouseEvent): void {
  if (event.defaultPrevented || !isPlainClick(event)) return;
  const link = (event.target as Element | null)?.closest?.('a[href]') as HTMLAnchorElement | null;
  if (!link || link.target || link.hasAttribute('download') || link.origin !== window.location.origin) return;
  if (link.pathname.startsWith('/api/')) return;
  if (link.hash && link.pathname === window.location.pathname) return;
  event.preventDefault();
  navigate(link.pathname + link.search);
}
