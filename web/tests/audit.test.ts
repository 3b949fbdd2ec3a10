import { describe, expect, it } from 'vitest';
import { dayBegins, dayEnds } from '../src/lib/days';
import { fromBase64 } from '../src/lib/download';
import { changesOf, shownValue } from '../src/pages/audit/diff';
import { objectHref } from '../src/pages/audit/objects';
import { verdictLook } from '../src/pages/audit/verdicts';

describe('what an entry changed', () => {
  it('is told place by place', () => {
    const before = { name: 'Reader', reconcile: { policy: 'report', remove: null }, kept: 1 };
    const after = { name: 'Writer', reconcile: { policy: 'repair', remove: null }, kept: 1 };
    expect(changesOf(before, after)).toEqual([
      { path: 'name', before: 'Reader', after: 'Writer' },
      { path: 'reconcile.policy', before: 'report', after: 'repair' },
    ]);
  });

  it('tells a field that came or went', () => {
    expect(changesOf({ a: 1 }, { b: 2 })).toEqual([
      { path: 'a', before: 1, after: undefined },
      { path: 'b', before: undefined, after: 2 },
    ]);
  });

  it('compares lists of things item by item while they are as long, and others as a whole', () => {
    expect(changesOf({ grants: [{ state: 'pending' }] }, { grants: [{ state: 'provisioned' }] })).toEqual([
      { path: 'grants[0].state', before: 'pending', after: 'provisioned' },
    ]);
    expect(changesOf({ ids: ['a'] }, { ids: ['a', 'b'] })).toEqual([{ path: 'ids', before: ['a'], after: ['a', 'b'] }]);
  });

  it('is every field of what was made or removed', () => {
    expect(changesOf(null, { name: 'Reader', entitlements: [] })).toEqual([
      { path: 'name', before: undefined, after: 'Reader' },
      { path: 'entitlements', before: undefined, after: [] },
    ]);
    expect(changesOf({ name: 'Reader' }, null)).toEqual([{ path: 'name', before: 'Reader', after: undefined }]);
  });

  it('is nothing between equal states, whatever the order of their fields', () => {
    expect(changesOf({ a: [1, { b: 2, c: 3 }] }, { a: [1, { c: 3, b: 2 }] })).toEqual([]);
    expect(changesOf(null, null)).toEqual([]);
  });

  it('tells an empty text from none', () => {
    expect(shownValue('')).toBe('“”');
    expect(shownValue(null)).toBe('–');
    expect(shownValue({ a: 1 })).toBe('{"a":1}');
  });
});

describe('days of a filter', () => {
  it('begin and end at midnight of the zone that is read in', () => {
    expect(dayBegins('2031-03-01', 'utc')).toBe('2031-03-01T00:00:00.000Z');
    expect(dayEnds('2031-12-31', 'utc')).toBe('2032-01-01T00:00:00.000Z');
    expect(dayEnds('2031-03-30', 'local')).toBe(new Date(2031, 2, 31).toISOString());
  });

  it('are none when the address says something else', () => {
    for (const text of ['', 'yesterday', '2031-3-1']) expect(dayBegins(text, 'utc')).toBeNull();
  });
});

describe('the verdict of a verification', () => {
  const sound = { rows: 1234, erased: 0, fault: null, checkpointsChecked: 12 };

  it('is sound, by the entries and by the checkpoints', () => {
    const look = verdictLook(sound, 3200);
    expect(look).toMatchObject({ tone: 'ok', title: 'Sound' });
    expect(look.text).toContain('All 1,234 entries were read in 3.2 s');
    expect(look.text).toContain('12 checkpoints agree');
  });

  it('says so when there was no checkpoint to compare with', () => {
    const look = verdictLook({ ...sound, checkpointsChecked: 0 });
    expect(look.tone).toBe('info');
    expect(look.text).toContain('replaced as a whole would not show');
  });

  it('does not take what was erased for tampering', () => {
    expect(verdictLook({ ...sound, erased: 1 })).toMatchObject({ tone: 'ok' });
    expect(verdictLook({ ...sound, erased: 1 }).text).toContain('1 state of entries was erased, as entries say');
  });

  it('names the first entry at fault and the kind of fault', () => {
    const look = verdictLook({ ...sound, rows: 511, fault: { seq: 512, kind: 'link', detail: 'does not name the hash of the row before' } });
    expect(look).toMatchObject({ tone: 'bad', title: 'Tampered with at entry 512' });
    expect(look.text).toContain('It does not name the entry before it');
    expect(look.text).toContain('The 511 entries before it are what was written');
    expect(look.seq).toBe(512);
  });

  it('keeps apart what nobody can tell, and tells who did not answer', () => {
    const cut = verdictLook({ ...sound, rows: 0, outcome: 'unknown', detail: 'the disk failed' });
    expect(cut).toMatchObject({ tone: 'warn', title: 'Nobody can tell' });
    expect(cut.text).toContain('says nothing about whether it is sound. the disk failed.');
    const alone = verdictLook({ ...sound, outcome: 'sound', silent: ['s3'] });
    expect(alone).toMatchObject({ tone: 'info', title: 'Sound' });
    expect(alone.text).toContain('Not compared with the newest checkpoint in s3, which did not answer');
  });

  it('leads to no entry that is not there', () => {
    const cut = verdictLook({ ...sound, rows: 40, fault: { seq: 41, kind: 'short', detail: 'signed for 60 entries; here are 40' } });
    expect(cut).toMatchObject({ tone: 'bad', title: 'Tampered with: cut off after entry 40' });
    const note = verdictLook({ ...sound, rows: 0, fault: { seq: 0, kind: 'note', detail: 'not ours' } });
    expect(note).toMatchObject({ tone: 'bad', title: 'Tampered with: a checkpoint' });
    expect([cut.seq, note.seq]).toEqual([undefined, undefined]);
  });
});

describe('an entry', () => {
  it('leads to the page of its object, if there is one', () => {
    expect(objectHref({ entity: 'role', entityId: 'rol_1' })).toBe('/roles?id=rol_1');
    expect(objectHref({ entity: 'clock', entityId: 'clock' })).toBeNull();
  });

  it('is saved as the bytes that were hashed', () => {
    expect([...fromBase64('AP+A')]).toEqual([0, 255, 128]);
  });
});
