/** SubjectPublicKeyInfo (RFC 3279, RFC 5480) of keys that arrive as numbers: JWKs of HCL and TPM structures. The DER is the only one that there is. */
import { type Bytes, bytes, concat } from '../bytes.ts';

const RSA = [0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00];
const P256 = [0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
const P384 = [0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];

function der(tag: number, ...parts: Uint8Array[]): Bytes {
  const value = concat(...parts);
  const { length } = value;
  return concat(bytes(length < 0x80 ? [tag, length] : length < 0x100 ? [tag, 0x81, length] : [tag, 0x82, length >> 8, length & 255]), value);
}

function integer(magnitude: Bytes): Bytes {
  const digits = magnitude.subarray(Math.max(0, magnitude.findIndex((b) => b !== 0)));
  return der(0x02, (digits[0] ?? 0) >= 0x80 || digits.length === 0 ? bytes([0]) : bytes([]), digits);
}

/** @param modulus big endian */
export function rsaSpki(modulus: Bytes, exponent: number): Bytes {
  const e = bytes([exponent >>> 24, (exponent >> 16) & 255, (exponent >> 8) & 255, exponent & 255]);
  return der(0x30, bytes(RSA), der(0x03, bytes([0]), der(0x30, integer(modulus), integer(e))));
}

/** Coordinates in their full width. */
export const ecSpki = (curve: 'P-256' | 'P-384', x: Bytes, y: Bytes): Bytes => der(0x30, bytes(curve === 'P-256' ? P256 : P384), der(0x03, bytes([0, 4]), x, y));
