// Every page there is, those of single objects included, for the specs that look at each of them.
import type { Samples } from './fixtures';

interface PageToSee {
  name: string;
  path: (samples: Samples) => string;
}

const plain = (path: string): PageToSee => ({ name: path, path: () => path });
const workflow = (tab: string): PageToSee => ({ name: `/workflows/:id${tab}`, path: (of) => `/workflows/${of.workflow}${tab}` });
const run = (tab: string): PageToSee => ({ name: `/runs/:id${tab}`, path: (of) => `/runs/${of.run}${tab}` });

export const PAGES: PageToSee[] = [
  plain('/inbox'),
  plain('/inbox?mine=false&state=decided'),
  plain('/inbox?state=exceptions'),
  { name: '/inbox, a request chosen', path: (of) => `/inbox?mine=false&id=${of.approval}` },
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
  plain('/people'),
  plain('/roles'),
  plain('/documents'),
  plain('/connectors'),
  plain('/audit'),
  { name: '/audit, an entry chosen', path: (of) => `/audit?seq=${of.entry}` },
  plain('/overview'),
  plain('/jobs'),
  plain('/jobs?state=failed'),
  { name: '/jobs, one chosen', path: (of) => `/jobs?id=${of.job}` },
  plain('/logs'),
  { name: '/logs, an entry chosen', path: (of) => `/logs?id=${of.line}` },
  plain('/settings/security'),
  plain('/settings/logging'),
  plain('/no-such-page'),
];
