/**
 * What was read from bytes that stood in a verification that held, by these bytes: certificates, revocation lists, Intel's tables are parsed once. A verifier that
 * finds something here knows what it would read again and decides nothing by it. Compared byte for byte with a copy, so no digest is needed to look one up, and
 * what is used is what was received.
 */
import { type Bytes, bytes, equal } from './bytes.ts';
import type { Crl } from './formats/crl.ts';
import type { QeIdentity, Signed, TcbInfo } from './formats/intel-json.ts';
import { type Certificate, parseCertificate } from './formats/x509.ts';
import type { Verifier } from './formats/signature.ts';

interface Kinds {
  readonly certificate: Certificate;
  readonly crl: Crl;
  /** DER of its blocks. */
  readonly pem: readonly Bytes[];
  readonly 'tdx-tcb-info': Signed<TcbInfo>;
  readonly 'sgx-tcb-info': Signed<TcbInfo>;
  readonly 'tdx-qe-identity': Signed<QeIdentity>;
  readonly 'sgx-qe-identity': Signed<QeIdentity>;
  /** A point of P-256, and what is hashed with it. */
  readonly 'attestation-key': Verifier;
}

export type Kind = keyof Kinds;

/** Longer ones are read each time. */
const MAX_BYTES = 256 * 1024;
const SAMPLES = 16;

/** By bytes from all over and of the end, which is a signature in most (FNV-1a): another number for each, unless somebody makes it so, which costs a place and no verdict. */
function placeOf(kind: Kind, data: Uint8Array): number {
  let hash = (0x811c9dc5 ^ data.length) + kind.length;
  const { length } = data;
  const step = Math.floor(length / SAMPLES);
  for (let i = 0; i < SAMPLES; i++) {
    hash = Math.imul(hash ^ (data[i * step] ?? 0), 0x01000193);
    hash = Math.imul(hash ^ (data[length - 1 - i] ?? 0), 0x01000193);
  }
  return hash;
}

/** As `equal` says, four bytes at a time where both begin at a word. */
export function same(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  if (((a.byteOffset | b.byteOffset) & 3) !== 0) return equal(a, b);
  const count = a.length >> 2;
  const [x, y] = [new Uint32Array(a.buffer, a.byteOffset, count), new Uint32Array(b.buffer, b.byteOffset, count)];
  for (let i = 0; i < count; i++) if (x[i] !== y[i]) return false;
  return equal(a.subarray(count * 4), b.subarray(count * 4));
}

export class Kept {
  readonly #limit: number;
  /** Insertion order is age of last use. */
  readonly #kept = new Map<number, { readonly kind: Kind; readonly data: Bytes; readonly value: object }>();
  /** What was ever kept here, while anybody holds it. */
  readonly #values = new WeakSet<object>();
  /** Of bytes that are a part of what is kept, and so nobody's to change: they need no comparing. */
  readonly #ofOwn = new WeakMap<Uint8Array, { readonly kind: Kind; readonly value: object }>();

  constructor(limit = 256) {
    this.#limit = limit;
  }

  find<K extends Kind>(kind: K, data: Uint8Array): Kinds[K] | undefined {
    const own = this.#ofOwn.get(data);
    if (own?.kind === kind) return own.value as Kinds[K];
    const place = placeOf(kind, data);
    const kept = this.#kept.get(place);
    if (kept === undefined || kept.kind !== kind || !same(kept.data, data)) return undefined;
    this.#kept.delete(place);
    this.#kept.set(place, kept);
    if (this.#values.has(data)) this.#ofOwn.set(data, kept);
    return kept.value as Kinds[K];
  }

  /** Only what stood in a verification that held, so that nobody else can drive things out. @param read of a copy: what was given is a view of a whole document */
  keep<K extends Kind>(kind: K, data: Uint8Array, read: (data: Bytes) => Kinds[K]): void {
    if (data.length > MAX_BYTES || this.find(kind, data) !== undefined) return;
    const copy = bytes(data);
    const value = read(copy);
    this.#values.add(value);
    if (Array.isArray(value)) for (const part of value as readonly Bytes[]) this.#values.add(part);
    this.#kept.set(placeOf(kind, copy), { kind, data: copy, value });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#limit) break;
      this.#kept.delete(oldest);
    }
  }

  /** Whether this very object came from here. */
  has(value: object): boolean {
    return this.#values.has(value);
  }

  get size(): number {
    return this.#kept.size;
  }
}

/** @throws Refusal as parseCertificate does */
export const readCertificate = (der: Bytes, path: string, kept: Kept | undefined): Certificate => kept?.find('certificate', der) ?? parseCertificate(der, path);

export const keepCertificates = (certificates: readonly Certificate[], kept: Kept | undefined): void => {
  for (const certificate of certificates) if (kept?.has(certificate) === false) kept.keep('certificate', certificate.der, (copy) => parseCertificate(copy, 'certificate'));
};

/** A reader of parsed things that reads each object once, for as long as somebody holds it. */
export function once<T extends object, V>(read: (of: T, path: string) => V): (of: T, path: string) => V {
  const known = new WeakMap<T, { readonly value: V }>();
  return (of, path) => {
    const found = known.get(of);
    if (found !== undefined) return found.value;
    const value = read(of, path);
    known.set(of, { value });
    return value;
  };
}
