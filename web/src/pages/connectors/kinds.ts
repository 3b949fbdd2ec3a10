// What each kind of connector is called, what its settings look like and which secrets it may have.
import type { Connector } from '../../lib/types';

export type Kind = Connector['kind'];

interface KindLook {
  label: string;
  about: string;
  example: Record<string, unknown>;
  secrets: { name: string; label: string }[];
}

export const KINDS: Record<Kind, KindLook> = {
  directory: {
    label: 'Built-in directory',
    about: 'A small directory inside Tenure, to try everything without another system.',
    example: {},
    secrets: [],
  },
  http: {
    label: 'HTTP',
    about: 'Any HTTP API below a base URL.',
    example: { baseUrl: 'https://badges.example.org/api', auth: 'bearer' },
    secrets: [{ name: 'token', label: 'Bearer token' }],
  },
  ldap: {
    label: 'LDAP',
    about: 'An LDAP directory or Active Directory.',
    example: { url: 'ldaps://ldap.example.org', bindDn: 'cn=tenure,dc=example,dc=org' },
    secrets: [{ name: 'password', label: 'Password of the bind DN' }],
  },
  scim: {
    label: 'SCIM 2.0',
    about: 'A service that takes users and groups over SCIM 2.0.',
    example: { baseUrl: 'https://idp.example.org/scim/v2', auth: 'bearer' },
    secrets: [{ name: 'token', label: 'Bearer token' }],
  },
  sql: {
    label: 'Database',
    about: 'PostgreSQL, MySQL, MariaDB or SQLite; only statements that stand here are run.',
    example: {
      engine: 'postgresql',
      url: 'postgresql://db.example.org/hr',
      user: 'tenure',
      statements: {
        grant: 'INSERT INTO access (account) VALUES (:account) ON CONFLICT DO NOTHING',
        revoke: 'DELETE FROM access WHERE account = :account',
        has: 'SELECT 1 FROM access WHERE account = :account',
        members: 'SELECT account AS key FROM access',
      },
    },
    secrets: [{ name: 'password', label: 'Password' }],
  },
  exec: {
    label: 'Program',
    about: 'A program on this machine that CONNECTOR_EXEC_PROGRAMS allows.',
    example: { program: 'badges' },
    secrets: [{ name: 'secret', label: 'Secret' }],
  },
};

export const KIND_OPTIONS = (Object.keys(KINDS) as Kind[]).map((value) => ({ value, label: KINDS[value].label }));
