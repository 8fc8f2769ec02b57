/** Hands a file to the user, made here. */
export function download(file: string, content: string | Uint8Array, type = 'application/octet-stream'): void {
  const url = URL.createObjectURL(new Blob([content as BlobPart], { type }));
  const link = document.createElement('a');
  link.href = url;
  link.download = file;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}

export const pretty = (value: unknown): string => `${JSON.stringify(value, null, 2)}\n`;
