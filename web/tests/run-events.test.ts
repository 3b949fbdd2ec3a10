import { describe, expect, it } from 'vitest';
import type { RunEvent } from '../src/lib/types';
import { toTimelineItem } from '../src/pages/run/events';

const event = (kind: string, data: unknown = null): RunEvent => ({ seq: 1, at: '2031-03-01T12:00:00Z', kind, stepId: 'a', text: 'text', data });
const mark = (kind: string, data?: unknown) => {
  const { tone, glyph } = toTimelineItem(event(kind, data));
  return `${tone} ${glyph}`;
};

describe('the mark of what happened in a run', () => {
  it('warns of an outcome that came after its step was over', () => {
    expect(mark('effect.late')).toBe('warn warning');
  });

  it('tells a rejection from an approval', () => {
    expect(mark('approval.decided', { decision: 'rejected' })).toBe('bad cross');
    expect(mark('approval.decided', { decision: 'approved' })).toBe('ok check');
  });
});
