/**
 * Looks for plaintext where none may be: any 32-byte window of a picture, at any offset, raw or as hex or base64 (each alignment,
 * both alphabets; 42 characters of it, which hold 31 whole bytes). Windows with fewer than 16 distinct bytes are ignored: runs of
 * zeros are everywhere.
 */

const WIDTH = 32;
const MIN_DISTINCT = 16;
const BASE = 16_777_619;

export interface Hit { readonly encoding: string; readonly offset: number }
export interface LeakSearch {
  /** Windows that are looked for. */
  readonly windows: number;
  /** The first place where one of them stands. */
  search(haystack: Uint8Array): Hit | undefined;
}

interface Source { readonly encoding: string; readonly data: Uint8Array; readonly starts: Uint32Array }

/** Offsets whose window has enough distinct bytes to be no coincidence. */
function telling(data: Uint8Array): Uint32Array {
  const seen = new Uint32Array(256);
  const starts: number[] = [];
  let distinct = 0;
  for (let i = 0; i < data.length; i++) {
    if (seen[data[i] as number]!++ === 0) distinct += 1;
    if (i >= WIDTH && --seen[data[i - WIDTH] as number]! === 0) distinct -= 1;
    if (i >= WIDTH - 1 && distinct >= MIN_DISTINCT) starts.push(i - WIDTH + 1);
  }
  return Uint32Array.from(starts);
}

/** All windows of one width in an open-addressed table over one buffer. */
function table(width: number, sources: readonly Source[]): (haystack: Uint8Array) => Hit | undefined {
  const count = sources.reduce((n, s) => n + s.starts.length, 0);
  const bits = Math.max(10, Math.ceil(Math.log2(2 * count + 1)));
  const slots = new Int32Array(1 << bits).fill(-1);
  const all = new Uint8Array(sources.reduce((n, s) => n + s.data.length, 0));
  const bases: number[] = [];
  let top = 1;
  for (let i = 1; i < width; i++) top = Math.imul(top, BASE);
  const slotOf = (hash: number) => Math.imul(hash, 0x9e3779b1) >>> (32 - bits);
  let base = 0;
  for (const { data, starts } of sources) {
    all.set(data, base);
    bases.push(base);
    for (const start of starts) {
      let hash = 0;
      for (let i = 0; i < width; i++) hash = (Math.imul(hash, BASE) + (data[start + i] as number)) | 0;
      let slot = slotOf(hash);
      while (slots[slot] !== -1) slot = (slot + 1) & (slots.length - 1);
      slots[slot] = base + start;
    }
    base += data.length;
  }
  return (haystack) => {
    let hash = 0;
    for (let i = 0; i < haystack.length; i++) {
      if (i >= width) hash = (hash - Math.imul(haystack[i - width] as number, top)) | 0;
      hash = (Math.imul(hash, BASE) + (haystack[i] as number)) | 0;
      if (i < width - 1) continue;
      const from = i - width + 1;
      for (let slot = slotOf(hash), at = slots[slot] as number; at !== -1; slot = (slot + 1) & (slots.length - 1), at = slots[slot] as number) {
        let same = 0;
        while (same < width && all[at + same] === haystack[from + same]) same += 1;
        if (same === width) return { encoding: sources[bases.findLastIndex((b) => b <= at)]?.encoding ?? '', offset: from };
      }
    }
    return undefined;
  };
}

export function leakSearch(...plaintexts: readonly Uint8Array[]): LeakSearch {
  const raw: Source[] = [];
  const hexes: Source[] = [];
  const base64s: Source[] = [];
  for (const data of plaintexts) {
    const starts = telling(data);
    raw.push({ encoding: 'raw', data, starts });
    hexes.push({ encoding: 'hex', data: Buffer.from(Buffer.from(data).toString('hex'), 'latin1'), starts: starts.map((s) => 2 * s) });
    for (let shift = 0; shift < 3; shift++) {
      const aligned = starts.filter((s) => s % 3 === shift).map((s) => ((s - shift) / 3) * 4);
      for (const encoding of ['base64', 'base64url'] as const) base64s.push({ encoding, data: Buffer.from(Buffer.from(data.subarray(shift)).toString(encoding), 'latin1'), starts: aligned });
    }
  }
  const tables = [table(WIDTH, raw), table(2 * WIDTH, hexes), table(42, base64s)];
  return {
    windows: raw.reduce((n, s) => n + s.starts.length, 0),
    search(haystack) {
      for (const scan of tables) {
        const hit = scan(haystack);
        if (hit !== undefined) return hit;
      }
      return undefined;
    },
  };
}
