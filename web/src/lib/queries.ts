// Every read of the API: its key, its address, its type.
import { keepPreviousData } from '@tanstack/svelte-query';
import { api, type QueryValue } from './api';
import type {
  AccessDocument,
  Approval,
  Assignment,
  AuditEntry,
  BulkAction,
  BulkProgress,
  Connector,
  Diagnosis,
  Exception,
  Health,
  Job,
  JobAttempt,
  JobCounts,
  JobErrorGroup,
  LogEntry,
  Page,
  Person,
  QueueInfo,
  Role,
  Run,
  RunDetail,
  RunEvent,
  RunStep,
  Schedule,
  Setting,
  SystemInfo,
  Task,
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
  exceptions: (filter: Filter) => list<Exception>('/api/exceptions', filter),
  exception: (key: string) => one<Exception>(`/api/exceptions/${id(key)}`),
  workflows: (filter: Filter = {}) => list<Workflow>('/api/workflows', filter),
  workflow: (key: string) => one<WorkflowWithDefinition>(`/api/workflows/${id(key)}`),
  workflowVersions: (key: string) => one<{ items: Workflow[] }>(`/api/workflows/${id(key)}/versions`),
  runs: (filter: Filter) => list<Run>('/api/runs', filter),
  run: (key: string) => one<RunDetail>(`/api/runs/${id(key)}`),
  diagnosis: (key: string) => one<Diagnosis>(`/api/runs/${id(key)}/diagnose`),
  runSteps: (key: string) => one<{ items: RunStep[] }>(`/api/runs/${id(key)}/steps`),
  people: (filter: Filter = {}) => list<Person>('/api/people', filter),
  roles: (filter: Filter = {}) => list<Role>('/api/roles', filter),
  assignments: (filter: Filter = {}) => list<Assignment>('/api/assignments', filter),
  assignment: (key: string) => one<Assignment>(`/api/assignments/${id(key)}`),
  documents: (filter: Filter = {}) => list<AccessDocument>('/api/documents', filter),
  document: (key: string) => one<AccessDocument>(`/api/documents/${id(key)}`),
  connectors: (filter: Filter = {}) => list<Connector>('/api/connectors', filter),
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
  logs: (filter: Filter = {}) => list<LogEntry>('/api/logs', filter),
  system: () => one<SystemInfo>('/api/system'),
  securitySettings: () => one<{ stuckRunTimeoutMinutes: Setting<number> }>('/api/settings/security'),
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
