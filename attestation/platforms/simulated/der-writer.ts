/** The DER (X.690) that the simulated PKI needs: the writing side of formats/der.ts. */
import { type Bytes, bytes, concat, utf8 } from '../../bytes.ts';
import { TAG } from '../../formats/der.ts';

export function der(tag: number, ...parts: Uint8Array[]): Bytes {
  const value = concat(...parts);
  return concat(bytes([tag]), derLength(value.length), value);
}

function derLength(length: number): Bytes {
  if (length < 0x80) return bytes([length]);
  const digits: number[] = [];
  for (let rest = length; rest > 0; rest = Math.floor(rest / 256)) digits.unshift(rest % 256);
  return bytes([0x80 | digits.length, ...digits]);
}

export const sequence = (...parts: Uint8Array[]): Bytes => der(TAG.sequence, ...parts);
/** A SEQUENCE of any number of values: an argument list holds some ten thousand only. */
export function longSequence(parts: readonly Uint8Array[]): Bytes {
  const chunks: Bytes[] = [];
  for (let at = 0; at < parts.length; at += 1000) chunks.push(concat(...parts.slice(at, at + 1000)));
  return der(TAG.sequence, concat(...chunks));
}
export const set = (...parts: Uint8Array[]): Bytes => der(TAG.set, ...parts);
export const octets = (value: Uint8Array): Bytes => der(TAG.octetString, value);
export const bits = (value: Uint8Array, unused = 0): Bytes => der(TAG.bitString, bytes([unused]), value);
export const bool = (value: boolean): Bytes => der(TAG.boolean, bytes([value ? 0xff : 0]));
export const explicit = (number: number, ...parts: Uint8Array[]): Bytes => der(0xa0 | number, ...parts);
export const printable = (value: string): Bytes => der(TAG.printableString, utf8(value));
export const utf8String = (value: string): Bytes => der(TAG.utf8String, utf8(value));

/** A non-negative INTEGER from big-endian bytes. */
export function integer(value: Uint8Array): Bytes {
  let start = 0;
  while (start < value.length - 1 && value[start] === 0) start += 1;
  const digits = value.subarray(start);
  return der(TAG.integer, (digits[0] ?? 0) >= 0x80 || digits.length === 0 ? concat(bytes([0]), digits) : digits);
}

export function oid(dotted: string): Bytes {
  const [first = 0, second = 0, ...rest] = dotted.split('.').map(Number);
  const arcs = [40 * first + second, ...rest].flatMap((arc) => {
    const digits = [arc % 128];
    for (let high = Math.floor(arc / 128); high > 0; high = Math.floor(high / 128)) digits.unshift(0x80 | (high % 128));
    return digits;
  });
  return der(TAG.oid, bytes(arcs));
}

/** UTCTime up to 2049, GeneralizedTime from 2050 (RFC 5280, section 4.1.2.5). */
export function time(epochSeconds: number): Bytes {
  const digits = new Date(epochSeconds * 1000).toISOString().replace(/[-:T]/g, '').slice(0, 14);
  return Number(digits.slice(0, 4)) < 2050 ? der(TAG.utcTime, utf8(`${digits.slice(2)}Z`)) : der(TAG.generalizedTime, utf8(`${digits}Z`));
}

/** A BIT STRING of named bits without trailing zeros. */
export function namedBits(positions: readonly number[]): Bytes {
  const highest = Math.max(...positions);
  const value = new Uint8Array((highest >> 3) + 1);
  for (const bit of positions) value[bit >> 3] = (value[bit >> 3] as number) | (0x80 >> (bit & 7));
  return bits(value, 7 - (highest & 7));
}
