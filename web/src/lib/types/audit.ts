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
  /** What of it was erased; the entry and its proof stay. */
  erased?: ('context' | 'prevState' | 'newState')[];
  leafHash: string;
}

/** That an entry is in the log that a checkpoint signs. Hashes are base64. */
export interface AuditProof {
  seq: number;
  /** Its place, counted from 0. */
  index: number;
  /** How many entries the checkpoint signs. */
  size: number;
  leafHash: string;
  root: string;
  path: string[];
  /** The signed note. */
  checkpoint: string;
  /** All of it as a file that other verifiers read. */
  proof: string;
  /** The entry's bytes, base64. */
  leaf: string;
}

/** How one checkpoint fares in one store. */
export interface StoredCheckpoint {
  store: string;
  state: 'stored' | 'pending' | 'dropped';
  attempts: number;
  storedAt: Instant | null;
  error: string | null;
  nextAttemptAt: Instant | null;
}

export interface Checkpoint {
  size: number;
  root: string;
  at: Instant;
  origin: string;
  note: string;
  reason: 'schedule' | 'manual' | 'shutdown';
  stores: StoredCheckpoint[];
}

/** The first entry that is not what was written. */
export interface AuditFault {
  seq: number;
  kind: string;
  detail: string;
}

export interface AuditVerdict {
  rows: number;
  erased: number;
  fault: AuditFault | null;
  checkpointsChecked: number;
  /** Checkpoints of entries that were left behind when the log was put back from a backup. */
  leftBehind?: number;
  /** Unknown: it could not be read to its end. */
  outcome?: 'sound' | 'tampered' | 'unknown';
  /** Why nobody can tell. */
  detail?: string | null;
  /** Places that did not answer when they were asked for their newest checkpoint. */
  silent?: string[];
}

export interface LastVerification extends AuditVerdict {
  at: Instant;
  durationMs: number;
}

export interface CheckpointStore {
  store: string;
  place: string;
  state: 'ok' | 'retrying' | 'down';
  detail: string | null;
  newestSize: number | null;
  pending: number;
}

export interface CheckpointsState {
  schedule: string;
  nextAt: Instant | null;
  newest: { size: number; at: Instant } | null;
  entriesSince: number;
  overdue: boolean;
  /** Why nothing is signed any more. */
  refused: { at: Instant; detail: string; kind: string } | null;
  stores: CheckpointStore[];
  lastVerification: LastVerification | null;
  nextVerificationAt?: Instant | null;
}

export interface AuditKey {
  /** As verifiers take it: `<name>+<hash>+<key>`. */
  verifierKey: string;
  name: string;
  keyId: string;
  /** Keys that signed before it, as verifiers take them. */
  earlier: string[];
}
