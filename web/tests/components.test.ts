import { fireEvent, render, screen } from '@testing-library/svelte';
import { createRawSnippet } from 'svelte';
import { describe, expect, it, vi } from 'vitest';
import { Problem } from '../src/lib/api';
import { prefs } from '../src/lib/prefs.svelte';
import { tooltip } from '../src/lib/tooltip.svelte';
import Button from '../src/ui/Button.svelte';
import ErrorState from '../src/ui/ErrorState.svelte';
import Input from '../src/ui/Input.svelte';
import Pager from '../src/ui/Pager.svelte';
import ProblemBanner from '../src/ui/ProblemBanner.svelte';
import Status from '../src/ui/Status.svelte';
import Time from '../src/ui/Time.svelte';
import Form from './Form.svelte';

const text = (words: string) => createRawSnippet(() => ({ render: () => `<span>${words}</span>` }));

describe('Input', () => {
  it('ties label, hint and fault to the field', () => {
    render(Input, { label: 'Reason', value: '', hint: 'Short.', error: 'Needed.' });
    const field = screen.getByLabelText('Reason');
    expect(field.getAttribute('aria-invalid')).toBe('true');
    const described = field.getAttribute('aria-describedby')!.split(' ').map((id) => document.getElementById(id)?.textContent);
    expect(described).toEqual(['Short.', 'Needed.']);
  });
});

describe('a complaint', () => {
  const shown = () => screen.queryByText('Choose a name.') !== null;
  const field = () => screen.getByLabelText('Name');
  const type = (value: string) => fireEvent.input(field(), { target: { value } });

  it('goes as soon as the value is another, and is back with the value it was about', async () => {
    render(Form, { error: 'Choose a name.' });
    expect(shown()).toBe(true);
    await type('Ada');
    expect(shown()).toBe(false);
    expect(field().getAttribute('aria-invalid')).toBeNull();
    await type('');
    expect(shown()).toBe(true);
  });

  it('is told again when what was sent has the same fault', async () => {
    const { container } = render(Form, { error: 'Choose a name.' });
    await type('Ada');
    expect(shown()).toBe(false);
    await fireEvent.submit(container.querySelector('form')!);
    expect(shown()).toBe(true);
  });

  it('is told of a new value when it is a new one', async () => {
    const { rerender } = render(Form, { error: 'Choose a name.' });
    await type('Ada');
    await rerender({ error: 'Choose another name.' });
    expect(screen.getByText('Choose another name.')).toBeTruthy();
  });

  it('of several boxes goes when one of them is ticked', async () => {
    render(Form, { error: 'Choose a name.', boxes: ['One', 'Two'] });
    const group = screen.getByRole('group', { name: 'Name' });
    expect(document.getElementById(group.getAttribute('aria-describedby')!)?.textContent).toBe('Choose a name.');
    await fireEvent.click(screen.getByLabelText('Two'));
    expect(shown()).toBe(false);
  });
});

describe('Button', () => {
  it('cannot be pressed twice while busy', async () => {
    const onclick = vi.fn();
    render(Button, { children: text('Approve'), busy: true, onclick });
    const button = screen.getByRole('button', { name: 'Approve' });
    await fireEvent.click(button);
    expect((button as HTMLButtonElement).disabled).toBe(true);
    expect(onclick).not.toHaveBeenCalled();
  });

  it('is a link when it leads somewhere', () => {
    render(Button, { children: text('Runs'), href: '/runs' });
    expect(screen.getByRole('link', { name: 'Runs' }).getAttribute('href')).toBe('/runs');
  });
});

describe('Status', () => {
  it('says the state in a word, beside a glyph that is hidden from readers', () => {
    const { container } = render(Status, { status: 'failed' });
    expect(container.textContent).toBe('Failed');
    expect(container.querySelector('svg')?.getAttribute('aria-hidden')).toBe('true');
  });
});

describe('Time', () => {
  it('shows the exact instant on focus, in the chosen zone', async () => {
    prefs.zone = 'utc';
    render(Time, { at: '2020-01-02T03:04:05.000Z' });
    const time = screen.getByText(/years ago/);
    expect(time.getAttribute('datetime')).toBe('2020-01-02T03:04:05.000Z');
    await fireEvent.focus(time);
    expect(tooltip.shown?.text).toBe('2 Jan 2020, 03:04:05 UTC');
    await fireEvent.keyDown(time, { key: 'Escape' });
    expect(tooltip.shown).toBeNull();
  });

  it('has a word for no instant', () => {
    render(Time, { at: null, none: 'Never' });
    expect(screen.getByText('Never')).toBeTruthy();
  });
});

describe('problems', () => {
  it('differ for forbidden, gone and broken', () => {
    const one = (status: number) => render(ErrorState, { problem: new Problem({ status, title: 'Title' }), what: 'this run', onretry: () => {} });
    one(403);
    expect(screen.getByText('You may not see this run')).toBeTruthy();
    expect(screen.queryByRole('button', { name: 'Try again' })).toBeNull();
    one(404);
    expect(screen.getByText('There is nothing here that you can see')).toBeTruthy();
    one(500);
    expect(screen.getAllByRole('button', { name: 'Try again' }).length).toBeGreaterThan(0);
  });

  it('offer the request id, and faults that stand at no field', () => {
    const problem = new Problem({
      status: 422,
      title: 'Refused',
      requestId: 'req-12',
      errors: [
        { field: 'reason', message: 'Needed.' },
        { field: 'steps[2]', message: 'Unknown.' },
      ],
    });
    render(ProblemBanner, { problem, shown: ['reason'] });
    expect(screen.getByRole('button', { name: 'Copy request id req-12' })).toBeTruthy();
    expect(screen.getByText('steps[2]: Unknown.')).toBeTruthy();
    expect(screen.queryByText(/Needed/)).toBeNull();
  });
});

describe('Pager', () => {
  it('leads on while there is more, and back to the start', () => {
    window.history.replaceState(null, '', '/runs?status=failed&cursor=c1');
    render(Pager, { nextCursor: 'c2', shown: 50 });
    expect(screen.getByRole('link', { name: 'Next page' }).getAttribute('href')).toBe('/runs?status=failed&cursor=c2');
    expect(screen.getByRole('link', { name: 'First page' }).getAttribute('href')).toBe('/runs?status=failed');
  });

  it('is absent when all is on one page', () => {
    const { container } = render(Pager, { nextCursor: null, shown: 3 });
    expect(container.querySelector('nav')).toBeNull();
  });
});
