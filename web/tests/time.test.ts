import { describe, expect, it } from 'vitest';
import { between, clock, day, duration, exact, relative } from '../src/lib/time';

const AT = Date.parse('2026-11-24T09:00:00.000Z');
const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;
const shifted = (ms: number) => new Date(AT + ms).toISOString();

describe('relative time', () => {
  it.each([
    [-2 * SECOND, 'just now'],
    [-30 * SECOND, '30 seconds ago'],
    [-89 * SECOND, '89 seconds ago'],
    [-90 * SECOND, '1 minute ago'],
    [-119 * MINUTE, '1 hour ago'],
    [-47 * HOUR, '47 hours ago'],
    [-3.9 * DAY, '3 days ago'],
    [-100 * DAY, '3 months ago'],
    [-800 * DAY, '2 years ago'],
    [20 * MINUTE, 'in 20 minutes'],
    [50 * HOUR, 'in 2 days'],
  ])('%i ms away reads "%s"', (ms, text) => {
    expect(relative(shifted(ms), AT)).toBe(text);
  });

  it('leaves what is no instant as it is', () => {
    expect(relative('soon', AT)).toBe('soon');
  });
});

describe('exact time', () => {
  it('names its zone', () => {
    expect(exact('2026-11-24T08:05:06.123Z', 'utc')).toBe('24 Nov 2026, 08:05:06 UTC');
    expect(exact('2026-11-24T00:00:00.000Z', 'utc')).toBe('24 Nov 2026, 00:00:00 UTC');
  });

  it('gives day and clock by themselves', () => {
    expect(day('2026-11-24T08:05:06.123Z', 'utc')).toBe('24 Nov 2026');
    expect(clock('2026-11-24T08:05:06.123Z', 'utc')).toBe('08:05:06');
  });
});

describe('durations', () => {
  it.each([
    [0, '0 ms'],
    [412, '412 ms'],
    [1500, '1.5 s'],
    [59 * SECOND, '59 s'],
    [200 * SECOND, '3 min 20 s'],
    [HOUR, '1 h'],
    [2 * DAY + 4 * HOUR + MINUTE, '2 d 4 h'],
    [-5, '–'],
  ])('%i ms reads "%s"', (ms, text) => {
    expect(duration(ms)).toBe(text);
  });

  it('runs on while there is no end', () => {
    expect(between(shifted(-HOUR), null, AT)).toBe('1 h');
    expect(between(shifted(-HOUR), shifted(-30 * MINUTE), 0)).toBe('30 min');
  });
});
