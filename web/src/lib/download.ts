/** Gives the browser a file that was made on this page. */
export function saveFile(name: string, content: Blob): void {
  const link = document.createElement('a');
  link.href = URL.createObjectURL(content);
  link.download = name;
  link.click();
  // The browser takes the content a moment after the click.
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The bytes of standard base64. */
export function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
}
