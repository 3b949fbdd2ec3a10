// Passkeys: between the API, which speaks base64url, and the browser, which speaks bytes.
import { api, Problem } from './api';

function toBytes(text: string): Uint8Array<ArrayBuffer> {
  const plain = atob(text.replace(/-/g, '+').replace(/_/g, '/'));
  return Uint8Array.from(plain, (char) => char.charCodeAt(0));
}

export function toText(bytes: ArrayBuffer): string {
  const plain = Array.from(new Uint8Array(bytes), (byte) => String.fromCharCode(byte)).join('');
  return btoa(plain).replace(/\+/g, '-').replace(/\//g, '_').replace(/=+$/, '');
}

/** Whether this browser can have passkeys: only over https, or on this machine. */
export function canHavePasskeys(): boolean {
  return typeof window.PublicKeyCredential === 'function' && typeof navigator.credentials?.create === 'function';
}

/** Whoever closes the browser's question gets a calm word instead of the browser's. */
async function asked<T>(ask: () => Promise<T | null>): Promise<T> {
  try {
    const answer = await ask();
    if (answer) return answer;
  } catch (error) {
    if (error instanceof DOMException && error.name === 'InvalidStateError') {
      throw new Problem({ status: -1, title: 'This device has a passkey for you already' });
    }
    if (!(error instanceof DOMException)) throw error;
  }
  throw new Problem({ status: -1, title: 'No passkey was used', detail: 'The question was closed, or it took too long. You can try again.' });
}

/** Has a new passkey made, and adds it to one's account. */
export async function addPasskey(name: string): Promise<void> {
  const wanted = await api.post<{ challenge: string; rpId: string; userId: string; userName: string; algorithms: number[]; exclude: string[] }>(
    '/api/auth/passkeys/begin',
  );
  const made = (await asked(() =>
    navigator.credentials.create({
      publicKey: {
        challenge: toBytes(wanted.challenge),
        rp: { id: wanted.rpId, name: 'Tenure' },
        user: { id: toBytes(wanted.userId), name: wanted.userName, displayName: wanted.userName },
        pubKeyCredParams: wanted.algorithms.map((alg) => ({ type: 'public-key', alg })),
        excludeCredentials: wanted.exclude.map((id) => ({ type: 'public-key', id: toBytes(id) })),
        authenticatorSelection: { residentKey: 'required', requireResidentKey: true, userVerification: 'required' },
        attestation: 'none',
      },
    }),
  )) as PublicKeyCredential;
  const response = made.response as AuthenticatorAttestationResponse;
  await api.post('/api/auth/passkeys', { name, clientData: toText(response.clientDataJSON), attestation: toText(response.attestationObject) });
}

/** What a passkey answers to a new challenge. */
export async function answerChallenge(): Promise<{ id: string; clientData: string; authenticatorData: string; signature: string }> {
  const { challenge, rpId } = await api.post<{ challenge: string; rpId: string }>('/api/auth/passkeys/challenge', {}, { silent401: true });
  const answer = (await asked(() =>
    navigator.credentials.get({ publicKey: { challenge: toBytes(challenge), rpId, userVerification: 'required' } }),
  )) as PublicKeyCredential;
  const response = answer.response as AuthenticatorAssertionResponse;
  return {
    id: toText(answer.rawId),
    clientData: toText(response.clientDataJSON),
    authenticatorData: toText(response.authenticatorData),
    signature: toText(response.signature),
  };
}
