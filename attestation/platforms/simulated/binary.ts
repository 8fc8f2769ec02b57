/** The writing side of formats/byte-reader.ts. */
import { type Bytes, concat } from '../../bytes.ts';

function number(bytes: number, endian: 'little' | 'big') {
  return (value: number | bigint): Bytes => {
    const out = new Uint8Array(bytes);
    let rest = BigInt(value);
    for (let i = 0; i < bytes; i++, rest >>= 8n) out[endian === 'little' ? i : bytes - 1 - i] = Number(rest & 255n);
    return out;
  };
}

export const [u16be, u32be, u64be] = [number(2, 'big'), number(4, 'big'), number(8, 'big')];
export const [u16le, u32le, u64le] = [number(2, 'little'), number(4, 'little'), number(8, 'little')];
export const u8 = (value: number): Bytes => Uint8Array.of(value);
/** TPM2B: a length of two bytes and the bytes. */
export const tpm2b = (value: Uint8Array): Bytes => concat(u16be(value.length), value);
