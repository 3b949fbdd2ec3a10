// Turns a workflow's declared variables into form fields, and what was typed back into the values the server expects.
import { words } from './format';
import type { WorkflowVariable } from './types';

export type Control = 'text' | 'longtext' | 'number' | 'boolean' | 'date' | 'datetime' | 'choice' | 'choices' | 'person' | 'role' | 'json';

export interface FormField {
  name: string;
  label: string;
  hint: string;
  control: Control;
  integer: boolean;
  /** Whether what is chosen is a number. */
  number: boolean;
  required: boolean;
  options: string[];
  initial: string | boolean;
}

const CONTROLS: Record<string, Control> = {
  string: 'text',
  text: 'longtext',
  number: 'number',
  integer: 'number',
  int: 'number',
  float: 'number',
  boolean: 'boolean',
  bool: 'boolean',
  date: 'date',
  datetime: 'datetime',
  timestamp: 'datetime',
  enum: 'choice',
  choice: 'choice',
  person: 'person',
  role: 'role',
  json: 'json',
  object: 'json',
  array: 'json',
  list: 'json',
};

function initialValue(control: Control, value: unknown): string | boolean {
  if (control === 'boolean') return value === true;
  if (value === undefined || value === null) return '';
  if (control === 'datetime' && typeof value === 'string') return value.slice(0, 16);
  return typeof value === 'string' ? value : JSON.stringify(value);
}

export function toField(variable: WorkflowVariable): FormField {
  const options = (variable.options ?? []).map(String);
  const control = options.length > 0 ? (variable.type === 'array' ? 'choices' : 'choice') : (CONTROLS[variable.type] ?? 'text');
  return {
    name: variable.name,
    label: variable.label || words(variable.name),
    hint: variable.description ?? '',
    control,
    integer: variable.type === 'integer' || variable.type === 'int',
    number: variable.type === 'number',
    required: variable.required === true && control !== 'boolean',
    options,
    initial: initialValue(control, variable.default),
  };
}

type Parsed = { value: unknown } | { fault: string } | null;

function parseJsonValue(text: string): Parsed {
  try {
    return { value: JSON.parse(text) as unknown };
  } catch {
    return { fault: 'This is not valid JSON.' };
  }
}

/** The value of one field, the fault in it, or null when it was left empty. */
export function parseField(field: FormField, typed: string | boolean): Parsed {
  if (typeof typed === 'boolean') return { value: typed };
  const text = field.control === 'longtext' ? typed : typed.trim();
  if (text === '') return field.required ? { fault: 'This is needed.' } : null;
  if (field.control === 'number') {
    const value = Number(text);
    if (!Number.isFinite(value)) return { fault: 'This is not a number.' };
    return field.integer && !Number.isInteger(value) ? { fault: 'This has to be a whole number.' } : { value };
  }
  if (field.control === 'datetime') {
    const date = new Date(`${text}Z`);
    return Number.isNaN(date.getTime()) ? { fault: 'This is not a date and time.' } : { value: date.toISOString() };
  }
  if (field.control === 'choice' && field.number) return { value: Number(text) };
  return field.control === 'json' || field.control === 'choices' ? parseJsonValue(text) : { value: text };
}

export function parseForm(
  fields: FormField[],
  typed: Record<string, string | boolean>,
): { input: Record<string, unknown>; faults: Record<string, string> } {
  const input: Record<string, unknown> = {};
  const faults: Record<string, string> = {};
  for (const field of fields) {
    const parsed = parseField(field, typed[field.name] ?? field.initial);
    if (parsed === null) continue;
    if ('fault' in parsed) faults[field.name] = parsed.fault;
    else input[field.name] = parsed.value;
  }
  return { input, faults };
}
