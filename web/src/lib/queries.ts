// Every read of the API: its key, its address, its type.
import { keepPreviousData } from '@tanstack/svelte-query';
import { api, type QueryValue } from './api';
import type {
  AccessDocument,
  Account,
  Approval,
  AssignmentChange,
  AssignmentRecord,
  AuditEntry,
  AuditKey,
  AuditProof,
  BreakGlass,
  BrowserSession,
  BulkAction,
  BulkProgress,
  Checkpoint,
  CheckpointsState,
  Connector,
  Delegation,
  Diagnosis,
  Difference,
  Entitlement,
  Exception,
  Group,
  GroupDetail,
  FailedMail,
  Health,
  Import,
  ImportRow,
  Job,
  JobAttempt,
  JobCounts,
  JobErrorGroup,
  Leave,
  ListedAssignment,
  LogEntry,
  Member,
  MailChoiceInForce,
  MailTemplate,
  Notifications,
  Page,
  Passkey,
  PeopleToChoose,
  Person,
  ProfileSchema,
  QueueInfo,
  Reconciliation,
  Relations,
  Role,
  RoleConflict,
  RoleViolation,
  Run,
  RunDetail,
  RunEvent,
  RunStep,
  Schedule,
  ScimToken,
  SecondFactor,
  ServerClock,
  Setting,
  SignInSettings,
  StillPresent,
  SystemInfo,
  Task,
  TaskCounts,
  Workflow,
  WorkflowWithDefinition,
} from './types';

export type Filter = Record<string, QueryValue>;

function list<T>(path: string, filter: Filter = {}) {
  return {
    queryKey: [path, filter] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get<Page<T>>(path, { query: filter, signal }),
    // A changed filter keeps the old rows on the page until the new ones are here.
    placeholderData: keepPreviousData,
  };
}

function one<T>(path: string) {
  return {
    queryKey: [path] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get<T>(path, { signal }),
  };
}

const id = encodeURIComponent;

