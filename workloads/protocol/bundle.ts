/**
 * The messages of several jobs in one answer, in the order in which they were asked for. Per job: what comes (1 byte: 0 the message, 1 the
 * code of why not), its length (4, big-endian), its bytes.
 */
import { type Bytes, text } from '../../attestation/bytes.ts';

const HEAD = 5;
const MESSAGE = 0;
const CODE = 1;
const MAX_CODE = 64;

export type Bundled = { readonly message: Bytes } | { readonly code: string };

/** What goes before the bytes of one job. */
export function bundleHead(what: 'message' | 'code', length: number): Bytes {
  const head = new DataView(new ArrayBuffer(HEAD));
  head.setUint8(0, what === 'message' ? MESSAGE : CODE);
  head.setUint32(1, length);
  return new Uint8Array(head.buffer);
}

/** The most that an answer may be, for messages of these sizes. */
export const bundleLimit = (sizes: readonly number[]): number => sizes.reduce((sum, size) => sum + HEAD + Math.max(size, MAX_CODE), 0);

/** @returns views into `data`. @throws RangeError when it is not for exactly `count` jobs */
export function unbundle(data: Bytes, count: number): Bundled[] {
  const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let at = 0;
  const parts = Array.from({ length: count }, (): Bundled => {
    if (data.length - at < HEAD) throw new RangeError('a bundle broke off');
    const [what, length] = [view.getUint8(at), view.getUint32(at + 1)];
    at += HEAD;
    if (length > data.length - at) throw new RangeError('a bundle broke off');
    at += length;
    const part = data.subarray(at - length, at);
    if (what === MESSAGE) return { message: part };
    const code = what === CODE && length <= MAX_CODE ? text(part) : '';
    if (!/^[A-Z][A-Z0-9_]{1,63}$/.test(code)) throw new RangeError('a bundle holds neither a message nor a code');
    return { code };
  });
  if (at !== data.length) throw new RangeError('a bundle holds more than was asked for');
  return parts;
}
