// The shapes of the HTTP API, as the server documents them. Instants are RFC 3339 in UTC.

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

/** Something that nobody does alone, and that somebody asked for. */
export interface Exception {
  id: string;
  kind: 'skip_step' | 'change_variables' | 'grant_role' | 'extend_assignment' | 'publish_workflow' | 'four_eyes_off';
  title: string;
  reason: string;
  state: 'pending' | 'approved' | 'rejected' | 'expired';
  runId: string | null;
  stepId: string | null;
  targetId: string | null;
  changes: { name: string; before: unknown; after: unknown }[];
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

export interface Approval {
  id: string;
  runId: string;
  workflowName: string;
  stepName: string;
  title: string;
  description: string;
  state: 'pending' | 'approved' | 'rejected' | 'cancelled';
  subject: PersonRef | null;
  requestedBy: PersonRef | null;
  approvers: PersonRef[];
  role: {
    id: string;
    name: string;
    description: string;
    defaultDurationDays: number | null;
    entitlements: RoleEntitlement[];
  } | null;
  documents: {
    id: string;
    type: string;
    state: DocumentState;
    validFrom: Instant | null;
    expiresAt: Instant | null;
  }[];
  createdAt: Instant;
  dueAt: Instant | null;
  decidedAt: Instant | null;
  decidedBy: PersonRef | null;
  reason: string | null;
  canDecide: boolean;
  whyNot: string | null;
  reasonRequired: { approve: boolean; reject: boolean };
}

/** A form: its fields in order, and the same as JSON Schema. */
export interface Form {
  fields: WorkflowVariable[];
  schema: Record<string, unknown>;
}

export type TaskAction = 'claim' | 'release' | 'assign' | 'hold' | 'resume' | 'complete' | 'answer' | 'comment';

export interface Task {
  id: string;
  kind: 'task' | 'consent';
  runId: string;
  workflowName: string;
  stepName: string;
  title: string;
  description: string;
  form: Form;
  state: 'open' | 'assigned' | 'held' | 'done' | 'cancelled';
  subject: PersonRef | null;
  requestedBy: PersonRef | null;
  candidates: PersonRef[];
  assignee: PersonRef | null;
  holdReason: string | null;
  createdAt: Instant;
  dueAt: Instant | null;
  outcome: string | null;
  values: Record<string, unknown> | null;
  reason: string | null;
  doneAt: Instant | null;
  doneBy: PersonRef | null;
  actions: TaskAction[];
  comments?: { id: string; person: PersonRef | null; at: Instant; text: string }[];
}

export interface OneTimeLink {
  kind: 'invitation' | 'verify_contact';
  workflowName: string;
  email: string;
  displayName: string;
  message: string;
  form: Form;
  state: 'open' | 'used' | 'expired' | 'cancelled';
  expiresAt: Instant;
}

export type Decision = 'approve' | 'reject';

export interface RoleEntitlement {
  id: string;
  name: string;
  connectorName: string;
}

export interface Person {
  id: string;
  displayName: string;
  email: string;
  managerId: string | null;
  active: boolean;
  attributes: Record<string, unknown>;
  createdAt: Instant;
}

export interface Role {
  id: string;
  name: string;
  description: string;
  ownerId: string | null;
  status: string;
  defaultDurationDays: number | null;
  requiredDocumentTypes: string[];
  entitlements: RoleEntitlement[];
}

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

export interface Connector {
  id: string;
  name: string;
  kind: 'directory' | 'http' | 'ldap';
  config: Record<string, unknown>;
  secretsSet: string[];
  commands: unknown[];
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

export interface LogEntry {
  id: string;
  at: Instant;
  level: string;
  target: string;
  message: string;
  fields: Record<string, unknown>;
  requestId: string | null;
}

export interface Setting<T> {
  value: T;
  source: 'default' | 'environment' | 'saved';
  min?: number;
  max?: number;
  changedBy: PersonRef | null;
  changedAt: Instant | null;
}
