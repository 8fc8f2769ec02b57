/**
 * Bytes as a tree of parts that say their own lengths, whatever the format: a part is its head, a length, its parts or its content, a tail. Written
 * unchanged it gives the bytes that were read; changed, every length above still fits, unless a part lies about its own.
 */
import { type Bytes, bytes, concat } from '../../attestation/bytes.ts';

/** How a length is written, and what of. */
export type LengthForm = 'none' | 'der' | 'cbor' | 'cbor-indefinite' | 'cbor-value' | 'u8' | 'u16be' | 'u32be' | 'u16le' | 'u32le' | 'varint';

export interface Part {
  /** Tag, major type (CBOR: its 3 bits, in the high bits of one byte), name of a member, bytes before the length. */
  readonly head: Bytes;
  readonly form: LengthForm;
  /** What the length counts. */
  readonly unit: 'bytes' | 'parts' | 'pairs';
  readonly parts?: readonly Part[];
  /** Where there are no parts. */
  readonly content: Bytes;
  readonly join?: Bytes;
  readonly tail?: Bytes;
  /** Said instead of the true length. */
  readonly lie?: number;
}

export const EMPTY: Bytes = new Uint8Array(0);
export const leaf = (content: Bytes, head: Bytes = EMPTY, form: LengthForm = 'none'): Part => ({ head, form, unit: 'bytes', content });
export const group = (parts: readonly Part[], rest: Partial<Omit<Part, 'parts' | 'content'>> = {}): Part => ({ head: EMPTY, form: 'none', unit: 'bytes', ...rest, parts, content: EMPTY });

function little(value: number, width: number): Bytes {
  return bytes(Array.from({ length: width }, (_, i) => Math.floor(value / 2 ** (8 * i)) % 256));
}
const big = (value: number, width: number): Bytes => bytes(little(value, width).toReversed());

/** Shortest form, as DER and deterministic CBOR demand. */
function derLength(n: number): Bytes {
  if (n < 0x80) return bytes([n]);
  const width = n < 0x100 ? 1 : n < 0x1_0000 ? 2 : n < 0x100_0000 ? 3 : 4;
  return concat(bytes([0x80 | width]), big(n, width));
}

/** Protobuf: seven bits a byte, the lowest first. */
function varint(n: number): Bytes {
  const out: number[] = [];
  let rest = n;
  for (; rest >= 128; rest = Math.floor(rest / 128)) out.push(128 + (rest % 128));
  return bytes([...out, rest]);
}

function cborHead(major: number, n: number): Bytes {
  if (n < 24) return bytes([major | n]);
  const [info, width] = n < 0x100 ? [24, 1] : n < 0x1_0000 ? [25, 2] : n < 0x1_0000_0000 ? [26, 4] : [27, 8];
  return concat(bytes([major | info]), big(n, width));
}

const kept = new WeakMap<Part, { readonly written: Bytes; readonly size: number }>();

/** Writes all parts of a tree beforehand: changed trees share what a change left alone. */
export function keep(tree: Part): Part {
  tree.parts?.forEach(keep);
  kept.set(tree, { written: write(tree), size: sizeOf(tree) });
  return tree;
}
export const isKept = (part: Part): boolean => kept.has(part);

/** Roughly, in bytes. */
export const sizeOf = (part: Part): number => kept.get(part)?.size ?? part.head.length + 10 + part.content.length + (part.parts ?? []).reduce((n, p) => n + sizeOf(p), 0);

export const write = (part: Part): Bytes => kept.get(part)?.written ?? writeAnew(part);

function writeAnew(part: Part): Bytes {
  const inner = part.parts === undefined ? part.content : concat(...part.parts.flatMap((p, i) => (i > 0 && part.join !== undefined ? [part.join, write(p)] : [write(p)])));
  const count = part.parts?.length ?? 0;
  const length = part.lie ?? (part.unit === 'bytes' ? inner.length : part.unit === 'parts' ? count : Math.floor(count / 2));
  const tail = part.tail ?? EMPTY;
  const major = part.head[0] ?? 0;
  switch (part.form) {
    case 'none': return concat(part.head, inner, tail);
    case 'der': return concat(part.head, derLength(length), inner, tail);
    case 'cbor': return concat(cborHead(major, length), inner, tail);
    case 'cbor-indefinite': return part.lie === undefined ? concat(bytes([major | 31]), inner, bytes([0xff])) : concat(cborHead(major, length), inner);
    case 'cbor-value': return cborHead(major, part.lie ?? 0);
    case 'varint': return concat(part.head, varint(length), inner, tail);
    case 'u8': return concat(part.head, big(length, 1), inner, tail);
    case 'u16be': return concat(part.head, big(length, 2), inner, tail);
    case 'u32be': return concat(part.head, big(length, 4), inner, tail);
    case 'u16le': return concat(part.head, little(length, 2), inner, tail);
    case 'u32le': return concat(part.head, little(length, 4), inner, tail);
  }
}
