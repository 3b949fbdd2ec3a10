// What can be granted: roles, the entitlements that they give, and which roles exclude each other.
import type { AssignmentState, Instant, PersonRef } from '../types';

export type GivenStatus = 'active' | 'retired';

export interface RoleEntitlement {
  id: string;
  name: string;
  connectorName: string;
  status: GivenStatus;
}

export interface Role {
  id: string;
  name: string;
  description: string;
  ownerId: string | null;
  status: GivenStatus;
  defaultDurationDays: number | null;
  requiredDocumentTypes: string[];
  entitlements: RoleEntitlement[];
}

/** A command of a connector; texts inside its parameters are templates. */
export interface Call {
  command: string;
  params: Record<string, unknown>;
}

/** How a connected system is asked who has an entitlement. */
export interface ListCall extends Call {
  /** What a person is called in the list; a template. */
  key: string;
  ignoreCase: boolean;
}

export type DifferencePolicy = 'report' | 'repair' | 'revoke_unknown';

/** What a role gives in one connected system. */
export interface Entitlement {
  id: string;
  name: string;
  connectorId: string;
  connectorName: string;
  provision: Call;
  deprovision: Call;
  check: Call | null;
  list: ListCall | null;
  reconcile: { policy: DifferencePolicy; remove: Call | null };
  status: GivenStatus;
}

/** Two roles that nobody holds at the same time. */
export interface RoleConflict {
  id: string;
  roles: { id: string; name: string }[];
  reason: string;
  createdAt: Instant;
}

/** Somebody who holds two roles that exclude each other. */
export interface RoleViolation {
  conflictId: string;
  person: PersonRef;
  reason: string;
  assignments: { id: string; role: { id: string; name: string }; state: AssignmentState; expiresAt: Instant | null }[];
}
