// Sign-in with a provider: where to go for it, and what to say when it did not work.
import { safeReturn } from './router';

/** How one can sign in, besides with a password. */
export interface SignInMethods {
  oidc: { name: string } | null;
  passkeys: boolean;
}

/** Where the browser goes to sign in with the provider, and comes back to `next` from. */
export function providerHref(next: string | null): string {
  const wanted = safeReturn(next);
  return wanted === '/' ? '/api/auth/oidc/login' : `/api/auth/oidc/login?returnTo=${encodeURIComponent(wanted)}`;
}

const FAILURES: Record<string, string> = {
  again: 'The sign-in took too long or was begun elsewhere. Please try again.',
  declined: 'The sign-in was not completed.',
  unavailable: 'The sign-in service cannot be reached at the moment. Please try again in a few minutes.',
  provider: 'The sign-in did not work. An administrator of Tenure finds the cause in the system log.',
  refused: 'You are signed in there, and have no access to Tenure yet. Ask an administrator of Tenure.',
};

/** What to say about a sign-in that did not work; nothing when the address does not speak of one. */
export function failureText(kind: string | null): string | null {
  return kind === null ? null : (FAILURES[kind] ?? FAILURES.provider!);
}
