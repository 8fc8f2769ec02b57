/**
 * Byte helpers that run unchanged in Node and in browsers. Decoders are strict: they accept exactly
 * one spelling of each value, so that what was compared is what was sent.
 */

/** WebCrypto takes views over ArrayBuffer only; every byte string of this project is one. */
export type Bytes = Uint8Array<ArrayBuffer>;

const HEX = /^(?:[0-9a-f]{2})*$/;
const ENCODER = new TextEncoder();
const STRICT = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });
/** base64url, RFC 4648, section 5: by code unit there and back, because a proof, a header or a sealed key is decoded dozens of times a job. */
const B64U = ENCODER.encode('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_');
const NO_B64U = 0x80;
const B64U_VALUE = Uint8Array.from({ length: 128 }, (_, code) => (B64U.includes(code) ? B64U.indexOf(code) : NO_B64U));
const LATIN1 = new TextDecoder('latin1');
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
  let at = 0;
  for (const part of parts) at += part.length;
  const out = new Uint8Array(at);
  at = 0;
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
  const out = new Uint8Array(Math.ceil((data.length * 4) / 3));
  let at = 0;
  const put = (bits: number, characters: number): void => {
    for (let shift = 18; characters > 0; characters--, shift -= 6) out[at++] = B64U[(bits >> shift) & 63] as number;
  };
  const whole = data.length - (data.length % 3);
  for (let i = 0; i < whole; i += 3) put(((data[i] as number) << 16) | ((data[i + 1] as number) << 8) | (data[i + 2] as number), 4);
  if (data.length - whole === 1) put((data[whole] as number) << 16, 2);
  if (data.length - whole === 2) put(((data[whole] as number) << 16) | ((data[whole + 1] as number) << 8), 3);
  return LATIN1.decode(out);
}

/** The inverse of {@link b64u}; refuses padding, other alphabets and non-zero trailing bits. @throws RangeError */
export function fromB64u(value: string): Bytes {
  const rest = value.length % 4;
  if (rest === 1) throw new RangeError('not unpadded base64url');
  const out = new Uint8Array(Math.floor((value.length * 3) / 4));
  let [bits, strange] = [0, 0];
  for (let i = 0, at = 0; i < value.length; i++) {
    const code = value.charCodeAt(i);
    const six = code < 128 ? (B64U_VALUE[code] as number) : NO_B64U;
    strange |= six;
    bits = (bits << 6) | six;
    const phase = i & 3;
    if (phase > 0) out[at++] = bits >> (6 - 2 * phase);
  }
  if ((strange & NO_B64U) !== 0) throw new RangeError('not unpadded base64url');
  if ((rest === 2 && (bits & 15) !== 0) || (rest === 3 && (bits & 3) !== 0)) throw new RangeError('base64url with non-zero trailing bits');
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

let fastSha256: ((data: Uint8Array) => Bytes) | undefined;
const FAST_LENGTH = 2 ** 20;
/** Another SHA-256 for the whole process: WebCrypto hands a hundred bytes to another thread, which takes far longer than hashing them. */
export function useSha256(other: ((data: Uint8Array) => Bytes) | undefined): void {
  fastSha256 = other;
}

/** More than a mebibyte never holds up the caller's thread. */
export const sha256 = async (data: Uint8Array): Promise<Bytes> =>
  (fastSha256 !== undefined && data.length <= FAST_LENGTH ? fastSha256(data) : digest('SHA-256', data));
export const sha384 = (data: Uint8Array): Promise<Bytes> => digest('SHA-384', data);
export const sha512 = (data: Uint8Array): Promise<Bytes> => digest('SHA-512', data);