export const queries = {
  approvals: (filter: Filter) => list<Approval>('/api/approvals', filter),
  approval: (key: string) => one<Approval>(`/api/approvals/${id(key)}`),
  tasks: (filter: Filter) => list<Task>('/api/tasks', filter),
  task: (key: string) => one<Task>(`/api/tasks/${id(key)}`),
  taskCounts: (filter: Filter) => ({
    queryKey: ['/api/tasks/counts', filter] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get<TaskCounts>('/api/tasks/counts', { query: filter, signal }),
    placeholderData: keepPreviousData,
  }),
  delegations: (filter: Filter = {}) => list<Delegation>('/api/delegations', filter),
  deciders: (q: string) => ({
    queryKey: ['/api/deciders', q] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get<PeopleToChoose>('/api/deciders', { query: { q }, signal }),
    // A list under somebody's hand holds still.
    refetchInterval: false as const,
    placeholderData: keepPreviousData,
  }),
  peopleToChoose: (q: string) => ({
    queryKey: ['/api/people', 'to choose', q] as const,
    queryFn: async ({ signal }: { signal: AbortSignal }): Promise<PeopleToChoose> => {
      const page = await api.get<Page<Person>>('/api/people', { query: { q, limit: 200 }, signal });
      return { items: page.items.filter((person) => person.active), more: page.nextCursor !== null };
    },
    refetchInterval: false as const,
    placeholderData: keepPreviousData,
  }),
  breakGlass: (filter: Filter = {}) => list<BreakGlass>('/api/break-glass', filter),
  oneBreakGlass: (key: string) => one<BreakGlass>(`/api/break-glass/${id(key)}`),
  notifications: (filter: Filter = {}) => ({
    queryKey: ['/api/notifications', filter] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get<Notifications>('/api/notifications', { query: filter, signal }),
    placeholderData: keepPreviousData,
  }),
  mailChoice: () => one<MailChoiceInForce>('/api/notifications/choice'),
  mailTemplates: () => one<{ items: MailTemplate[] }>('/api/notifications/templates'),
  failedMails: () => one<{ items: FailedMail[]; more: boolean }>('/api/notifications/failed'),
  notificationSettings: () =>
    one<{ digestAfter: Setting<number>; digestMinutes: Setting<number> }>('/api/settings/notifications'),
  exceptions: (filter: Filter) => list<Exception>('/api/exceptions', filter),
  exception: (key: string) => one<Exception>(`/api/exceptions/${id(key)}`),
  workflows: (filter: Filter = {}) => list<Workflow>('/api/workflows', filter),
  workflow: (key: string) => one<WorkflowWithDefinition>(`/api/workflows/${id(key)}`),
  workflowVersions: (key: string) => one<{ items: Workflow[] }>(`/api/workflows/${id(key)}/versions`),
  runs: (filter: Filter) => list<Run>('/api/runs', filter),
  run: (key: string) => one<RunDetail>(`/api/runs/${id(key)}`),
  diagnosis: (key: string) => one<Diagnosis>(`/api/runs/${id(key)}/diagnose`),
  runSteps: (key: string) => one<{ items: RunStep[] }>(`/api/runs/${id(key)}/steps`),
  person: (key: string) => one<Person>(`/api/people/${id(key)}`),
  relations: (key: string) => one<Relations>(`/api/people/${id(key)}/relations`),
  profileSchema: () => one<ProfileSchema>('/api/settings/profile'),
  groups: (filter: Filter = {}) => list<Group>('/api/groups', filter),
  group: (key: string) => one<GroupDetail>(`/api/groups/${id(key)}`),
  groupMembers: (key: string) => list<Member>(`/api/groups/${id(key)}/members`, { limit: 200 }),
  leavers: (filter: Filter = {}) => list<Leave>('/api/leavers', filter),
  leaverSettings: () => one<{ leaversPercent: Setting<number>; leaversCount: Setting<number>; now: number }>('/api/settings/leavers'),
  accounts: (filter: Filter = {}) => list<Account>('/api/accounts', filter),
  scimTokens: () => one<{ baseUrl: string; items: ScimToken[] }>('/api/scim-tokens'),
  imports: (filter: Filter = {}) => list<Import>('/api/imports', filter),
  import: (key: string) => one<Import>(`/api/imports/${id(key)}`),
  importRows: (key: string, filter: Filter) => list<ImportRow>(`/api/imports/${id(key)}/rows`, filter),
  people: (filter: Filter = {}) => list<Person>('/api/people', filter),
  roles: (filter: Filter = {}) => list<Role>('/api/roles', filter),
  role: (key: string) => one<Role>(`/api/roles/${id(key)}`),
  entitlements: (filter: Filter = {}) => list<Entitlement>('/api/entitlements', filter),
  entitlement: (key: string) => one<Entitlement>(`/api/entitlements/${id(key)}`),
  entitlementsToChoose: (q: string) => ({
    queryKey: ['/api/entitlements', 'to choose', q] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) =>
      api.get<Page<Entitlement>>('/api/entitlements', { query: { q, status: 'active', limit: 200 }, signal }),
    // A list under somebody's hand holds still.
    refetchInterval: false as const,
    placeholderData: keepPreviousData,
  }),
  roleConflicts: (filter: Filter = {}) => list<RoleConflict>('/api/role-conflicts', filter),
  roleViolations: (filter: Filter = {}) => list<RoleViolation>('/api/role-conflicts/violations', filter),
  assignments: (filter: Filter = {}) => list<ListedAssignment>('/api/assignments', filter),
  assignment: (key: string, asOf = '') => ({
    queryKey: [`/api/assignments/${id(key)}`, { asOf }] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) =>
      api.get<AssignmentRecord>(`/api/assignments/${id(key)}`, { query: { asOf }, signal }),
  }),
  assignmentHistory: (key: string) => ({
    queryKey: [`/api/assignments/${id(key)}/history`] as const,
    queryFn: ({ signal, pageParam }: { signal: AbortSignal; pageParam: string | null }) =>
      api.get<Page<AssignmentChange>>(`/api/assignments/${id(key)}/history`, { query: { cursor: pageParam, limit: 200 }, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (last: Page<AssignmentChange>) => last.nextCursor,
  }),
  documents: (filter: Filter = {}) => list<AccessDocument>('/api/documents', filter),
  document: (key: string) => one<AccessDocument>(`/api/documents/${id(key)}`),
  reconciliations: (filter: Filter = {}) => list<Reconciliation>('/api/reconciliations', filter),
  reconciliation: (key: string) => one<Reconciliation>(`/api/reconciliations/${id(key)}`),
  differences: (of: string, plan: string, filter: Filter) =>
    list<Difference>(`/api/reconciliations/${id(of)}/plans/${id(plan)}/items`, filter),
  stillPresent: (filter: Filter = {}) => list<StillPresent>('/api/reconciliations/still-present', filter),
  connectors: (filter: Filter = {}) => list<Connector>('/api/connectors', filter),
  connector: (key: string) => one<Connector>(`/api/connectors/${id(key)}`),
  jobs: (filter: Filter = {}) => list<Job>('/api/jobs', filter),
  job: (key: string) => one<Job>(`/api/jobs/${id(key)}`),
  jobCounts: () => one<JobCounts>('/api/jobs/counts'),
  jobAttempts: (key: string) => one<{ items: JobAttempt[] }>(`/api/jobs/${id(key)}/attempts`),
  jobErrors: () => one<{ items: JobErrorGroup[] }>('/api/jobs/errors'),
  queue: () => one<QueueInfo>('/api/queue'),
  bulk: (key: string) => one<BulkProgress>(`/api/jobs/bulk/${id(key)}`),
  bulkPreview: (action: BulkAction, filter: Record<string, string>) => ({
    queryKey: ['/api/jobs/bulk', action, filter] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) =>
      api.post<{ matched: number }>('/api/jobs/bulk', { action, filter, dryRun: true }, { signal }),
    // The number that is agreed to stands still; it is counted anew each time it is asked for.
    refetchInterval: false as const,
    refetchOnWindowFocus: false,
    gcTime: 0,
  }),
  schedules: (filter: Filter) => list<Schedule>('/api/schedules', filter),
  systemSchedules: () => list<Schedule>('/api/schedules', { kind: 'system' }),
  audit: (filter: Filter = {}) => list<AuditEntry>('/api/audit', filter),
  auditEntry: (seq: string) => one<AuditEntry>(`/api/audit/${id(seq)}`),
  auditProof: (seq: number) => ({
    ...one<AuditProof>(`/api/audit/${seq}/proof`),
    // A proof once given holds for ever; one that is missing comes with the next checkpoint.
    refetchInterval: false as const,
    retry: false,
  }),
  auditKey: () => one<AuditKey>('/api/audit/key'),
  checkpoints: (filter: Filter = {}) => list<Checkpoint>('/api/audit/checkpoints', filter),
  checkpoint: (size: string) => one<Checkpoint>(`/api/audit/checkpoints/${id(size)}`),
  checkpointsState: () => one<CheckpointsState>('/api/audit/checkpoints/state'),
  logs: (filter: Filter = {}) => list<LogEntry>('/api/logs', filter),
  system: () => one<SystemInfo>('/api/system'),
  clock: () => one<ServerClock>('/api/clock'),
  securitySettings: () =>
    one<{
      stuckRunTimeoutMinutes: Setting<number>;
      reasonPolicy: Setting<'reject' | 'both'>;
      fourEyes: Setting<boolean>;
      reconciliationMaxRemovalPercent: Setting<number>;
      reconciliationMaxRemovals: Setting<number>;
      expiryReminderDays: Setting<number[]>;
    }>('/api/settings/security'),
  secondFactor: () => one<SecondFactor>('/api/auth/second-factor'),
  passkeys: () => one<{ possible: boolean; items: Passkey[] }>('/api/auth/passkeys'),
  sessions: () => one<{ items: BrowserSession[] }>('/api/auth/sessions'),
  accountSessions: (key: string) => one<{ items: BrowserSession[] }>(`/api/accounts/${id(key)}/sessions`),
  signInSettings: () => one<SignInSettings>('/api/settings/sign-in'),
  loggingSettings: () => one<{ retentionDays: Setting<number>; level: Setting<string> }>('/api/settings/logging'),
  logPurge: (olderThanDays: number) => ({
    queryKey: ['/api/logs/purge-preview', olderThanDays] as const,
    queryFn: ({ signal }: { signal: AbortSignal }) =>
      api.get<{ count: number; before: string }>('/api/logs/purge-preview', { query: { olderThanDays }, signal }),
    // It is counted anew each time it is asked for.
    gcTime: 0,
  }),
  health: () => ({
    queryKey: ['/api/health'] as const,
    // A degraded server answers 503 with the same shape.
    queryFn: ({ signal }: { signal: AbortSignal }) => api.get<Health>('/api/health', { signal, accept: [503] }),
  }),
  runEvents: (key: string) => ({
    queryKey: [`/api/runs/${id(key)}/events`] as const,
    queryFn: ({ signal, pageParam }: { signal: AbortSignal; pageParam: string | null }) =>
      api.get<Page<RunEvent>>(`/api/runs/${id(key)}/events`, { query: { cursor: pageParam, limit: 200 }, signal }),
    initialPageParam: null as string | null,
    getNextPageParam: (last: Page<RunEvent>) => last.nextCursor,
  }),
};
