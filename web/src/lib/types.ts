// The shapes of the HTTP API, as the server documents them. Instants are RFC 3339 in UTC.
import type { DifferencePolicy } from './types/roles';

export type * from './types/access';
export type * from './types/audit';
export type * from './types/people';
export type * from './types/roles';
export type * from './types/work';

export type Instant = string;

export interface Page<T> {
  items: T[];
  nextCursor: string | null;
}

export interface PersonRef {
  id: string;
  displayName: string;
}

export type SystemRole = 'admin' | 'resource_manager' | 'approver' | 'requestor' | 'auditor';

export interface Me {
  person: PersonRef & { email: string };
  accountId: string;
  roles: SystemRole[];
  permissions: string[];
  csrfToken: string;
  expiresAt: Instant;
  /** Until they have set one up, nothing else is answered. */
  secondFactorMissing?: boolean;
}

export interface FieldFault {
  field: string;
  message: string;
}

export type CheckStatus = 'ok' | 'warning' | 'down';

export interface HealthCheck {
  status: CheckStatus;
  latencyMs?: number;
  detail?: string;
  backend?: string;
}

export interface Health {
  status: 'ok' | 'degraded';
  version: string;
  uptime: number;
  checks: Record<string, HealthCheck>;
}

/** The server's clock, and whether it is believed. */
export interface ServerClock {
  now: Instant;
  held: boolean;
  kind: 'moved' | 'behind' | 'ahead' | null;
  why: string | null;
  since: Instant | null;
  expectedAt: Instant | null;
  driftMs: number;
  jobsWaiting: number;
  newestAuditEntry: { seq: number; at: Instant } | null;
}

export interface SystemInfo {
  version: string;
  sqliteVersion: string;
  startedAt: Instant;
  now: Instant;
  dataDir: string;
  pool: { max: number; min: number; active: number; idle: number; waiting: number; timeouts: number };
  writer: { queued: number; batches: number; writes: number; largestBatch: number };
  files: { name: string; bytes: number }[];
}

export type WorkflowStatus = 'draft' | 'active' | 'deprecated';

export interface Workflow {
  id: string;
  key: string;
  name: string;
  description: string;
  category: string;
  version: number;
  status: WorkflowStatus;
  createdAt: Instant;
  updatedAt: Instant;
  publishedAt: Instant | null;
  canStart: boolean;
  /** Whether a run of it may only pretend; never in production. */
  canPretend: boolean;
}

export interface WorkflowVariable {
  name: string;
  type: string;
  required?: boolean;
  default?: unknown;
  label?: string;
  description?: string;
  options?: unknown[];
}

export interface WorkflowStep {
  id: string;
  name: string;
  type: string;
  config: Record<string, unknown>;
  transitions: { on: string; to: string }[];
}

export interface WorkflowDefinition {
  name: string;
  description: string;
  category: string;
  onError: string;
  variables: WorkflowVariable[];
  steps: WorkflowStep[];
}

export interface WorkflowWithDefinition extends Workflow {
  definition: WorkflowDefinition;
}

export type RunStatus = 'pending' | 'running' | 'waiting' | 'completed' | 'failed' | 'cancelled';

export interface Wait {
  kind: 'approval' | 'timer' | 'document' | 'job' | 'task' | 'link' | 'event' | 'run';
  label: string;
  since: Instant;
  until: Instant | null;
  refId: string;
}

export interface Run {
  id: string;
  workflowId: string;
  workflowName: string;
  workflowVersion: number;
  status: RunStatus;
  reason: string | null;
  startedBy: PersonRef | null;
  subject: PersonRef | null;
  waitingFor: Wait[];
  /** Whether something was done in it that the rules let nobody do alone. */
  exception: boolean;
  /** Whether it only pretends. */
  mock: boolean;
  createdAt: Instant;
  updatedAt: Instant;
  endedAt: Instant | null;
}

export interface RunDetail extends Run {
  variables: Record<string, unknown>;
}

export type StepStatus = 'pending' | 'running' | 'waiting' | 'completed' | 'failed' | 'skipped' | 'cancelled';

export interface RunStep {
  id: string;
  stepId: string;
  name: string;
  type: string;
  status: StepStatus;
  outcome: string | null;
  attempt: number;
  output: unknown;
  error: { message: string; code: string } | null;
  startedAt: Instant;
  endedAt: Instant | null;
}

export type RepairAction = 'retry' | 'skip_step' | 'change_variables' | 'start_again' | 'cancel' | 'cancel_and_undo';

export interface Skippable {
  visit: number;
  stepId: string;
  name: string;
  outcomes: string[];
  needsSecondPerson: boolean;
}

export interface Possible {
  action: RepairAction;
  allowed: boolean;
  whyNot: string | null;
  needsSecondPerson: boolean;
  steps: Skippable[];
  version: number | null;
}

