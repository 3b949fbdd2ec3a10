import { describe, expect, it } from 'vitest';
import { readDays, showDays } from '../src/lib/reminders';

describe('the days of reminders', () => {
  it('are said in words', () => {
    expect(showDays([30, 7, 1])).toBe('30, 7 and 1 days before');
    expect(showDays([7])).toBe('7 days before');
    expect(showDays([1])).toBe('1 day before');
    expect(showDays([])).toBe('Off');
  });

  it('are read however they are parted, and nothing means off', () => {
    expect(readDays('30, 7,1')).toEqual({ value: [30, 7, 1] });
    expect(readDays(' 14 3 ')).toEqual({ value: [14, 3] });
    expect(readDays('  ')).toEqual({ value: [] });
  });

  it('are refused when they are no few different whole days of a year', () => {
    for (const text of ['0', '366', '1.5', '7, 7', 'often', '1,2,3,4,5,6', '-1']) expect(readDays(text)).toHaveProperty('fault');
  });
});
