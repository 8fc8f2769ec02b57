/**
 * Every single-byte change by 0x01, 0x80 and 0xff, and every truncation, of some bytes. The cases come in an order that jumps about, so that a
 * part of them is a sample of all.
 */
import type { Bytes } from '../../attestation/bytes.ts';

const XORS = [0x01, 0x80, 0xff] as const;
const PER_OFFSET = XORS.length + 1;

export interface SweepCase { readonly bytes: Bytes; readonly kind: 'flip' | 'truncation'; readonly offset: number; readonly what: string }

export const sweepSize = (length: number): number => length * PER_OFFSET;

const gcd = (a: number, b: number): number => (b === 0 ? a : gcd(b, a % b));

/** A step near the golden ratio that meets every case once. */
export function stride(total: number): number {
  let step = Math.max(1, Math.floor(total * 0.6180339887));
  while (gcd(step, total) !== 1) step++;
  return step;
}

/** @param turn 0 to sweepSize - 1, each of which is another case. */
export function sweepCase(original: Bytes, turn: number): SweepCase {
  const total = sweepSize(original.length);
  const index = Number((BigInt(turn) * BigInt(stride(total))) % BigInt(total));
  const offset = Math.floor(index / PER_OFFSET);
  const xor = XORS[index % PER_OFFSET];
  if (xor === undefined) return { bytes: original.slice(0, offset), kind: 'truncation', offset, what: `cut to ${offset} bytes` };
  const bytes = original.slice();
  bytes[offset] = (bytes[offset] as number) ^ xor;
  return { bytes, kind: 'flip', offset, what: `byte ${offset} xor 0x${xor.toString(16).padStart(2, '0')}` };
}

/** "3-7, 12" of offsets. */
export function ranges(offsets: Iterable<number>): string {
  const out: [number, number][] = [];
  for (const offset of [...new Set(offsets)].sort((a, b) => a - b)) {
    const last = out.at(-1);
    if (last !== undefined && offset === last[1] + 1) last[1] = offset;
    else out.push([offset, offset]);
  }
  return out.map(([a, b]) => (a === b ? `${a}` : `${a}-${b}`)).join(', ');
}
