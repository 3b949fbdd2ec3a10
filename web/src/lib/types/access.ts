// Access as it was: an assignment at an instant, who agreed to it, and how it changed.
import type { Assignment, DocumentState, Instant, PersonRef } from '../types';

export type ApprovalWay =
  | 'approval'
  | 'escalation'
  | 'passed_over'
  | 'second_person'
  | 'alone'
  | 'import'
  | 'emergency'
  | 'extension';

export interface Approver {
  /** Null when nobody decided. */
  person: PersonRef | null;
  way: ApprovalWay;
  at: Instant;
  reason: string | null;
  step: string | null;
  onBehalfOf: PersonRef[];
  askedBy: PersonRef | null;
}

export interface ChangedBy {
  type: string;
  id: string;
  name: string;
}

/** A document that an assignment rests on. */
export interface RestsOn {
  id: string;
  type: string;
  state: DocumentState;
  expiresAt: Instant;
}

/** An assignment at an instant, with what it rests on and who stands behind it. */
export interface AssignmentRecord extends Assignment {
  asOf: Instant;
  grantedAt: Instant | null;
  grantedBy: ChangedBy | null;
  documents: RestsOn[];
  /** When a document ends it, if that is before its own end. */
  documentEndsAt: Instant | null;
  approvedBy: Approver[];
}

/** An answer to a list of assignments: with `asOf` in the question each is a record. */
export type ListedAssignment = Assignment & Partial<Omit<AssignmentRecord, keyof Assignment>>;

/** One change of an assignment, or of one of its grants. */
export interface AssignmentChange {
  seq: number;
  at: Instant;
  action: string;
  by: ChangedBy;
  askedBy: PersonRef | null;
  agreedBy: PersonRef | null;
  reason: string | null;
  state: string | null;
  expiresAt: Instant | null;
  entitlement: string | null;
}
