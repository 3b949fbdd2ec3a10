import type { TimelineItem } from '../../ui/Timeline.svelte';
import type { RunEvent } from '../../lib/types';
import type { Glyph, Tone } from '../../lib/status';
import { words } from '../../lib/format';

const MARKS: [suffix: string, Tone, Glyph][] = [
  ['.failed', 'bad', 'cross'],
  ['.completed', 'ok', 'check'],
  ['.decided', 'ok', 'check'],
  ['.cancelled', 'idle', 'dash'],
  ['.waiting', 'warn', 'clock'],
  ['.opened', 'warn', 'clock'],
  ['.started', 'info', 'dot'],
  ['.resumed', 'info', 'half'],
  ['.requested', 'info', 'ring'],
  ['.late', 'warn', 'warning'],
];

function isRejection(event: RunEvent): boolean {
  const data = event.data as { decision?: unknown } | null;
  return event.kind === 'approval.decided' && (data?.decision === 'reject' || data?.decision === 'rejected');
}

export function toTimelineItem(event: RunEvent): TimelineItem {
  const [, tone, glyph] = MARKS.find(([suffix]) => event.kind.endsWith(suffix)) ?? ['', 'idle', 'dot'];
  const mark: { tone: Tone; glyph: Glyph } = isRejection(event) ? { tone: 'bad', glyph: 'cross' } : { tone, glyph };
  return { key: event.seq, at: event.at, text: event.text || words(event.kind), detail: event.stepId ?? '', data: event.data, ...mark };
}
