import { describe, expect, it } from 'vitest';
import { failureText, providerHref } from '../src/lib/signin';

describe('sign-in with a provider', () => {
  it('comes back to where one wanted to go, and never to another site', () => {
    expect(providerHref(null)).toBe('/api/auth/oidc/login');
    expect(providerHref('/runs?status=waiting')).toBe('/api/auth/oidc/login?returnTo=%2Fruns%3Fstatus%3Dwaiting');
    expect(providerHref('//evil.example')).toBe('/api/auth/oidc/login');
  });

  it('says something calm about every failure, also one that it does not know', () => {
    expect(failureText(null)).toBeNull();
    const known = ['again', 'declined', 'unavailable', 'provider', 'refused'].map(failureText);
    expect(new Set(known).size).toBe(5);
    expect(failureText('<script>')).toBe(failureText('provider'));
  });
});
