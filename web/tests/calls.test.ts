import { describe, expect, it } from 'vitest';
import type { CommandSpec, Entitlement } from '../src/lib/types';
import { bodyOf, faultAt, fieldsOf, formOf, typedOf, valueOf, withCommand } from '../src/pages/entitlements/calls';
import { daysIn, typesIn } from '../src/pages/roles/roles';

const param = (name: string, type: CommandSpec['params'][number]['type'], required = true) => ({ name, type, required, description: `the ${name}` });
const command = (name: string, params: CommandSpec['params'], lists = false): CommandSpec => ({ name, description: '', changes: !lists, lists, params });
const COMMANDS = [
  command('add_member', [param('account', 'string'), param('group', 'string'), param('attributes', 'object', false)]),
  command('remove_member', [param('account', 'string'), param('group', 'string')]),
  command('request', [param('path', 'string'), param('body', 'any', false), param('expectStatus', 'array', false)]),
  command('list_members', [param('group', 'string')], true),
];

const stored = (params: Record<string, unknown>): Entitlement => ({
  id: 'ent_1',
  name: 'Group',
  connectorId: 'con_1',
  connectorName: 'Directory',
  provision: { command: 'request', params },
  deprovision: { command: 'remove_member', params: { account: '{{ person.attributes.uid }}', group: 'g' } },
  check: null,
  list: null,
  reconcile: { policy: 'report', remove: null },
  status: 'active',
});

describe('what is typed for a parameter', () => {
  it('is a text, a number, a list or an object, as the command says', () => {
    expect(valueOf('5', 'string')).toEqual({ value: '5' });
    expect(valueOf('5', 'number')).toEqual({ value: 5 });
    expect(valueOf('[200, 204]', 'array')).toEqual({ value: [200, 204] });
    expect(valueOf('{"a": 1}', 'object')).toEqual({ value: { a: 1 } });
    expect(valueOf('{"a": 1}', 'array')).toHaveProperty('fault');
    expect(valueOf('[1]', 'object')).toHaveProperty('fault');
    expect(valueOf('five', 'number')).toHaveProperty('fault');
  });

  it('may be one template of any kind', () => {
    expect(valueOf('{{ person.attributes.groups }}', 'array')).toEqual({ value: '{{ person.attributes.groups }}' });
    expect(valueOf('{{ a }} and {{ b }}', 'array')).toHaveProperty('fault');
  });

  it('is JSON or a text where anything goes', () => {
    expect(valueOf('true', 'any')).toEqual({ value: true });
    expect(valueOf('yes', 'any')).toEqual({ value: 'yes' });
  });
});

describe('an entitlement in its form', () => {
  it('is sent as it was when nothing is changed, whatever it holds', () => {
    for (const params of [
      { path: '/a', body: 'true', expectStatus: [200] },
      { path: 7, body: '', other: { deep: [1, 'two'] } },
      { path: '{{ person.id }}', body: null },
    ]) {
      const one = stored(params);
      const { body, faults } = bodyOf(formOf(one, COMMANDS), COMMANDS);
      expect(faults).toEqual({});
      expect(body.provision).toEqual(one.provision);
      expect(body.deprovision).toEqual(one.deprovision);
    }
  });

  it('shows parameters that the command does not know, to be emptied', () => {
    const typed = typedOf({ command: 'list_members', params: { group: 'g', odd: 1 } }, COMMANDS);
    expect(fieldsOf(COMMANDS[3], typed.values).map((one) => one.name)).toEqual(['group', 'odd']);
  });

  it('names each fault as the server does', () => {
    const form = formOf(undefined, COMMANDS);
    form.provision = withCommand(form.provision, COMMANDS[0], form.deprovision, true);
    form.list = { ...form.list, command: 'list_members' };
    expect(bodyOf(form, COMMANDS).faults).toEqual({
      name: 'This is needed.',
      connectorId: 'Choose a connector.',
      'provision.params.account': 'This is needed.',
      'provision.params.group': 'This is needed.',
      'deprovision.command': 'Choose a command.',
      'list.params.group': 'This is needed.',
      'list.key': 'This is needed.',
    });
  });

  it('asks for nothing to be compared without a list', () => {
    const form = formOf({ ...stored({ path: '/' }), reconcile: { policy: 'revoke_unknown', remove: { command: 'remove_member', params: {} } } }, COMMANDS);
    expect(bodyOf(form, COMMANDS).body.reconcile).toEqual({ policy: 'report', remove: null });
  });
});

describe('another command', () => {
  const given = { command: 'add_member', values: { account: '{{ person.id }}', group: 'g', attributes: '{}' }, was: {} };

  it('begins with what the other call has for parameters of the same name', () => {
    const taken = withCommand({ command: '', values: {}, was: {} }, COMMANDS[1], given, true);
    expect(taken.values).toEqual({ account: '{{ person.id }}', group: 'g' });
  });

  it('takes no template where there may be none', () => {
    const taken = withCommand({ command: '', values: {}, was: {} }, COMMANDS[1], given, false);
    expect(taken.values).toEqual({ account: '', group: 'g' });
  });
});

describe('a fault inside a parameter', () => {
  it('stands at the field of the parameter', () => {
    const faults = { 'provision.params.attributes.mail[0]': 'Unknown.', 'provision.params.accounts': 'Other.' };
    expect(faultAt(faults, 'provision.params.attributes')).toBe('Unknown.');
    expect(faultAt(faults, 'provision.params.account')).toBeUndefined();
  });
});

describe('the form of a role', () => {
  it('takes types of documents as people write them', () => {
    expect(typesIn('Training certificate; id_card, id-card;')).toEqual(['training-certificate', 'id-card']);
  });

  it('takes whole days, or none', () => {
    expect(daysIn(' 90 ')).toEqual({ days: 90 });
    expect(daysIn('')).toEqual({ days: null });
    for (const wrong of ['0', '-1', '1.5', 'a year']) expect(daysIn(wrong)).toHaveProperty('fault');
  });
});
