// Every page there is, those of single objects included, for the specs that look at each of them.
import type { Samples } from './fixtures';

interface PageToSee {
  name: string;
  path: (samples: Samples) => string;
}

// The sample organisation has no yesterday; the day that is not over is a past day too.
const TODAY = new Date().toISOString().slice(0, 10);

const plain = (path: string): PageToSee => ({ name: path, path: () => path });
const workflow = (tab: string): PageToSee => ({ name: `/workflows/:id${tab}`, path: (of) => `/workflows/${of.workflow}${tab}` });
const run = (tab: string): PageToSee => ({ name: `/runs/:id${tab}`, path: (of) => `/runs/${of.run}${tab}` });

export const PAGES: PageToSee[] = [
  plain('/inbox'),
  plain('/inbox?mine=false&state=decided'),
  plain('/inbox?state=exceptions'),
  plain('/inbox?state=exceptions&mine=false'),
  { name: '/inbox, a request chosen', path: (of) => `/inbox?mine=false&id=${of.approval}` },
  plain('/delegations'),
  plain('/delegations?new=1'),
  plain('/notifications'),
  plain('/break-glass'),
  plain('/break-glass?open=false&new=1'),
  plain('/tasks'),
  plain('/tasks?mine=false&state=done'),
  plain('/workflows'),
  plain('/workflows?q=nothing-is-called-this'),
  ...['', '?tab=variables', '?tab=versions', '?tab=json', '?start=1'].map(workflow),
  plain('/runs'),
  ...['', '?tab=steps', '?tab=data'].map(run),
  plain('/schedules'),
  plain('/schedules?kind=workflow'),
  plain('/access'),
  plain('/access?grant=1'),
  { name: '/access, one chosen', path: (of) => `/access?id=${of.assignment}` },
  { name: '/access, a past day', path: (of) => `/access?asOf=${TODAY}&id=${of.assignment}` },
  plain('/access?asOf=2020-01-01'),
  plain('/reconciliation'),
  plain('/reconciliation?view=still-present'),
  { name: '/reconciliation, one chosen', path: (of) => `/reconciliation?id=${of.reconciliation}` },
  plain('/people'),
  plain('/people?active=false'),
  plain('/people?tab=groups'),
  { name: '/people?tab=groups, one chosen', path: (of) => `/people?tab=groups&id=${of.group}` },
  plain('/people?tab=leavers'),
  { name: '/people/:id', path: (of) => `/people/${of.person}` },
  plain('/imports'),
  { name: '/imports/:id', path: (of) => `/imports/${of.import}` },
  plain('/roles'),
  plain('/roles?new=1'),
  plain('/roles?q=nothing-is-called-this'),
  { name: '/roles, one chosen', path: (of) => `/roles?id=${of.role}` },
  plain('/roles?tab=conflicts'),
  plain('/roles?tab=conflicts&new=1'),
  plain('/entitlements'),
  plain('/entitlements/new'),
  { name: '/entitlements, one chosen', path: (of) => `/entitlements?id=${of.entitlement}` },
  { name: '/entitlements/:id/edit', path: (of) => `/entitlements/${of.entitlement}/edit` },
  { name: '/entitlements/new, from another', path: (of) => `/entitlements/new?from=${of.entitlement}` },
  plain('/documents'),
  plain('/connectors'),
  plain('/connectors?add=1'),
  plain('/audit'),
  plain(`/audit?entity=role&action=role.created&from=${TODAY}&to=${TODAY}`),
  { name: '/audit, an entry chosen', path: (of) => `/audit?seq=${of.entry}` },
  plain('/checkpoints'),
  plain('/checkpoints?tab=verify'),
  plain('/checkpoints?tab=take'),
  plain('/overview'),
  plain('/jobs'),
  plain('/jobs?state=failed'),
  { name: '/jobs, one chosen', path: (of) => `/jobs?id=${of.job}` },
  plain('/logs'),
  { name: '/logs, an entry chosen', path: (of) => `/logs?id=${of.line}` },
  plain('/account'),
  plain('/settings/security'),
  plain('/settings/sign-in'),
  plain('/settings/provisioning'),
  plain('/settings/mail'),
  plain('/settings/mail?template=invitation'),
  plain('/settings/logging'),
  plain('/no-such-page'),
];
