/** Big-endian fields, as TPMs take them. */
import { type Bytes, concat } from '../bytes.ts';

const uint = (length: number) => (value: number): Bytes => {
  const out = new Uint8Array(length);
  for (let i = length - 1, rest = value; i >= 0; i--, rest = Math.floor(rest / 256)) out[i] = rest % 256;
  return out;
};

export const [u8, u16, u32] = [uint(1), uint(2), uint(4)];
/** TPM2B: a length of two bytes and the bytes. */
export const sized = (value: Uint8Array): Bytes => concat(u16(value.length), value);
