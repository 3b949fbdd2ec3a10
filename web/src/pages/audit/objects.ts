// From an entry of the log to the page of the object that it is about.
import type { AuditEntry } from '../../lib/types';

const PAGES: Record<string, (id: string) => string> = {
  approval: (id) => `/inbox?mine=false&id=${id}`,
  assignment: (id) => `/access?id=${id}`,
  break_glass: (id) => `/break-glass?open=false&id=${id}`,
  connector: (id) => `/connectors?id=${id}`,
  document: (id) => `/documents?id=${id}`,
  entitlement: (id) => `/entitlements?id=${id}`,
  exception: (id) => `/inbox?state=exceptions&mine=false&id=${id}`,
  group: (id) => `/people?tab=groups&id=${id}`,
  import: (id) => `/imports/${id}`,
  job: (id) => `/jobs?id=${id}`,
  person: (id) => `/people/${id}`,
  reconciliation: (id) => `/reconciliation?id=${id}`,
  role: (id) => `/roles?id=${id}`,
  run: (id) => `/runs/${id}`,
  task: (id) => `/tasks?mine=false&id=${id}`,
  workflow: (id) => `/workflows/${id}`,
};

/** Where the object of an entry is looked at, if it has a page. */
export function objectHref(entry: Pick<AuditEntry, 'entity' | 'entityId'>): string | null {
  return PAGES[entry.entity]?.(encodeURIComponent(entry.entityId)) ?? null;
}
