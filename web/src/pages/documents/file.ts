// Which files a document takes: the same as the server's, so that a wrong one is told before it is sent.
import { bytes } from '../../lib/format';

export const MAX_BYTES = 25 * 1024 * 1024;

const KINDS: [ending: string, mediaType: string, kind: string][] = [
  ['pdf', 'application/pdf', 'PDF'],
  ['jpg', 'image/jpeg', 'JPEG'],
  ['jpeg', 'image/jpeg', 'JPEG'],
  ['png', 'image/png', 'PNG'],
  ['tif', 'image/tiff', 'TIFF'],
  ['tiff', 'image/tiff', 'TIFF'],
  ['webp', 'image/webp', 'WebP'],
  ['csv', 'text/csv', 'CSV'],
  ['txt', 'text/plain', 'text'],
  ['odt', 'application/vnd.oasis.opendocument.text', 'OpenDocument text'],
  ['ods', 'application/vnd.oasis.opendocument.spreadsheet', 'OpenDocument table'],
  ['docx', 'application/vnd.openxmlformats-officedocument.wordprocessingml.document', 'Word document'],
  ['xlsx', 'application/vnd.openxmlformats-officedocument.spreadsheetml.sheet', 'Excel table'],
];

export const ACCEPT = KINDS.map(([ending]) => `.${ending}`).join(',');
export const TAKEN = 'PDF, pictures, plain text, CSV, OpenDocument or Office files, up to 25 MiB.';

export function kindOf(mediaType: string): string {
  return KINDS.find(([, type]) => type === mediaType)?.[2] ?? mediaType;
}

/** What a browser calls a kind of file depends on the machine; the ending does not. */
export function mediaTypeOf(name: string): string | undefined {
  const ending = name.slice(name.lastIndexOf('.') + 1).toLowerCase();
  return KINDS.find(([known]) => known === ending)?.[1];
}

/** Why a file is not taken. */
export function faultOf(file: { name: string; size: number }): string | undefined {
  if (mediaTypeOf(file.name) === undefined) return `${file.name} is not of a kind that is taken.`;
  if (file.size === 0) return `${file.name} is empty.`;
  if (file.size > MAX_BYTES) return `${file.name} has ${bytes(file.size)}. That is more than 25 MiB.`;
  return undefined;
}
