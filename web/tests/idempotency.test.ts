import { describe, expect, it } from 'vitest';
import { Problem } from '../src/lib/api';
import { Intent } from '../src/lib/idempotency';

describe('the key of an intended change', () => {
  it('stays while the answer is unknown', () => {
    const intent = new Intent();
    const key = intent.keyFor({ reason: 'a' });
    intent.settle(new Problem({ status: 0, title: 'lost' }));
    expect(intent.keyFor({ reason: 'a' })).toBe(key);
    intent.settle(new Problem({ status: 503, title: 'busy' }));
    expect(intent.keyFor({ reason: 'a' })).toBe(key);
  });

  it('changes with the body', () => {
    const intent = new Intent();
    const key = intent.keyFor({ reason: 'a' });
    expect(intent.keyFor({ reason: 'b' })).not.toBe(key);
  });

  it('changes once the server settled the matter', () => {
    const intent = new Intent();
    const first = intent.keyFor({ reason: 'a' });
    intent.settle();
    const second = intent.keyFor({ reason: 'a' });
    expect(second).not.toBe(first);
    // The server would answer the same refusal again to the same key.
    intent.settle(new Problem({ status: 422, title: 'refused' }));
    expect(intent.keyFor({ reason: 'a' })).not.toBe(second);
  });
});