export interface Diagnosis {
  status: RunStatus;
  reason: string | null;
  failed: {
    visit: number;
    stepId: string;
    name: string;
    type: string;
    code: string;
    message: string;
    attempts: number;
    at: Instant | null;
    input: unknown;
    inputFault: string | null;
  }[];
  before: {
    visit: number;
    stepId: string;
    name: string;
    type: string;
    status: StepStatus;
    outcome: string | null;
    output: unknown;
    endedAt: Instant | null;
  }[];
  waits: {
    visit: number;
    stepId: string;
    name: string;
    kind: string;
    label: string;
    since: Instant;
    until: Instant | null;
    deadline: Instant | null;
    people: PersonRef[];
    refId: string | null;
    lastFailure: string | null;
  }[];
  actions: Possible[];
  asked: string[];
}

/** What sealing the secrets of connectors anew did; failures are `connector id/name of the secret`. */
export interface KeyRotation {
  total: number;
  rotated: number;
  skipped: number;
  failed: number;
  failures: string[];
}

/** Something that nobody does alone, and that somebody asked for. */
export interface Exception {
  id: string;
  kind: 'skip_step' | 'change_variables' | 'grant_role' | 'extend_assignment' | 'adopt_account' | 'adopt_accounts' | 'publish_workflow' | 'rotate_keys' | 'erase_states' | 'four_eyes_off';
  title: string;
  reason: string;
  state: 'pending' | 'approved' | 'rejected' | 'expired';
  runId: string | null;
  stepId: string | null;
  targetId: string | null;
  changes: { name: string; before: unknown; after: unknown }[];
  /** When a document ends the access before the end that is asked for. */
  documentEndsAt: Instant | null;
  requestedBy: PersonRef | null;
  subject: PersonRef | null;
  deciders: PersonRef[];
  createdAt: Instant;
  expiresAt: Instant;
  decidedBy: PersonRef | null;
  decidedAt: Instant | null;
  decisionReason: string | null;
  canDecide: boolean;
  whyNot: string | null;
}

export interface RunEvent {
  seq: number;
  at: Instant;
  kind: string;
  stepId: string | null;
  text: string;
  data: unknown;
}

export type DocumentState = 'submitted' | 'approved' | 'rejected' | 'withdrawn' | 'expired';

export type Decision = 'approve' | 'reject';

export type AssignmentState =
  | 'scheduled'
  | 'provisioning'
  | 'active'
  | 'partially_provisioned'
  | 'expiring'
  | 'revoking'
  | 'expired'
  | 'revoked';

export type GrantState = 'pending' | 'provisioned' | 'failed' | 'deprovisioning' | 'deprovisioned' | 'orphaned';

export interface Grant {
  id: string;
  entitlementId: string;
  entitlementName: string;
  connectorName: string;
  state: GrantState;
  lastError: string | null;
  confirmedAt: Instant | null;
}

export interface Assignment {
  id: string;
  person: PersonRef;
  role: { id: string; name: string };
  state: AssignmentState;
  reason: string | null;
  endReason: string | null;
  runId: string | null;
  startsAt: Instant;
  expiresAt: Instant | null;
  endedAt: Instant | null;
  grants: Grant[];
}

export interface AccessDocument {
  id: string;
  type: string;
  person: PersonRef;
  state: DocumentState;
  validFrom: Instant | null;
  expiresAt: Instant | null;
  file: DocumentFile | null;
  submittedBy: string | null;
  createdAt: Instant;
}

export interface DocumentFile {
  name: string;
  size: number;
  sha256: string;
  mediaType: string;
}

export interface ConnectorPolicy {
  retries: number;
  breakerFailures: number;
  breakerOpenSeconds: number;
  maxConcurrent: number;
  maxPerMinute: number;
  maxAnswerBytes: number;
  hookEvents: string[];
}

export interface Breaker {
  state: 'closed' | 'open' | 'half_open';
  failures: number;
  openUntil: Instant | null;
  lastError: string | null;
}

export interface Connector {
  id: string;
  name: string;
  kind: 'directory' | 'http' | 'ldap' | 'scim' | 'sql' | 'exec';
  config: Record<string, unknown>;
  policy: ConnectorPolicy;
  /** Its commands are only pretended. */
  mock: boolean;
  breaker: Breaker;
  secretsSet: string[];
  commands: CommandSpec[];
}

/** A command that a connector understands. */
export interface CommandSpec {
  name: string;
  description: string;
  changes: boolean;
  /** Whether it lists what is there. */
  lists: boolean;
  params: ParamSpec[];
}

export interface ParamSpec {
  name: string;
  type: 'string' | 'number' | 'object' | 'array' | 'any';
  required: boolean;
  description: string;
}

export type JobState = 'waiting' | 'delayed' | 'active' | 'completed' | 'failed';

export interface Job {
  id: string;
  name: string;
  state: JobState;
  payload: unknown;
  attemptsMade: number;
  failedReason: string | null;
  runAt: Instant;
  processedOn: Instant | null;
  finishedOn: Instant | null;
}

export type JobCounts = Record<JobState, number>;

