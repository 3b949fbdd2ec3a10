// What people are asked to do: approvals, tasks, emergencies, and the messages about them.
import type { DocumentState, Instant, Page, PersonRef, RoleEntitlement, WorkflowVariable } from '../types';
export interface Approval {
  id: string;
  runId: string;
  workflowName: string;
  stepName: string;
  title: string;
  description: string;
  /** Failed when nobody decided in time, or nobody could. */
  state: 'pending' | 'approved' | 'rejected' | 'failed' | 'cancelled';
  subject: PersonRef | null;
  requestedBy: PersonRef | null;
  pattern: 'single' | 'sequential' | 'parallel';
  /** The stage that is open, counted from 1; the last one that was when it is over. */
  stage: number;
  stages: Stage[];
  approvers: PersonRef[];
  /** For whom the reader decides. */
  onBehalfOf: PersonRef[];
  votes: Vote[];
  questions: ApprovalNote[];
  escalation: Escalation | null;
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
  /** Whether the escalation decided, because nobody had. */
  byEscalation: boolean;
  /** Whether it was approved, in a stage at least, without anybody having approved. */
  exception: boolean;
  /** Whether the run only pretends. */
  mock: boolean;
  reason: string | null;
  canDecide: boolean;
  whyNot: string | null;
  canAnswer: boolean;
  reasonRequired: { approve: boolean; reject: boolean };
}

/** How many have to approve. */
export type StageRule = 'all' | 'any' | { quorum: number };

export interface Stage {
  number: number;
  name: string;
  state: 'coming' | 'open' | 'passed' | 'ended';
  /** Null when whoever decides first decides. */
  rule: StageRule | null;
  needed: number | null;
  approved: number;
  rejected: number;
  approvers: Seat[];
}

export interface Seat {
  person: PersonRef | null;
  onBehalfOf: PersonRef[];
  voted: boolean;
  /** When they passed it on, or it was taken from them. */
  leftAt: Instant | null;
}

export interface Vote {
  stage: number;
  person: PersonRef | null;
  onBehalfOf: PersonRef[];
  approves: boolean;
  reason: string | null;
  at: Instant;
}

export interface ApprovalNote {
  seq: number;
  kind: 'question' | 'answer';
  person: PersonRef | null;
  text: string;
  at: Instant;
}

/** What happens while nobody decides in the open stage. */
export interface Escalation {
  remindsAt: Instant[];
  reassignsAt: Instant | null;
  endsAt: Instant | null;
  endsWith: 'approve' | 'reject' | 'fail' | null;
}

/** Somebody decides instead of somebody else for a while. */
export interface Delegation {
  id: string;
  person: PersonRef | null;
  /** Null for an absence, in which the person's manager decides. */
  delegate: PersonRef | null;
  from: Instant;
  to: Instant;
  reason: string;
  inForce: boolean;
  createdAt: Instant;
  endedAt: Instant | null;
}

/** People to choose from; `more` when there are others that the text narrows down to. */
export interface PeopleToChoose {
  items: PersonRef[];
  more: boolean;
}

/** A role that somebody took in an emergency. */
export interface BreakGlass {
  id: string;
  person: PersonRef | null;
  role: { id: string; name: string };
  assignmentId: string;
  reason: string;
  hours: number;
  createdAt: Instant;
  endsAt: Instant;
  verdict: 'justified' | 'unjustified' | null;
  reviewReason: string | null;
  reviewedBy: PersonRef | null;
  reviewedAt: Instant | null;
  canReview: boolean;
  whyNot: string | null;
}

/** A message to the reader. */
export interface Notification {
  id: string;
  kind: string;
  subject: string;
  body: string;
  link: string | null;
  createdAt: Instant;
  readAt: Instant | null;
}

export interface Notifications extends Page<Notification> {
  unread: number;
}

export type MailChoice = 'usual' | 'each' | 'together';

export interface MailChoiceInForce {
  mail: MailChoice;
  digestAfter: number;
  digestMinutes: number;
}

/** The wording of a kind of mail. */
export interface MailTemplate {
  key: string;
  about: string;
  values: string[];
  subject: string;
  body: string;
  isDefault: boolean;
  changedBy: string | null;
  changedAt: Instant | null;
}

export interface FailedMail {
  jobId: string;
  person: PersonRef | null;
  subject: string | null;
  reason: string | null;
  attempts: number;
  failedAt: Instant | null;
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
  /** Whether the run only pretends. */
  mock: boolean;
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

export type WhichTasks = 'free' | 'taken' | 'held' | 'overdue';
export type TaskCounts = Record<WhichTasks | 'open', number>;

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
