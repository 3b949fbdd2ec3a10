import { describe, expect, it } from 'vitest';
import { ACCEPT, faultOf, kindOf, MAX_BYTES, mediaTypeOf } from '../src/pages/documents/file';

describe('the files that a document takes', () => {
  it('go by their ending, whatever its case', () => {
    expect(mediaTypeOf('a.b.PDF')).toBe('application/pdf');
    expect(mediaTypeOf('page.html')).toBeUndefined();
    expect(mediaTypeOf('no-ending')).toBeUndefined();
    expect(ACCEPT.split(',')).toContain('.docx');
  });

  it('are told by a word that people know', () => {
    expect(kindOf('image/jpeg')).toBe('JPEG');
    expect(kindOf('application/x-unheard-of')).toBe('application/x-unheard-of');
  });

  it('have at most 25 MiB, and something in them', () => {
    expect(faultOf({ name: 'a.pdf', size: MAX_BYTES })).toBeUndefined();
    expect(faultOf({ name: 'a.pdf', size: MAX_BYTES + 1 })).toMatch(/more than 25 MiB/);
    expect(faultOf({ name: 'a.pdf', size: 0 })).toMatch(/is empty/);
    expect(faultOf({ name: 'a.exe', size: 1 })).toMatch(/not of a kind/);
  });
});
