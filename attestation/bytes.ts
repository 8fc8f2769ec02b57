/**
 * Byte helpers that run unchanged in Node and in browsers. Decoders are strict: they accept exactly
 * one spelling of each value, so that what was compared is what was sent.
 */

/** WebCrypto takes views over ArrayBuffer only; every byte string of this project is one. */
export type Bytes = Uint8Array<ArrayBuffer>;

const HEX = /^(?:[0-9a-f]{2})*$/;
const B64U = /^[A-Za-z0-9_-]*$/;
const ENCODER = new TextEncoder();
const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
const HEX_OF = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'));

export function bytes(source: ArrayBufferLike | ArrayLike<number> | Uint8Array): Bytes {
  return new Uint8Array(source as ArrayBuffer);
}

export function utf8(text: string): Bytes {
  return ENCODER.encode(text);
}

/** Strict UTF-8: throws a TypeError on malformed input. */
export function text(data: Uint8Array): string {
  return STRICT.decode(data);
}

export function concat(...parts: Uint8Array[]): Bytes {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

export function hex(data: Uint8Array): string {
  let out = '';
  for (const byte of data) out += HEX_OF[byte] as string;
  return out;
}

/** Lower-case hex only. @throws RangeError on anything else. */
export function fromHex(value: string): Bytes {
  if (!HEX.test(value)) throw new RangeError('not lower-case hex');
  return Uint8Array.from({ length: value.length / 2 }, (_, i) => Number.parseInt(value.slice(2 * i, 2 * i + 2), 16));
}

/** base64url without padding (RFC 4648, section 5). */
export function b64u(data: Uint8Array): string {
  let binary = '';
  for (let i = 0; i < data.length; i += 0x8000) binary += String.fromCharCode(...data.subarray(i, i + 0x8000));
  return btoa(binary).replaceAll('+', '-').replaceAll('/', '_').replace(/=+$/, '');
}

/** The inverse of {@link b64u}; refuses padding, other alphabets and non-zero trailing bits. @throws RangeError */
export function fromB64u(value: string): Bytes {
  if (!B64U.test(value) || value.length % 4 === 1) throw new RangeError('not unpadded base64url');
  const binary = atob(value.replaceAll('-', '+').replaceAll('_', '/'));
  const out = Uint8Array.from(binary, (c) => c.charCodeAt(0));
  if (value.length % 4 !== 0 && b64u(out) !== value) throw new RangeError('base64url with non-zero trailing bits');
  return out;
}

/** Compares without leaving early; lengths are public. */
export function equal(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  let diff = 0;
  for (let i = 0; i < a.length; i++) diff |= (a[i] as number) ^ (b[i] as number);
  return diff === 0;
}

export function randomBytes(length: number): Bytes {
  return crypto.getRandomValues(new Uint8Array(length));
}

async function digest(algorithm: string, data: Uint8Array): Promise<Bytes> {
  return new Uint8Array(await crypto.subtle.digest(algorithm, data as Bytes));
}

export const sha256 = (data: Uint8Array): Promise<Bytes> => digest('SHA-256', data);
export const sha384 = (data: Uint8Array): Promise<Bytes> => digest('SHA-384', data);
export const sha512 = (data: Uint8Array): Promise<Bytes> => digest('SHA-512', data);
