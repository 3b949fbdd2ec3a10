import { describe, expect, it } from 'vitest';
import { bytes, shortId, words } from '../src/lib/format';
import { visibleNav } from '../src/lib/nav';
import { statusLook } from '../src/lib/status';
import { parseForm, toField } from '../src/lib/variables';
import { toTimelineItem } from '../src/pages/run/events';

describe('a form from declared variables', () => {
  const fields = [
    toField({ name: 'projectName', type: 'string', required: true }),
    toField({ name: 'days', type: 'integer', default: 90, label: 'Days of access' }),
    toField({ name: 'remote', type: 'boolean', required: true }),
    toField({ name: 'extra', type: 'json' }),
    toField({ name: 'site', type: 'string', options: ['north', 'south'] }),
    toField({ name: 'from', type: 'datetime' }),
  ];

  it('labels, prefills and picks a control', () => {
    expect(fields.map((field) => field.control)).toEqual(['text', 'number', 'boolean', 'json', 'choice', 'datetime']);
    expect(fields[0]).toMatchObject({ label: 'Project name', required: true, initial: '' });
    expect(fields[1]).toMatchObject({ label: 'Days of access', initial: '90' });
  });

  it('gives values of the declared types and leaves empty ones out', () => {
    const typed = { projectName: ' Cohort ', days: '30', remote: true, extra: '{"a":1}', site: '', from: '2026-11-24T08:00' };
    expect(parseForm(fields, typed)).toEqual({
      input: { projectName: 'Cohort', days: 30, remote: true, extra: { a: 1 }, from: '2026-11-24T08:00:00.000Z' },
      faults: {},
    });
  });

  it('names each fault', () => {
    const { faults } = parseForm(fields, { projectName: ' ', days: '1.5', extra: '{' });
    expect(Object.keys(faults)).toEqual(['projectName', 'days', 'extra']);
  });

  it('takes a type it does not know as text', () => {
    expect(toField({ name: 'x', type: 'something' }).control).toBe('text');
  });
});

describe('navigation', () => {
  it('shows only what the permissions open', () => {
    const held = ['approval:read', 'run:read_own'];
    const groups = visibleNav((needs) => needs.some((one) => held.includes(one)));
    expect(groups.flatMap((group) => group.items.map((item) => item.label))).toEqual(['Inbox', 'Runs']);
  });
});

describe('states', () => {
  it('have a word, a tone and a glyph, also when unknown', () => {
    expect(statusLook('partially_provisioned')).toEqual({ word: 'Partially provisioned', tone: 'warn', glyph: 'warning' });
    expect(statusLook('brand_new')).toEqual({ word: 'Brand new', tone: 'idle', glyph: 'dot' });
  });

  it('tell an active job from an active role', () => {
    expect(statusLook('active').tone).toBe('ok');
    expect(statusLook('active', 'job').tone).toBe('info');
  });

  it('mark a rejection in the timeline', () => {
    const event = { seq: 5, at: '2026-11-24T08:00:00.000Z', kind: 'approval.decided', stepId: 'review', text: 'Rejected' };
    expect(toTimelineItem({ ...event, data: { decision: 'reject' } }).tone).toBe('bad');
    expect(toTimelineItem({ ...event, data: { decision: 'approve' } }).tone).toBe('ok');
    expect(toTimelineItem({ ...event, kind: 'step.failed', data: null }).tone).toBe('bad');
  });
});

describe('formats', () => {
  it('reads well', () => {
    expect(words('data_use_agreement')).toBe('Data use agreement');
    expect(bytes(999)).toBe('999 B');
    expect(bytes(1_500)).toBe('1.5 kB');
    expect(bytes(18_421_760)).toBe('18 MB');
    expect(shortId('0193a5f2-7c1e-7b7a-9d50-6f2f0c8e4a11')).toBe('0193…8e4a11');
    expect(shortId('job-1')).toBe('job-1');
  });
});
