// The pages of the application, where they stand in the navigation, and who sees them there.

export interface NavItem {
  label: string;
  path: string;
  icon: string;
  /** Any one of these permissions shows the page. */
  needs: string[];
}

export interface NavGroup {
  label: string;
  items: NavItem[];
}

export const NAV: NavGroup[] = [
  {
    label: 'Work',
    items: [
      { label: 'Inbox', path: '/inbox', icon: 'inbox', needs: ['approval:read'] },
      { label: 'Tasks', path: '/tasks', icon: 'task', needs: ['task:work', 'task:read'] },
      { label: 'Delegations', path: '/delegations', icon: 'delegation', needs: ['approval:decide', 'approval:manage'] },
    ],
  },
  {
    label: 'Automate',
    items: [
      { label: 'Workflows', path: '/workflows', icon: 'workflow', needs: ['workflow:read'] },
      { label: 'Runs', path: '/runs', icon: 'run', needs: ['run:read', 'run:read_own'] },
      { label: 'Schedules', path: '/schedules', icon: 'schedule', needs: ['schedule:read'] },
    ],
  },
  {
    label: 'Govern',
    items: [
      { label: 'Access', path: '/access', icon: 'access', needs: ['assignment:read', 'assignment:read_own'] },
      { label: 'Emergencies', path: '/break-glass', icon: 'emergency', needs: ['break_glass:read'] },
      { label: 'Reconciliation', path: '/reconciliation', icon: 'reconcile', needs: ['entitlement:read'] },
      { label: 'People', path: '/people', icon: 'people', needs: ['person:read'] },
      { label: 'Roles', path: '/roles', icon: 'role', needs: ['role:read'] },
      { label: 'Entitlements', path: '/entitlements', icon: 'entitlement', needs: ['entitlement:read'] },
      { label: 'Documents', path: '/documents', icon: 'document', needs: ['document:read', 'document:read_own'] },
      { label: 'Connectors', path: '/connectors', icon: 'connector', needs: ['connector:read'] },
    ],
  },
  {
    label: 'Insight',
    items: [
      { label: 'Audit log', path: '/audit', icon: 'audit', needs: ['audit:read'] },
      { label: 'Checkpoints & verify', path: '/checkpoints', icon: 'checkpoint', needs: ['audit:read'] },
    ],
  },
  {
    label: 'Operate',
    items: [
      { label: 'Overview', path: '/overview', icon: 'overview', needs: ['system:read'] },
      { label: 'Jobs', path: '/jobs', icon: 'job', needs: ['job:read'] },
      { label: 'System log', path: '/logs', icon: 'log', needs: ['log:read'] },
    ],
  },
  {
    label: 'Admin',
    items: [
      { label: 'Security Settings', path: '/settings/security', icon: 'security', needs: ['settings:read'] },
      { label: 'Sign-in', path: '/settings/sign-in', icon: 'signin', needs: ['settings:read'] },
      { label: 'E-mail', path: '/settings/mail', icon: 'mail', needs: ['settings:read'] },
      { label: 'Provisioning', path: '/settings/provisioning', icon: 'provisioning', needs: ['account:read'] },
      { label: 'Logging', path: '/settings/logging', icon: 'logging', needs: ['settings:read'] },
    ],
  },
];

export function visibleNav(can: (permissions: string[]) => boolean): NavGroup[] {
  return NAV.map((group) => ({ ...group, items: group.items.filter((item) => can(item.needs)) })).filter(
    (group) => group.items.length > 0,
  );
}
