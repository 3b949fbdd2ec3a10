// Roles in words, and what is typed into their form as the server expects it.
import type { Role } from '../../lib/types';

export function lasts(role: Pick<Role, 'defaultDurationDays'>): string {
  const days = role.defaultDurationDays;
  return days === null ? 'No end' : days === 1 ? '1 day' : `${days} days`;
}

/** `Training certificate; ID card` → `training-certificate`, `id-card` */
export function typesIn(text: string): string[] {
  const types = text.split(/[;,]/).map((one) => one.trim().toLowerCase().replace(/[\s_-]+/g, '-'));
  return [...new Set(types.filter(Boolean))];
}

/** The days that were typed: none for a role without an end, and a fault for what is no number of days. */
export function daysIn(text: string): { days: number | null } | { fault: string } {
  const typed = text.trim();
  if (typed === '') return { days: null };
  const days = Number(typed);
  return Number.isInteger(days) && days > 0 ? { days } : { fault: 'Expected a number of days, 1 or more.' };
}
