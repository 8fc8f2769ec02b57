/**
 * Strict DER (X.690, section 10) reader for certificates. A node is a view of the bytes received; nothing is re-encoded.
 * Refused: long tags, indefinite and non-minimal lengths, values past their parent's end, bytes after the value.
 * Never recursive: callers open one level at a time, so depth is theirs.
 */
import { type Bytes, hex, text } from '../bytes.ts';
import { refuse } from '../refusal.ts';

export interface DerNode {
  readonly tag: number;
  /** Tag, length and value, as received. */
  readonly raw: Bytes;
  readonly value: Bytes;
  /** Where, for refusals. */
  readonly path: string;
}

export const TAG = {
  boolean: 0x01, integer: 0x02, bitString: 0x03, octetString: 0x04, null: 0x05, oid: 0x06, utf8String: 0x0c, printableString: 0x13, ia5String: 0x16,
  utcTime: 0x17, generalizedTime: 0x18, sequence: 0x30, set: 0x31,
} as const;

const NEXT = 'Send the certificate exactly as its issuer made it.';
const bad = (path: string, have: string, need?: string): never => refuse('FMT_DER', path, NEXT, need === undefined ? { have } : { have, need });

/** One value that fills `data`. @throws Refusal FMT_DER */
export function readDer(data: Bytes, path: string): DerNode {
  const node = readAt(data, 0, path);
  if (node.raw.length !== data.length) bad(path, `${data.length - node.raw.length} bytes after the value`, 'none');
  return node;
}

/** The first value of `data`, and what is behind it (areas padded to a fixed size). @throws Refusal FMT_DER */
export function readDerPrefix(data: Bytes, path: string): { node: DerNode; rest: Bytes } {
  const node = readAt(data, 0, path);
  return { node, rest: data.subarray(node.raw.length) };
}

/** The values inside a SEQUENCE, SET or explicit tag. @throws Refusal FMT_DER */
export function children(node: DerNode, tag: number = TAG.sequence): DerNode[] {
  expectTag(node, tag);
  const out: DerNode[] = [];
  for (let at = 0; at < node.value.length;) {
    const child = readAt(node.value, at, `${node.path}.${out.length}`);
    out.push(child);
    at += child.raw.length;
  }
  return out;
}

function readAt(data: Bytes, start: number, path: string): DerNode {
  const tag = data[start];
  const first = data[start + 1];
  if (tag === undefined || first === undefined) return bad(path, 'the end of the bytes');
  if ((tag & 0x1f) === 0x1f) bad(path, 'a tag of several bytes');
  let at = start + 2;
  let length = first;
  if (first >= 0x80) {
    const size = first & 0x7f;
    if (size === 0) bad(path, 'an indefinite length');
    if (size > 3) bad(path, `a length of ${size} bytes`);
    length = 0;
    for (let i = 0; i < size; i++) {
      const byte = data[at + i];
      if (byte === undefined) return bad(path, 'the end of the bytes');
      length = length * 256 + byte;
    }
    at += size;
    if (length < 0x80 || length < 256 ** (size - 1)) bad(path, 'a length not in its shortest form');
  }
  if (length > data.length - at) bad(path, `a length of ${length} with ${data.length - at} bytes left`);
  return { tag, raw: data.subarray(start, at + length), value: data.subarray(at, at + length), path };
}

export function expectTag(node: DerNode | undefined, tag: number, path = 'der'): DerNode {
  if (node === undefined) return bad(path, 'nothing', `tag ${tag.toString(16)}`);
  if (node.tag !== tag) bad(node.path, `tag ${node.tag.toString(16)}`, `tag ${tag.toString(16)}`);
  return node;
}

/** A non-negative INTEGER: its bytes, big endian, without a leading zero (zero itself is one zero byte). */
export function unsigned(node: DerNode | undefined): Bytes {
  const { value, path } = expectTag(node, TAG.integer);
  const [first, second] = value;
  if (first === undefined) return bad(path, 'an empty INTEGER');
  if (first >= 0x80) bad(path, 'a negative INTEGER');
  if (first === 0 && second !== undefined && second < 0x80) bad(path, 'an INTEGER not in its shortest form');
  return first === 0 && value.length > 1 ? value.subarray(1) : value;
}

/** A small non-negative INTEGER. */
export function small(node: DerNode | undefined): number {
  const value = unsigned(node);
  if (value.length > 4) bad(node?.path ?? 'der', `an INTEGER of ${value.length} bytes`, 'at most 4');
  return value.reduce((n, byte) => n * 256 + byte, 0);
}

export function boolean(node: DerNode | undefined): boolean {
  const { value, path } = expectTag(node, TAG.boolean);
  if (value.length !== 1 || (value[0] !== 0 && value[0] !== 0xff)) bad(path, hex(value), 'BOOLEAN 00 or ff');
  return value[0] === 0xff;
}

