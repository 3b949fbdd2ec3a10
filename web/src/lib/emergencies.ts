// Emergencies in words.
import { duration } from './time';
import type { BreakGlass } from './types';

/** The shortest reason, in characters, and the longest time, in hours: as the server has them. */
export const MIN_REASON = 20;
export const MAX_HOURS = 8;

/** How much of the time is left; empty when it is over or was taken back. */
export function timeLeft(one: BreakGlass, at: number): string {
  const left = Date.parse(one.endsAt) - at;
  return left > 0 && one.verdict !== 'unjustified' ? duration(left) : '';
}

/** Whether somebody has to review it still. */
export const isOpen = (one: BreakGlass): boolean => one.verdict === null;

export function reasonFault(reason: string): string | undefined {
  const length = [...reason.trim()].length;
  if (length >= MIN_REASON) return undefined;
  return length === 0 ? 'Say what the emergency is.' : `At least ${MIN_REASON} characters that say what the emergency is; ${MIN_REASON - length} more.`;
}
