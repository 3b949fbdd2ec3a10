import type { Component } from 'svelte';

export interface Route {
  path: string;
  /** Pages without parameters in their path take no props, so the type leaves the props open. */
  load: () => Promise<{ default: Component<any> }>;
}

const pages: Route[] = [
  { path: '/inbox', load: () => import('./pages/Inbox.svelte') },
  { path: '/delegations', load: () => import('./pages/Delegations.svelte') },
  { path: '/notifications', load: () => import('./pages/Notifications.svelte') },
  { path: '/break-glass', load: () => import('./pages/BreakGlass.svelte') },
  { path: '/tasks', load: () => import('./pages/Tasks.svelte') },
  { path: '/workflows', load: () => import('./pages/Workflows.svelte') },
  { path: '/workflows/:id', load: () => import('./pages/Workflow.svelte') },
  { path: '/runs', load: () => import('./pages/Runs.svelte') },
  { path: '/runs/:id', load: () => import('./pages/Run.svelte') },
  { path: '/schedules', load: () => import('./pages/Schedules.svelte') },
  { path: '/access', load: () => import('./pages/Access.svelte') },
  { path: '/reconciliation', load: () => import('./pages/Reconciliation.svelte') },
  { path: '/people', load: () => import('./pages/People.svelte') },
  { path: '/people/:id', load: () => import('./pages/Person.svelte') },
  { path: '/imports', load: () => import('./pages/Imports.svelte') },
  { path: '/imports/:id', load: () => import('./pages/Import.svelte') },
  { path: '/roles', load: () => import('./pages/Roles.svelte') },
  { path: '/entitlements', load: () => import('./pages/Entitlements.svelte') },
  { path: '/entitlements/new', load: () => import('./pages/entitlements/NewEntitlement.svelte') },
  { path: '/entitlements/:id/edit', load: () => import('./pages/entitlements/EditEntitlement.svelte') },
  { path: '/documents', load: () => import('./pages/Documents.svelte') },
  { path: '/connectors', load: () => import('./pages/Connectors.svelte') },
  { path: '/audit', load: () => import('./pages/Audit.svelte') },
  { path: '/checkpoints', load: () => import('./pages/Checkpoints.svelte') },
  { path: '/overview', load: () => import('./pages/Overview.svelte') },
  { path: '/jobs', load: () => import('./pages/Jobs.svelte') },
  { path: '/logs', load: () => import('./pages/Logs.svelte') },
  { path: '/account', load: () => import('./pages/Account.svelte') },
  { path: '/settings', load: () => import('./pages/Settings.svelte') },
  { path: '/settings/security', load: () => import('./pages/settings/Security.svelte') },
  { path: '/settings/sign-in', load: () => import('./pages/settings/SignIn.svelte') },
  { path: '/settings/provisioning', load: () => import('./pages/settings/Provisioning.svelte') },
  { path: '/settings/mail', load: () => import('./pages/settings/Mail.svelte') },
  { path: '/settings/logging', load: () => import('./pages/settings/Logging.svelte') },
];

// The gallery of components is a tool for whoever works on them; a build leaves it out.
const development: Route[] = import.meta.env.DEV
  ? [{ path: '/design', load: () => import('./pages/Design.svelte') }]
  : [];

export const routes: Route[] = [...pages, ...development];