/** Dotted decimal. */
export function oid(node: DerNode | undefined): string {
  const { value, path } = expectTag(node, TAG.oid);
  if (value.length === 0 || value.length > 32 || ((value.at(-1) as number) & 0x80) !== 0) bad(path, 'a malformed OBJECT IDENTIFIER');
  const arcs: number[] = [];
  let arc = 0;
  let fresh = true;
  for (const byte of value) {
    if (fresh && byte === 0x80) bad(path, 'an arc not in its shortest form');
    arc = arc * 128 + (byte & 0x7f);
    if (arc > Number.MAX_SAFE_INTEGER / 128) bad(path, 'an arc too large');
    fresh = (byte & 0x80) === 0;
    if (fresh) {
      arcs.push(arc);
      arc = 0;
    }
  }
  const first = arcs[0] as number;
  const root = Math.min(2, Math.floor(first / 40));
  return [root, first - 40 * root, ...arcs.slice(1)].join('.');
}

/** A BIT STRING of whole bytes (keys, signatures). */
export function octetAlignedBits(node: DerNode | undefined): Bytes {
  const { value, path } = expectTag(node, TAG.bitString);
  if (value[0] !== 0) bad(path, 'a BIT STRING with unused bits', 'whole bytes');
  return value.subarray(1);
}

/**
 * Names of the set bits of a BIT STRING with named bits. Without trailing zero bits, as DER demands (X.690, section 11.2.2), unless
 * `padded` is allowed: AMD writes the keyUsage of its SEV CAs as one whole byte.
 */
export function namedBits<T extends string>(node: DerNode | undefined, names: readonly T[], padded: 'padded' | 'minimal' = 'minimal'): ReadonlySet<T> {
  const { value, path } = expectTag(node, TAG.bitString);
  const [unused, ...data] = value;
  if (unused === undefined || unused > 7 || data.length === 0 || data.length * 8 > names.length + 7) return bad(path, 'a malformed BIT STRING of named bits');
  const last = data.at(-1) as number;
  if ((last & ((1 << unused) - 1)) !== 0 || (padded === 'minimal' && (last & (1 << unused)) === 0)) bad(path, 'a BIT STRING not in its shortest form');
  const set = new Set<T>();
  for (let bit = 0; bit < data.length * 8 - unused; bit++) {
    if (((data[bit >> 3] as number) & (0x80 >> (bit & 7))) === 0) continue;
    const name = names[bit];
    if (name === undefined) return bad(path, `bit ${bit}`, `bits 0 to ${names.length - 1}`);
    set.add(name);
  }
  return set;
}

const UTC = /^(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;
const GENERALIZED = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/;

/** Epoch seconds of a UTCTime up to 2049 or a GeneralizedTime from 2050 (RFC 5280, section 4.1.2.5). */
export function time(node: DerNode | undefined): number {
  if (node === undefined) return bad('der', 'nothing', 'a time');
  const ascii = String.fromCharCode(...node.value.subarray(0, 16));
  const match = node.tag === TAG.utcTime ? UTC.exec(ascii) : node.tag === TAG.generalizedTime ? GENERALIZED.exec(ascii) : null;
  if (match === null || ascii.length !== node.value.length) return bad(node.path, hex(node.value), 'a UTCTime or GeneralizedTime in seconds, Z');
  const [y, month, day, hour, minute, second] = match.slice(1).map(Number) as [number, number, number, number, number, number];
  const year = node.tag === TAG.utcTime ? (y < 50 ? 2000 + y : 1900 + y) : y;
  if (node.tag === TAG.generalizedTime && year < 2050) bad(node.path, ascii, 'UTCTime for years before 2050');
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second);
  const back = [date.getUTCFullYear(), date.getUTCMonth() + 1, date.getUTCDate(), date.getUTCHours(), date.getUTCMinutes(), date.getUTCSeconds()];
  if ([year, month, day, hour, minute, second].some((part, i) => part !== back[i])) bad(node.path, ascii, 'a date of the calendar');
  return date.getTime() / 1000;
}

/** Text of a PrintableString, UTF8String or IA5String. */
export function string(node: DerNode | undefined): string {
  if (node === undefined) return bad('der', 'nothing', 'a string');
  if (node.tag !== TAG.utf8String && node.tag !== TAG.printableString && node.tag !== TAG.ia5String) return bad(node.path, `tag ${node.tag.toString(16)}`, 'a PrintableString, UTF8String or IA5String');
  // ASCII without the decoder: certificates hold dozens of short names
  if (node.value.length <= 256 && node.value.every((byte) => byte < 0x80)) return String.fromCharCode(...node.value);
  if (node.tag !== TAG.utf8String && node.value.some((byte) => byte >= 0x80)) bad(node.path, 'a byte outside ASCII');
  try {
    return text(node.value);
  } catch {
    return bad(node.path, 'text that is not UTF-8');
  }
}
