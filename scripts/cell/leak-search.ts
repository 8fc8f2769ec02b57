/**
 * Looks for plaintext where none may be: any 32-byte window of a picture, at any offset, raw or as hex or base64 (each alignment,
 * both alphabets; 42 characters of it, which hold 31 whole bytes). Windows with fewer than 16 distinct bytes are ignored: runs of
 * zeros are everywhere.
 *
 * Wherever a window stands, it covers whole blocks of 8 bytes of any grid laid over the haystack. So only the grid's blocks are looked
 * up, in a table of the blocks at every offset of the plaintexts, and a block that is found is extended to both sides. Raw blocks of one
 * value repeated are left out: a window has three whole blocks and eight bytes beside them, so with three such blocks fewer than 16 values.
 */

const WIDTH = 32;
const MIN_DISTINCT = 16;
const BLOCK = 8;
const PRESENT_BITS = 2;

export interface Hit { readonly encoding: string; readonly offset: number }
export interface LeakSearch {
  /** Windows that are looked for. */
  readonly windows: number;
  /** A place where one of them stands. */
  search(haystack: Uint8Array): Hit | undefined;
}

interface Source {
  readonly encoding: string;
  readonly data: Uint8Array;
  readonly width: number;
  /** Where windows begin. */
  readonly starts: Uint32Array;
}

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

function sourcesOf(data: Uint8Array): Source[] {
  const starts = telling(data);
  const sources: Source[] = [
    { encoding: 'raw', data, width: WIDTH, starts },
    { encoding: 'hex', data: Buffer.from(Buffer.from(data).toString('hex'), 'latin1'), width: 2 * WIDTH, starts: starts.map((s) => 2 * s) },
  ];
  for (let shift = 0; shift < 3; shift++) {
    const aligned = starts.filter((s) => s % 3 === shift).map((s) => ((s - shift) / 3) * 4);
    for (const encoding of ['base64', 'base64url'] as const) sources.push({ encoding, data: Buffer.from(Buffer.from(data.subarray(shift)).toString(encoding), 'latin1'), width: 42, starts: aligned });
  }
  return sources;
}

const word = (data: Uint8Array, at: number): number => (data[at]! | (data[at + 1]! << 8) | (data[at + 2]! << 16) | (data[at + 3]! << 24)) | 0;
/** Of the block's two words, little-endian; the high bits are the good ones. */
const mix = (a: number, b: number): number => {
  const h = Math.imul(a ^ (b >>> 15), 0x9e3779b1) ^ Math.imul(b, 0x85ebca6b);
  return Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
};

interface Table {
  /** Shift of a hash to a slot. */
  readonly shift: number;
  /** Positions in `all`, plus one; 0 is free. */
  readonly slots: Int32Array;
  /** A bit per hash, a few times finer than the slots and small enough for a cache: most blocks are none of ours. */
  readonly present: Uint32Array;
  readonly all: Uint8Array;
  readonly bases: readonly number[];
  /** 1 where a window begins. */
  readonly begins: Uint8Array;
}

function build(sources: readonly Source[]): Table {
  const all = new Uint8Array(sources.reduce((n, s) => n + s.data.length, 0));
  const begins = new Uint8Array(all.length);
  const bases: number[] = [];
  const positions: number[] = [];
  let base = 0;
  for (const { encoding, data, width, starts } of sources) {
    all.set(data, base);
    bases.push(base);
    let next = 0;
    for (const start of starts) {
      begins[base + start] = 1;
      for (let at = Math.max(next, start); at <= start + width - BLOCK; at++) {
        if (encoding !== 'raw' || !isConstant(data, at)) positions.push(base + at);
      }
      next = start + width - BLOCK + 1;
    }
    base += data.length;
  }
  const bits = Math.max(10, Math.ceil(Math.log2(2 * positions.length + 1)));
  const [slots, shift] = [new Int32Array(1 << bits), 32 - bits];
  const present = new Uint32Array(1 << (bits + PRESENT_BITS - 5));
  for (const at of positions) {
    const hash = mix(word(all, at), word(all, at + 4));
    const bit = hash >>> (shift - PRESENT_BITS);
    present[bit >>> 5]! |= 1 << (bit & 31);
    let slot = hash >>> shift;
    while (slots[slot] !== 0) slot = (slot + 1) & (slots.length - 1);
    slots[slot] = at + 1;
  }
  return { shift, slots, present, all, bases, begins };
}

function isConstant(data: Uint8Array, at: number): boolean {
  const first = data[at] as number;
  for (let i = 1; i < BLOCK; i++) if (data[at + i] !== first) return false;
  return true;
}

export function leakSearch(...plaintexts: readonly Uint8Array[]): LeakSearch {
  const sources = plaintexts.flatMap(sourcesOf);
  const { shift, slots, present, all, bases, begins } = build(sources);
  const mask = slots.length - 1;

  /** Grows what is equal around the block to both sides, inside one source, and looks for a whole window in it. */
  const extend = (haystack: Uint8Array, at: number, position: number): Hit | undefined => {
    const index = bases.findLastIndex((b) => b <= position);
    const { encoding, width, data } = sources[index] as Source;
    const [low, high] = [bases[index] as number, (bases[index] as number) + data.length];
    let left = 0;
    while (left < width && at > left && position - left > low && haystack[at - left - 1] === all[position - left - 1]) left += 1;
    let right = BLOCK;
    while (right < width && at + right < haystack.length && position + right < high && haystack[at + right] === all[position + right]) right += 1;
    for (let start = position - left; start + width <= position + right; start++) {
      if (begins[start] === 1) return { encoding, offset: at - (position - start) };
    }
    return undefined;
  };

  return {
    windows: sources.reduce((n, s) => n + (s.encoding === 'raw' ? s.starts.length : 0), 0),
    search(haystack) {
      // The grid may lie anywhere: where its words can be read as words.
      const skip = (4 - (haystack.byteOffset & 3)) & 3;
      const words = new Int32Array(haystack.buffer, haystack.byteOffset + skip, Math.max(0, (haystack.length - skip) >>> 2));
      for (let i = 0; i + 1 < words.length; i += 2) {
        const [a, b] = [words[i] as number, words[i + 1] as number];
        const hash = mix(a, b);
        const bit = hash >>> (shift - PRESENT_BITS);
        if ((present[bit >>> 5]! & (1 << (bit & 31))) === 0) continue;
        for (let slot = hash >>> shift, at = slots[slot] as number; at !== 0; slot = (slot + 1) & mask, at = slots[slot] as number) {
          if (word(all, at - 1) !== a || word(all, at + 3) !== b) continue;
          const hit = extend(haystack, skip + 4 * i, at - 1);
          if (hit !== undefined) return hit;
        }
      }
      return undefined;
    },
  };
}
