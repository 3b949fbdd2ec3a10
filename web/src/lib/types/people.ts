// People, their groups, who leaves, and where they come from.
import type { Instant, PersonRef, SystemRole } from '../types';
export interface Person {
  id: string;
  displayName: string;
  email: string;
  managerId: string | null;
  active: boolean;
  attributes: Record<string, unknown>;
  /** The id that their source knows them by. */
  externalId: string | null;
  createdAt: Instant;
}

export interface Relations {
  manager: PersonRef | null;
  above: PersonRef[];
  reports: PersonRef[];
  groups: Group[];
}

export type AttributeKind = 'text' | 'number' | 'boolean' | 'date' | 'email' | 'choice' | 'list';

export interface ProfileAttribute {
  name: string;
  label: string;
  type: AttributeKind;
  values?: string[];
}

export interface ProfileSchema {
  attributes: ProfileAttribute[];
  /** Whether there may be no others. */
  closed: boolean;
}

export interface Group {
  id: string;
  name: string;
  description: string;
  owner: PersonRef | null;
  members: number;
  externalId: string | null;
  createdAt: Instant;
  updatedAt: Instant;
}

export interface GroupDetail extends Group {
  usedBy: string[];
  formerNames: string[];
}

export interface Member extends PersonRef {
  email: string;
  active: boolean;
}

export interface Account {
  id: string;
  personId: string;
  email: string;
  active: boolean;
  roles: SystemRole[];
  secondFactor: boolean;
}

export interface Leave {
  id: string;
  person: PersonRef;
  source: string;
  sourceName: string;
  reason: string;
  state: 'held' | 'open' | 'done' | 'dismissed' | 'withdrawn';
  heldBecause: string | null;
  runId: string | null;
  createdAt: Instant;
  beganAt: Instant | null;
  doneAt: Instant | null;
  decidedBy: PersonRef | null;
  decidedAt: Instant | null;
  decisionReason: string | null;
  result: { assignments?: number; requests?: number; handedOver?: number; leftOver?: number; failed?: string[]; groups?: string[] };
}

export interface ScimToken {
  id: string;
  name: string;
  createdBy: string;
  createdAt: Instant;
  expiresAt: Instant | null;
  lastUsedAt: Instant | null;
  revokedAt: Instant | null;
}

export type ImportVerdict = 'new' | 'changed' | 'unchanged' | 'conflict' | 'fault';

export interface Import {
  id: string;
  kind: 'people' | 'assignments';
  name: string;
  origin: string;
  state: 'reviewed' | 'applying' | 'applied' | 'cancelled';
  createdBy: PersonRef | null;
  createdByName: string;
  createdAt: Instant;
  appliedBy: PersonRef | null;
  appliedAt: Instant | null;
  finishedAt: Instant | null;
  counts: Record<ImportVerdict, number>;
  done: number;
  failed: number;
  jobId: string | null;
}

export interface ImportRow {
  line: number;
  verdict: ImportVerdict;
  matchedBy: string | null;
  personId: string | null;
  given: Record<string, string>;
  changes: { field: string; before: unknown; after: unknown }[];
  faults: { column: string; message: string }[];
  state: 'open' | 'done' | 'skipped' | 'failed';
  error: string | null;
}
