// Mails in words.
import type { MailChoiceInForce } from './types';

const every = (minutes: number) => (minutes === 1 ? 'minute' : `${minutes} minutes`);
const within = (minutes: number) => (minutes === 1 ? 'a minute' : `${minutes} minutes`);

/** What a choice of mails comes to. */
export function choiceText({ mail, digestAfter, digestMinutes }: MailChoiceInForce): string {
  if (mail === 'each') return 'Each message is a mail of its own, at once, however many there are.';
  if (mail === 'together') return `What comes is put together into one mail, at most one every ${every(digestMinutes)}.`;
  const mails = digestAfter === 1 ? 'one mail' : `${digestAfter} mails`;
  return `Each message is a mail of its own. After ${mails} within ${within(digestMinutes)}, the next ones come together in one.`;
}

/** Templates name their values like this. */
export const placeholder = (name: string) => `{{ ${name} }}`;

/** The text with `{{ name }}` put where the cursor is, and where the cursor stands then. */
export function insertAt(text: string, start: number, end: number, name: string): { text: string; cursor: number } {
  const put = placeholder(name);
  return { text: text.slice(0, start) + put + text.slice(end), cursor: start + put.length };
}
