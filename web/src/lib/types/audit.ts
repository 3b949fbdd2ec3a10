// The audit log and what seals it.
import type { Instant } from '../types';

export interface AuditEntry {
  seq: number;
  id: string;
  at: Instant;
  actor: { type: string; id: string; name: string | null };
  action: string;
  entity: string;
  entityId: string;
  requestId: string | null;
  reason: string | null;
  prevState: unknown;
  newState: unknown;
  leafHash: string;
}
