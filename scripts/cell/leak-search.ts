/**
 * Looks for plaintext where none may be: any 32-byte window of a picture, at any offset, raw or as base64 (each alignment,
 * both alphabets) or hex. Windows with fewer than 16 distinct bytes are ignored: runs of zeros are everywhere.
 */

const WIDTH = 32;
const MIN_DISTINCT = 16;
const BASE = 16_777_619;
const FILTER_BITS = 22;

export interface Hit { readonly encoding: string; readonly offset: number }

interface Needle { readonly encoding: string; readonly data: Uint8Array; readonly width: number; readonly top: number; readonly starts: Map<number, number[]>; readonly filter: Uint8Array }

function distinct(data: Uint8Array, at: number, width: number): number {
  return new Set(data.subarray(at, at + width)).size;
}

/** Rolling polynomial hash modulo 2^32. */
function* hashes(data: Uint8Array, width: number, top: number): Generator<[number, number]> {
  let hash = 0;
  for (let i = 0; i < data.length; i++) {
    if (i >= width) hash = (hash - Math.imul(data[i - width] as number, top)) | 0;
    hash = (Math.imul(hash, BASE) + (data[i] as number)) | 0;
    if (i >= width - 1) yield [i - width + 1, hash];
  }
}

function needle(encoding: string, data: Uint8Array, width: number, least: number): Needle {
  let top = 1;
  for (let i = 1; i < width; i++) top = Math.imul(top, BASE);
  const starts = new Map<number, number[]>();
  const filter = new Uint8Array(1 << (FILTER_BITS - 3));
  for (const [at, hash] of hashes(data, width, top)) {
    if (distinct(data, at, width) < least) continue;
    starts.set(hash, [...(starts.get(hash) ?? []), at]);
    const bit = hash >>> (32 - FILTER_BITS);
    filter[bit >>> 3] = (filter[bit >>> 3] as number) | (1 << (bit & 7));
  }
  return { encoding, data, width, top: top | 0, starts, filter };
}

export function leakSearch(plaintext: Uint8Array): { windows: number; search(haystack: Uint8Array): Hit | undefined } {
  const ascii = (value: string) => Buffer.from(value, 'latin1');
  const needles: Needle[] = [needle('raw', plaintext, WIDTH, MIN_DISTINCT)];
  needles.push(needle('hex', ascii(Buffer.from(plaintext).toString('hex')), 2 * WIDTH, 8));
  for (let shift = 0; shift < 3; shift++) {
    const shifted = Buffer.from(plaintext.subarray(shift));
    needles.push(needle(`base64+${shift}`, ascii(shifted.toString('base64')), 43, MIN_DISTINCT), needle(`base64url+${shift}`, ascii(shifted.toString('base64url')), 43, MIN_DISTINCT));
  }
  return {
    windows: [...(needles[0]?.starts.values() ?? [])].reduce((n, s) => n + s.length, 0),
    search(haystack) {
      for (const n of needles) {
        const hit = scan(n, haystack);
        if (hit !== undefined) return { encoding: n.encoding, offset: hit };
      }
      return undefined;
    },
  };
}

/** The hot loop: written out, because a generator per byte of a process's memory would take minutes. */
function scan({ data, width, top, starts, filter }: Needle, haystack: Uint8Array): number | undefined {
  let hash = 0;
  for (let i = 0; i < haystack.length; i++) {
    if (i >= width) hash = (hash - Math.imul(haystack[i - width] as number, top)) | 0;
    hash = (Math.imul(hash, BASE) + (haystack[i] as number)) | 0;
    if (i < width - 1) continue;
    const bit = hash >>> (32 - FILTER_BITS);
    if (((filter[bit >>> 3] as number) & (1 << (bit & 7))) === 0) continue;
    const from = i - width + 1;
    for (const start of starts.get(hash) ?? []) {
      let same = 0;
      while (same < width && data[start + same] === haystack[from + same]) same += 1;
      if (same === width) return from;
    }
  }
  return undefined;
}
