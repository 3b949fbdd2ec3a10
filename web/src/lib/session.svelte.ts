import { api, asProblem, onSessionEnd, setCsrfToken, type Problem } from './api';
import { queryClient } from './client';
import { answerChallenge } from './passkeys';
import type { Me } from './types';

type State = 'loading' | 'setup' | 'signed-out' | 'signed-in' | 'broken';

/** Who is signed in. When a session ends, the page stays as it is and the person is asked to sign in again over it. */
class Session {
  state = $state<State>('loading');
  me = $state<Me | null>(null);
  problem = $state<Problem | null>(null);
  /** The server no longer knows the session; typed work is still on the page. */
  ended = $state(false);

  #waiting: ((again: boolean) => void)[] = [];

  can(permission: string): boolean {
    return this.me?.permissions.includes(permission) ?? false;
  }

  canAny(permissions: readonly string[]): boolean {
    return permissions.length === 0 || permissions.some((permission) => this.can(permission));
  }

  async start(): Promise<void> {
    this.state = 'loading';
    this.problem = null;
    try {
      const { needed } = await api.get<{ needed: boolean }>('/api/setup');
      if (needed) {
        this.state = 'setup';
        return;
      }
      this.#enter(await api.get<Me>('/api/auth/me', { silent401: true }));
    } catch (error) {
      const problem = asProblem(error);
      this.problem = problem;
      this.state = problem.status === 401 ? 'signed-out' : 'broken';
    }
  }

  async signIn(email: string, password: string, code?: string): Promise<void> {
    const body = code ? { email, password, code } : { email, password };
    this.#again(await api.post<Me>('/api/auth/login', body, { silent401: true }));
  }

  async signInWithPasskey(): Promise<void> {
    this.#again(await api.post<Me>('/api/auth/passkeys/login', await answerChallenge(), { silent401: true }));
  }

  /** Another password: the other sessions end, and this one has new secrets. */
  async changePassword(current: string, password: string): Promise<void> {
    this.#enter(await api.post<Me>('/api/auth/password', { current, password }));
  }

  /** Somebody may have signed in in another window. */
  async look(): Promise<void> {
    const me = await api.get<Me>('/api/auth/me', { silent401: true }).catch(() => null);
    if (me && this.ended) this.#again(me);
  }

  #again(me: Me): void {
    const before = this.me;
    if (this.ended && before && before.accountId !== me.accountId) {
      // Another person must not inherit what the first one had open.
      this.#release(false);
      window.location.assign('/');
      return;
    }
    this.#enter(me);
    if (this.ended) {
      this.ended = false;
      this.#release(true);
      void queryClient.invalidateQueries();
    }
  }

  async setUp(input: { token: string; email: string; displayName: string; password: string }): Promise<void> {
    this.#enter(await api.post<Me>('/api/setup', input, { silent401: true }));
  }

  async signOut(): Promise<void> {
    let elsewhere: string | undefined;
    try {
      const answer = await api.post<{ endSessionUrl: string } | undefined>('/api/auth/logout', {}, { silent401: true });
      elsewhere = answer?.endSessionUrl;
    } catch (error) {
      if (asProblem(error).status !== 401) throw error;
    }
    this.leave();
    // The session at the provider ends there, and the provider sends the browser back.
    if (elsewhere) window.location.assign(elsewhere);
  }

  leave(): void {
    this.#release(false);
    this.ended = false;
    this.me = null;
    this.state = 'signed-out';
    setCsrfToken(null);
    queryClient.clear();
  }

  #enter(me: Me): void {
    setCsrfToken(me.csrfToken);
    this.me = me;
    this.state = 'signed-in';
    onSessionEnd(() => this.#ask());
  }

  #ask(): Promise<boolean> {
    if (this.state !== 'signed-in') return Promise.resolve(false);
    this.ended = true;
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  #release(again: boolean): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    waiting.forEach((resolve) => resolve(again));
  }
}

export const session = new Session();