export interface JobAttempt {
  /** Counted from 1; a job that starts over counts from 1 again. */
  attempt: number;
  state: 'active' | 'completed' | 'failed';
  startedAt: Instant | null;
  endedAt: Instant | null;
  reason: string | null;
}

/** Failed jobs of one name with the same kind of reason. */
export interface JobErrorGroup {
  name: string;
  group: string;
  count: number;
  sample: string;
  /** The id of the newest. */
  newest: string;
  firstAt: Instant | null;
  lastAt: Instant | null;
}

export interface QueueInfo {
  paused: boolean;
  backend: 'embedded' | 'redis';
  failedKept: number;
  failedLimit: number;
  completedKept: number;
  completedLimit: number;
}

export type BulkAction = 'retry' | 'retry-once' | 'remove' | 'promote';

export interface BulkProgress {
  id: string;
  action: BulkAction;
  total: number;
  seen: number;
  changed: number;
  requestedBy: string;
  createdAt: Instant;
  finishedAt: Instant | null;
}

export interface Schedule {
  id: string;
  kind: 'system' | 'workflow';
  name: string;
  cron: string;
  timezone: string;
  paused: boolean;
  nextRunAt: Instant | null;
  lastRunAt: Instant | null;
  lastState: string | null;
  lastJobId: string | null;
  /** Set when the last slot fired late. */
  late: { slotAt: Instant; byMs: number } | null;
  workflow: { workflowId: string | null; workflowKey: string; workflowName: string | null } | null;
}

export interface LogEntry {
  id: string;
  at: Instant;
  level: string;
  target: string;
  message: string;
  fields: Record<string, unknown>;
  requestId: string | null;
}

export type ReconciliationStatus = 'running' | 'completed' | 'held' | 'failed';
export type PlanStatus = 'listing' | 'comparing' | 'held' | 'applying' | 'completed' | 'failed' | 'rejected' | 'superseded';
export type DifferenceAction = 'add' | 'remove' | 'adopt' | 'ignore';
export type DifferenceState = 'reported' | 'planned' | 'applying' | 'done' | 'failed' | 'skipped';

/** A comparison of connected systems with what should be there. */
export interface Reconciliation {
  id: string;
  kind: 'scheduled' | 'manual' | 'dry_run';
  requestedBy: string;
  status: ReconciliationStatus;
  startedAt: Instant;
  endedAt: Instant | null;
  plans: ReconciliationPlan[];
}

/** One entitlement of a reconciliation. */
export interface ReconciliationPlan {
  id: string;
  entitlementId: string;
  entitlementName: string;
  connectorName: string;
  policy: DifferencePolicy;
  dryRun: boolean;
  status: PlanStatus;
  why: string | null;
  detail: string | null;
  pages: number;
  found: number;
  duplicates: number;
  expected: number;
  nameless: number;
  counts: Record<DifferenceAction | DifferenceState, number>;
  adoptable: number;
  adoptions: { id: string; roleId: string; expiresAt: Instant; total: number; adopted: number; skipped: number; endedAt: Instant | null }[];
  startedAt: Instant;
  endedAt: Instant | null;
  decidedBy: string | null;
  decidedAt: Instant | null;
  decisionReason: string | null;
}

/** A difference that a plan found. */
export interface Difference {
  id: string;
  account: string;
  action: DifferenceAction;
  reason: string;
  text: string;
  state: DifferenceState;
  person: PersonRef | null;
  error: string | null;
  assignmentId: string | null;
}

/** Access that ended and that the connected system still has. */
export interface StillPresent {
  grantId: string;
  assignmentId: string;
  person: PersonRef;
  entitlementName: string;
  connectorName: string;
  account: string | null;
  since: Instant;
  lastError: string | null;
}

/** A group of the provider and the system role of its members; `*` is everybody. */
export interface RoleOfGroup {
  group: string;
  role: SystemRole;
}

/** Admin > Sign-in. */
export interface SignInSettings {
  provider: { name: string; issuer: string; redirectUri: string; afterSignOut: string } | null;
  createPeople: Setting<boolean>;
  matchByMail: Setting<boolean>;
  groupsClaim: Setting<string>;
  roleMapping: Setting<RoleOfGroup[]>;
  secondFactor: Setting<'nobody' | 'administrators' | 'everybody'>;
  passwordMinLength: Setting<number>;
}

/** One's own second factor. */
export interface SecondFactor {
  confirmedAt: Instant | null;
  recoveryCodesLeft: number;
  required: boolean;
}

/** A passkey of one's own. */
export interface Passkey {
  id: string;
  name: string;
  madeAt: Instant;
  lastUsedAt: Instant | null;
}

/** A signed-in browser. */
export interface BrowserSession {
  id: string;
  address: string | null;
  device: string | null;
  method: 'password' | 'oidc' | 'passkey';
  current: boolean;
  createdAt: Instant;
  lastSeenAt: Instant;
  expiresAt: Instant;
}

export interface Setting<T> {
  value: T;
  source: 'default' | 'environment' | 'saved';
  min?: number;
  max?: number;
  changedBy: PersonRef | null;
  changedAt: Instant | null;
}
