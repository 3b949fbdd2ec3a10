import { describe, expect, it } from 'vitest';
import { findRoute, followLinks, hrefWith, matchPath, navigate, safeReturn, setQuery } from '../src/lib/router';

const here = () => window.location.pathname + window.location.search;

describe('paths', () => {
  it('matches parameters and nothing else', () => {
    expect(matchPath('/runs/:id', '/runs/r%201')).toEqual({ id: 'r 1' });
    expect(matchPath('/runs/:id', '/runs')).toBeNull();
    expect(matchPath('/runs/:id', '/runs/a/b')).toBeNull();
    expect(matchPath('/runs', '/runs/')).toEqual({});
    expect(matchPath('/runs/:id', '/runs/%E0%A4%A')).toBeNull();
  });

  it('finds the first route that fits', () => {
    const routes = [{ path: '/runs' }, { path: '/runs/:id' }];
    expect(findRoute(routes, '/runs/7')?.params).toEqual({ id: '7' });
    expect(findRoute(routes, '/nowhere')).toBeNull();
  });
});

describe('the address as state', () => {
  it('changes single query values', () => {
    navigate('/runs?status=failed&cursor=c1');
    expect(hrefWith({ status: 'waiting', cursor: null })).toBe('/runs?status=waiting');
    setQuery({ status: '' });
    expect(here()).toBe('/runs?cursor=c1');
  });

  it('keeps one history entry for the same address', () => {
    navigate('/runs');
    const before = window.history.length;
    navigate('/runs');
    expect(window.history.length).toBe(before);
  });
});

describe('the way back after a sign-in', () => {
  it.each([
    ['/runs?status=failed', '/runs?status=failed'],
    [null, '/'],
    ['//elsewhere.example', '/'],
    ['https://elsewhere.example', '/'],
    ['/\\elsewhere.example', '/'],
    ['/sign-in?next=/sign-in', '/'],
  ])('%s leads to %s', (target, expected) => {
    expect(safeReturn(target)).toBe(expected);
  });
});

describe('links', () => {
  /** Whether the router took the click; the test environment must not follow the link itself. */
  function taken(html: string, init: MouseEventInit = {}): boolean {
    document.body.innerHTML = html;
    let prevented = false;
    const listen = (event: MouseEvent) => {
      followLinks(event);
      prevented = event.defaultPrevented;
      event.preventDefault();
    };
    document.addEventListener('click', listen, { once: true });
    const event = new MouseEvent('click', { bubbles: true, cancelable: true, ...init });
    document.querySelector('span, a')!.dispatchEvent(event);
    return prevented;
  }

  it('changes the page without loading it', () => {
    expect(taken('<a href="/jobs?state=failed"><span>Jobs</span></a>')).toBe(true);
    expect(here()).toBe('/jobs?state=failed');
  });

  it.each([
    ['<a href="/jobs">x</a>', { ctrlKey: true }],
    ['<a href="/jobs" target="_blank">x</a>', {}],
    ['<a href="https://elsewhere.example/jobs">x</a>', {}],
    ['<a href="/api/documents/1/content">x</a>', {}],
  ])('leaves %s to the browser', (html, init) => {
    navigate('/runs');
    expect(taken(html, init)).toBe(false);
    expect(here()).toBe('/runs');
  });
});
