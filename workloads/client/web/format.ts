/** Numbers and bytes for people. */
import { hex } from '../../../attestation/bytes.ts';

export function duration(ms: number): string {
  if (ms < 1) return '< 1 ms';
  if (ms < 1000) return `${Math.round(ms)} ms`;
  return `${(ms / 1000).toFixed(ms < 10_000 ? 2 : 1)} s`;
}

export function size(bytes: number): string {
  if (bytes < 1024) return `${bytes} B`;
  if (bytes < 1024 * 1024) return `${(bytes / 1024).toFixed(1)} KiB`;
  return `${(bytes / (1024 * 1024)).toFixed(2)} MiB`;
}

export const exactly = (bytes: number): string => `${bytes.toLocaleString('en-US')} bytes`;

export const cats = (count: number): string => (count === 1 ? '1 cat' : `${count} cats`);

/** The beginning of a long identifier. */
export const brief = (value: string, length = 16): string => (value.length <= length + 1 ? value : `${value.slice(0, length)}…`);

export function base64(data: Uint8Array): string {
  let binary = '';
  for (let at = 0; at < data.length; at += 0x8000) binary += String.fromCharCode(...data.subarray(at, at + 0x8000));
  return btoa(binary);
}

const printable = (byte: number): string => (byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : '·');

export interface DumpLine { readonly offset: string; readonly at: number; readonly bytes: readonly string[]; readonly text: readonly string[] }

/** Lines of a hex dump. */
export function dump(data: Uint8Array, start = 0, width = 16): DumpLine[] {
  return Array.from({ length: Math.ceil(data.length / width) }, (_, line) => {
    const at = line * width;
    const part = data.subarray(at, at + width);
    return { offset: (start + at).toString(16).padStart(5, '0'), at, bytes: Array.from(part, (b) => hex(Uint8Array.of(b))), text: Array.from(part, printable) };
  });
}

export const dumpText = (data: Uint8Array): string =>
  dump(data).map((l) => `${l.offset}  ${l.bytes.join(' ').padEnd(47)}  ${l.text.join('')}`).join('\n');
