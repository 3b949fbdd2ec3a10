import { flushSync } from 'svelte';
import { describe, expect, it } from 'vitest';
import { CalmList } from '../src/lib/calm.svelte';
import { live } from './live.svelte';

interface Row {
  id: string;
  status: string;
}
const row = (id: string, status = 'running'): Row => ({ id, status });

describe('a list under the pointer', () => {
  it('keeps its order, takes new content and counts what arrives', () => {
    const rows = live<Row[]>([row('a'), row('b')]);
    const list = new CalmList<Row>(() => rows.value, (one) => one.id, () => 'all');
    list.pause();
    rows.value = [row('c'), row('b', 'failed'), row('a')];
    flushSync();
    expect(list.items).toEqual([row('a'), row('b', 'failed')]);
    expect(list.waiting).toBe(1);
    list.refresh();
    expect(list.items.map((one) => one.id)).toEqual(['c', 'b', 'a']);
    expect(list.waiting).toBe(0);
  });

  it('keeps a row that left until the pointer leaves', () => {
    const rows = live<Row[]>([row('a'), row('b')]);
    const list = new CalmList<Row>(() => rows.value, (one) => one.id, () => 'all');
    list.pause();
    rows.value = [row('b')];
    expect(list.items.map((one) => one.id)).toEqual(['a', 'b']);
    list.resume();
    expect(list.items.map((one) => one.id)).toEqual(['b']);
  });

  it('does not hold on to another filter', () => {
    const rows = live<Row[]>([row('a')]);
    const scope = live('all');
    const list = new CalmList<Row>(() => rows.value, (one) => one.id, () => scope.value);
    list.pause();
    scope.value = 'failed';
    rows.value = [row('z')];
    expect(list.items.map((one) => one.id)).toEqual(['z']);
  });
});
