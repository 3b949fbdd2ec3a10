// Days as a filter names them, and the instants between which they lie.
import type { Zone } from './time';

const DAY = /^(\d{4})-(\d\d)-(\d\d)$/;

function startOf(day: string, zone: Zone, later: number): string | null {
  const parts = DAY.exec(day);
  if (!parts) return null;
  const [year, month, date] = parts.slice(1).map(Number) as [number, number, number];
  // By the calendar, so that a day of 23 or 25 hours is one day.
  const at = zone === 'utc' ? new Date(Date.UTC(year, month - 1, date + later)) : new Date(year, month - 1, date + later);
  return Number.isNaN(at.getTime()) ? null : at.toISOString();
}

/** When a day begins; nothing for what is no day. */
export const dayBegins = (day: string, zone: Zone): string | null => startOf(day, zone, 0);

/** When the day after begins. */
export const dayEnds = (day: string, zone: Zone): string | null => startOf(day, zone, 1);
