import type { DifferencePolicy } from '../../lib/types';

/** What is done when a list differs from what should be there. */
export const POLICIES: { value: DifferencePolicy; label: string }[] = [
  { value: 'report', label: 'Only tell' },
  { value: 'repair', label: 'Repair: give again what is missing, take away what ended' },
  { value: 'revoke_unknown', label: 'Repair, and remove what nobody stands behind' },
];

export const policyWords = (policy: DifferencePolicy): string => POLICIES.find((one) => one.value === policy)?.label ?? policy;
