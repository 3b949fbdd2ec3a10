// The commands of an entitlement as form fields, and what was typed as the calls that the server expects.
import { pretty } from '../../lib/format';
import type { Call, CommandSpec, Entitlement, ListCall, ParamSpec } from '../../lib/types';

/** A command with what is typed into the fields of its parameters. */
export interface TypedCall {
  command: string;
  values: Record<string, string>;
  /** What stood there at first: as long as its text is not changed, neither is the value. */
  was: Record<string, { text: string; value: unknown }>;
}

export interface TypedList extends TypedCall {
  key: string;
  ignoreCase: boolean;
}

export interface ParamField extends ParamSpec {
  label: string;
  hint: string;
  /** Several lines, as for objects and lists. */
  long: boolean;
}

export type Faults = Record<string, string>;

const UNKNOWN = 'The command has no such parameter. Empty it to leave it out.';

/** The fields of a command: its parameters, then what is filled in besides. */
export function fieldsOf(spec: CommandSpec | undefined, values: Record<string, string>): ParamField[] {
  const known = (spec?.params ?? []).map((param) => ({
    ...param,
    label: param.name,
    hint: hintOf(param),
    long: param.type !== 'string' && param.type !== 'number',
  }));
  const others = Object.keys(values).filter((name) => !known.some((one) => one.name === name));
  return [...known, ...others.map((name) => ({ name, label: name, type: 'any' as const, required: false, description: '', hint: UNKNOWN, long: true }))];
}

const JSON_OF = { object: ' JSON such as {"name": "value"}.', array: ' JSON such as ["one", "two"].', any: ' JSON or a text.', string: '', number: '' };

function hintOf(param: ParamSpec): string {
  const text = param.description.charAt(0).toUpperCase() + param.description.slice(1);
  return `${text.replace(/\.?$/, '.')}${JSON_OF[param.type]}`;
}

/** Whether a text is one template as a whole: it may become an object or a list when it is filled. */
const isTemplate = (text: string) => /^\{\{(?:(?!\}\}).)*\}\}$/s.test(text.trim());

