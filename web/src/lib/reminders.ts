// The days before an end on which people are reminded of it, as text and back.

import { count } from './format';

const MOST = 5;
const LONGEST = 365;
const EXPECTED = `Whole days from 1 to ${LONGEST}, at most ${MOST} and each once, such as 30, 7, 1.`;

export type Read = { value: number[] } | { fault: string };

/** What a page says: `30, 7 and 1 days before`. */
export function showDays(days: number[]): string {
  if (days.length === 0) return 'Off';
  const last = days.at(-1) ?? 0;
  const words = days.length === 1 ? count(last) : `${days.slice(0, -1).map(count).join(', ')} and ${count(last)}`;
  return `${words} ${days.length === 1 && last === 1 ? 'day' : 'days'} before`;
}

/** What is typed for it: `30, 7, 1`. */
export const editDays = (days: number[]): string => days.join(', ');

/** Reads what was typed; nothing at all switches reminders off. */
export function readDays(text: string): Read {
  const parts = text.split(/[\s,;]+/).filter((part) => part !== '');
  const days = parts.map(Number);
  const fits = days.every((day) => Number.isInteger(day) && day >= 1 && day <= LONGEST);
  if (!fits || days.length > MOST || new Set(days).size < days.length) return { fault: EXPECTED };
  return { value: days };
}

/** For a row of settings. */
export const daysForm = { show: showDays, edit: editDays, read: readDays };
