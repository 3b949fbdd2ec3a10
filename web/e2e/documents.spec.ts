import { createHash } from 'node:crypto';
import type { Page } from '@playwright/test';
import { faultsOf } from './axe';
import { EMAILS, expect, open, PASSWORD, signIn, test } from './fixtures';
import { expectNoFaults, overflow } from './look';

const PDF = { name: 'Zertifikat März.pdf', mimeType: 'application/pdf', buffer: Buffer.from('%PDF-1.7 of a certificate') };

/** Hands in a document of one's own, without a file. */
async function submitted(page: Page, csrfToken: string): Promise<string> {
  const url = process.env.TENURE_URL!;
  const headers = { origin: url, 'x-csrf-token': csrfToken };
  const me = (await (await page.request.get(`${url}/api/auth/me`)).json()) as { person: { id: string } };
  const data = { type: 'training-certificate', personId: me.person.id, validFrom: '2020-01-01T00:00:00Z', expiresAt: '2099-01-01T00:00:00Z' };
  const answer = await page.request.post(`${url}/api/documents`, { data, headers });
  expect(answer.status(), await answer.text()).toBe(201);
  return ((await answer.json()) as { id: string }).id;
}

const panelOf = (page: Page) => page.getByRole('region', { name: 'Chosen document' });

test('a file is chosen by keyboard, shown and saved', async ({ page }) => {
  const id = await submitted(page, await signIn(page, 'ada'));
  await open(page, `/documents?id=${id}`);
  const panel = panelOf(page);
  await expect(panel.getByText('None yet')).toBeVisible();
  await expectNoFaults(page);

  const chooser = page.waitForEvent('filechooser');
  await panel.getByRole('button', { name: 'Choose a file' }).press('Enter');
  await (await chooser).setFiles(PDF);
  await expect(panel.getByText('PDF, 25 B')).toBeVisible();
  await expectNoFaults(page);

  const download = page.waitForEvent('download');
  await panel.getByRole('link', { name: PDF.name }).click();
  expect((await download).suggestedFilename()).toBe(PDF.name);
  await page.setViewportSize({ width: 360, height: 800 });
  expect(await overflow(page)).toBe(0);
});

test('a file is dropped, and one of another kind is refused before it is sent', async ({ page }) => {
  const id = await submitted(page, await signIn(page, 'ada'));
  await open(page, `/documents?id=${id}`);
  const panel = panelOf(page);
  const drop = async (name: string, text: string) => {
    const data = await page.evaluateHandle(
      ([name, text]) => {
        const transfer = new DataTransfer();
        transfer.items.add(new File([text!], name!));
        return transfer;
      },
      [name, text],
    );
    await panel.getByRole('group', { name: 'Hand in the file' }).dispatchEvent('drop', { dataTransfer: data });
  };
  await drop('page.html', '<p>');
  await expect(panel.getByRole('alert')).toContainText('page.html is not of a kind that is taken.');
  expect(await faultsOf(page)).toEqual([]);
  await drop('notes.txt', 'notes');
  await expect(panel.getByText('text, 5 B')).toBeVisible();
  await expect(panel.getByRole('alert')).toHaveCount(0);
});

test('whoever neither is the subject nor handed it in is offered no upload', async ({ page }) => {
  const id = await submitted(page, await signIn(page, 'ada'));
  await signIn(page, 'mona');
  await open(page, `/documents?id=${id}`);
  await expect(panelOf(page).getByText('None yet')).toBeVisible();
  await expect(panelOf(page).getByRole('button', { name: /^Choose/ })).toHaveCount(0);
});

/** Hands in another file for a document of Ada's, from a browser of her own. */
async function handIn(page: Page, id: string, text: string): Promise<void> {
  const url = process.env.TENURE_URL!;
  const ada = await page.context().browser()!.newContext({ baseURL: url });
  const signedIn = await ada.request.post(`${url}/api/auth/login`, {
    data: { email: EMAILS.ada, password: PASSWORD },
    headers: { origin: url },
  });
  const { csrfToken } = (await signedIn.json()) as { csrfToken: string };
  const answer = await ada.request.put(`${url}/api/documents/${id}/content?name=certificate.txt`, {
    data: Buffer.from(text),
    headers: { origin: url, 'x-csrf-token': csrfToken, 'content-type': 'text/plain' },
  });
  expect(answer.status(), await answer.text()).toBe(200);
  await ada.close();
}

test('what is approved is the file that the reviewer saw', async ({ page }) => {
  const id = await submitted(page, await signIn(page, 'ada'));
  await handIn(page, id, 'the first');
  await signIn(page, 'mona');
  await open(page, `/documents?id=${id}`);
  const panel = panelOf(page);
  await expect(panel.getByText('text, 9 B')).toBeVisible();
  await expectNoFaults(page);
  await panel.getByRole('button', { name: 'Reject' }).click();
  await expect(panel.getByText('Say why you reject it.')).toBeVisible();

  await handIn(page, id, 'another one');
  await expect(panel.getByRole('alert')).toContainText('The file has changed');
  await expect(panel.getByRole('button', { name: 'Approve' })).toBeDisabled();
  await expectNoFaults(page);
  await panel.getByRole('button', { name: 'I have looked at the new file' }).press('Enter');

  const sent = page.waitForRequest((request) => request.url().endsWith(`/api/documents/${id}/approve`));
  await panel.getByRole('button', { name: 'Approve' }).press('Enter');
  const hash = createHash('sha256').update('another one').digest('hex');
  expect((await sent).postDataJSON()).toEqual({ reason: null, sha256: hash });
  await expect(panel.getByText('Approved').first()).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Approve' })).toHaveCount(0);
  await expectNoFaults(page);
});

test('a file that came between the look and the approval is not approved', async ({ page, watch }) => {
  const id = await submitted(page, await signIn(page, 'ada'));
  await handIn(page, id, 'the first');
  await signIn(page, 'mona');
  await open(page, `/documents?id=${id}`);
  const panel = panelOf(page);
  await expect(panel.getByText('text, 9 B')).toBeVisible();
  watch.allow(/status of 409/);
  // The new file arrives while the approval is on its way.
  await page.route('**/approve', async (route) => {
    await handIn(page, id, 'another one');
    await route.continue();
  });
  await panel.getByRole('button', { name: 'Approve' }).click();
  await expect(panel.getByText(/not the one that you looked at/)).toBeVisible();
  await expect(panel.getByRole('button', { name: 'Approve' })).toBeDisabled();
});

test('nobody is offered to review what is their own', async ({ page }) => {
  const id = await submitted(page, await signIn(page, 'mona'));
  await open(page, `/documents?id=${id}`);
  await expect(panelOf(page).getByText('None yet')).toBeVisible();
  await expect(panelOf(page).getByRole('button', { name: 'Approve' })).toHaveCount(0);
});