function parsed(text: string): { value: unknown } | undefined {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** A value as its field shows it, so that it is read back as what it was. */
function textOf(value: unknown, type: ParamSpec['type']): string {
  if (typeof value !== 'string') return pretty(value);
  const ambiguous = type === 'any' && parsed(value) !== undefined;
  return ambiguous ? JSON.stringify(value) : value;
}

/** What was typed for one parameter. */
export function valueOf(text: string, type: ParamSpec['type']): { value: unknown } | { fault: string } {
  if (type === 'string' || isTemplate(text)) return { value: text };
  const read = parsed(text);
  if (type === 'any') return read ?? { value: text };
  if (type === 'number') return typeof read?.value === 'number' ? read : { fault: 'Expected a number or one {{ … }}.' };
  const fits = type === 'array' ? Array.isArray(read?.value) : typeof read?.value === 'object' && read.value !== null && !Array.isArray(read.value);
  return read && fits ? read : { fault: `Expected a JSON ${type === 'array' ? 'list' : 'object'} or one {{ … }}.` };
}

export const none = (): TypedCall => ({ command: '', values: {}, was: {} });

export function typedOf(call: Call | null, commands: readonly CommandSpec[]): TypedCall {
  if (!call) return none();
  const params = commands.find((one) => one.name === call.command)?.params ?? [];
  const type = (name: string) => params.find((one) => one.name === name)?.type ?? 'any';
  const was = Object.fromEntries(Object.entries(call.params).map(([name, value]) => [name, { text: textOf(value, type(name)), value }]));
  return { command: call.command, values: Object.fromEntries(Object.entries(was).map(([name, { text }]) => [name, text])), was };
}

/** Another command keeps what was typed for parameters of the same name, and takes over what `like` has for the others. */
export function withCommand(call: TypedCall, spec: CommandSpec | undefined, like: TypedCall, templates: boolean): TypedCall {
  const taken = (name: string) => {
    const text = call.values[name] || like.values[name] || '';
    return templates || !text.includes('{{') ? text : '';
  };
  return { ...call, command: spec?.name ?? '', was: {}, values: Object.fromEntries((spec?.params ?? []).map(({ name }) => [name, taken(name)])) };
}

/** The call that was typed; faults go to `faults` under `field`, named as the server names them. */
export function callOf(call: TypedCall, spec: CommandSpec | undefined, field: string, faults: Faults): Call {
  if (!call.command) faults[`${field}.command`] = 'Choose a command.';
  const params: Record<string, unknown> = {};
  for (const one of fieldsOf(spec, call.values)) {
    const text = call.values[one.name] ?? '';
    const was = call.was[one.name];
    if (was?.text === text) {
      params[one.name] = was.value;
      continue;
    }
    if (text.trim() === '') {
      if (one.required) faults[`${field}.params.${one.name}`] = 'This is needed.';
      continue;
    }
    const read = valueOf(one.type === 'string' ? text : text.trim(), one.type);
    if ('fault' in read) faults[`${field}.params.${one.name}`] = read.fault;
    else params[one.name] = read.value;
  }
  return { command: call.command, params };
}

/** Everything that the form of an entitlement holds. */
export interface Typed {
  name: string;
  connectorId: string;
  provision: TypedCall;
  deprovision: TypedCall;
  check: TypedCall;
  list: TypedList;
  policy: Entitlement['reconcile']['policy'];
  remove: TypedCall;
}

export function formOf(one: Entitlement | undefined, commands: readonly CommandSpec[]): Typed {
  const call = (of: Call | null | undefined) => typedOf(of ?? null, commands);
  return {
    name: one?.name ?? '',
    connectorId: one?.connectorId ?? '',
    provision: call(one?.provision),
    deprovision: call(one?.deprovision),
    check: call(one?.check),
    list: { ...call(one?.list), key: one?.list?.key ?? '', ignoreCase: one?.list?.ignoreCase ?? false },
    policy: one?.reconcile.policy ?? 'report',
    remove: call(one?.reconcile.remove),
  };
}

type Body = Pick<Entitlement, 'name' | 'connectorId' | 'provision' | 'deprovision' | 'check' | 'list' | 'reconcile'>;

/** What the form says, or what is wrong with it by the names that the server uses. */
export function bodyOf(form: Typed, commands: readonly CommandSpec[]): { body: Body; faults: Faults } {
  const faults: Faults = {};
  if (!form.name.trim()) faults.name = 'This is needed.';
  if (!form.connectorId) faults.connectorId = 'Choose a connector.';
  const spec = (call: TypedCall) => commands.find((one) => one.name === call.command);
  const needed = (call: TypedCall, field: string) => callOf(call, spec(call), field, faults);
  const optional = (call: TypedCall, field: string) => (call.command ? needed(call, field) : null);
  const listed = optional(form.list, 'list');
  if (listed && !form.list.key.trim()) faults['list.key'] = 'This is needed.';
  const list: ListCall | null = listed && { ...listed, key: form.list.key.trim(), ignoreCase: form.list.ignoreCase };
  const body = {
    name: form.name.trim(),
    connectorId: form.connectorId,
    provision: needed(form.provision, 'provision'),
    deprovision: needed(form.deprovision, 'deprovision'),
    check: optional(form.check, 'check'),
    list,
    // Without a list there is nothing to compare.
    reconcile: list ? { policy: form.policy, remove: optional(form.remove, 'reconcile.remove') } : { policy: 'report' as const, remove: null },
  };
  return { body, faults };
}

/** The fault that stands at `field` or somewhere inside it. */
export function faultAt(faults: Faults, field: string): string | undefined {
  const inside = Object.keys(faults).find((one) => one === field || one.startsWith(`${field}.`) || one.startsWith(`${field}[`));
  return inside === undefined ? undefined : faults[inside];
}
