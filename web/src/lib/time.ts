// Instants as people read them: relative in running text, exact on demand, in UTC or in the reader's zone.
import { createSubscriber } from 'svelte/reactivity';

export type Zone = 'utc' | 'local';

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

const subscribe = createSubscriber((update) => {
  const timer = setInterval(update, 5 * SECOND);
  return () => clearInterval(timer);
});

/** The present moment; a component that reads it is refreshed every five seconds. */
export function now(): number {
  subscribe();
  return Date.now();
}

function plural(count: number, unit: string): string {
  return `${count} ${unit}${count === 1 ? '' : 's'}`;
}

/** Rounded down, so that neither an age nor the time that is left is made longer than it is. */
function amount(distance: number): string {
  const whole = (size: number) => Math.max(1, Math.floor(distance / size));
  if (distance < 90 * SECOND) return plural(whole(SECOND), 'second');
  if (distance < 90 * MINUTE) return plural(whole(MINUTE), 'minute');
  if (distance < 48 * HOUR) return plural(whole(HOUR), 'hour');
  if (distance < 60 * DAY) return plural(whole(DAY), 'day');
  if (distance < 730 * DAY) return plural(whole(30.44 * DAY), 'month');
  return plural(whole(365.25 * DAY), 'year');
}

export function relative(instant: string, at: number): string {
  const time = Date.parse(instant);
  if (Number.isNaN(time)) return instant;
  const distance = time - at;
  if (Math.abs(distance) < 5 * SECOND) return 'just now';
  return distance < 0 ? `${amount(-distance)} ago` : `in ${amount(distance)}`;
}

/** `24 Nov 2026, 08:50:06 UTC`, or the same in the reader's zone with its offset. */
export function exact(instant: string, zone: Zone): string {
  const date = new Date(instant);
  if (Number.isNaN(date.getTime())) return instant;
  const format = new Intl.DateTimeFormat('en-GB', {
    day: 'numeric',
    month: 'short',
    year: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    hourCycle: 'h23',
    timeZoneName: 'short',
    ...(zone === 'utc' ? { timeZone: 'UTC' } : {}),
  });
  const part = Object.fromEntries(format.formatToParts(date).map(({ type, value }) => [type, value]));
  const clock = `${part.hour}:${part.minute}:${part.second}`;
  return `${part.day} ${part.month} ${part.year}, ${clock} ${part.timeZoneName}`;
}

/** `24 Nov 2026` */
export function day(instant: string, zone: Zone): string {
  return exact(instant, zone).split(',')[0]!;
}

/** `08:50:06` */
export function clock(instant: string, zone: Zone): string {
  return exact(instant, zone).split(', ')[1]?.slice(0, 8) ?? instant;
}

/** A length of time in its two largest units: `2 d 4 h`, `3 min 20 s`, `0.4 s`. */
export function duration(ms: number): string {
  if (!Number.isFinite(ms) || ms < 0) return '–';
  if (ms < SECOND) return `${Math.round(ms)} ms`;
  if (ms < 10 * SECOND) return `${(ms / SECOND).toFixed(1)} s`;
  const units: [number, string][] = [
    [DAY, 'd'],
    [HOUR, 'h'],
    [MINUTE, 'min'],
    [SECOND, 's'],
  ];
  const first = units.findIndex(([size]) => ms >= size);
  const [size, name] = units[first]!;
  const whole = Math.floor(ms / size);
  const next = units[first + 1];
  const rest = next ? Math.floor((ms - whole * size) / next[0]) : 0;
  return next && rest > 0 ? `${whole} ${name} ${rest} ${next[1]}` : `${whole} ${name}`;
}

export function between(start: string, end: string | null, at: number): string {
  return duration((end ? Date.parse(end) : at) - Date.parse(start));
}
