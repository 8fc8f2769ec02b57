/**
 * Remembers that an issuer's key verified the signature of a certificate, a revocation list or one of Intel's tables, so that the next evidence with the
 * same ones costs no signature for them. Positive results only; every other check (root, names, validity, revocation, ...) is made each time.
 *
 * An entry is named by issuer, serial, notAfter and a digest of the issuer's key and the whole certificate or list, signature included:
 * other bytes are simply not found, so a warm verifier and a cold one give the same verdicts.
 */
import { type Bytes, concat, hex, sha256 } from './bytes.ts';
import { Kept, type Kind } from './kept.ts';
import { PathMemo } from './path-memo.ts';

export interface CachedLink {
  readonly issuer: string;
  readonly serial: string;
  readonly notAfter: number;
  readonly issuerSpki: Bytes;
  readonly der: Bytes;
}

export class ChainCache {
  readonly #limit: number;
  /** Insertion order is age of last use. */
  readonly #entries = new Set<string>();
  /** What was parsed, and what was computed of it. */
  readonly kept: Kept;
  /** Leaves that live for hours, where there are many: apart, so that they drive out nothing that lasts. */
  readonly leaves = new Kept(64);
  readonly memo = new PathMemo();

  /** @param limit of verified signatures. @param kept how much parsed is kept */
  constructor(limit = 1024, kept = 256) {
    this.#limit = limit;
    this.kept = new Kept(kept);
  }

  static async nameOf(link: CachedLink): Promise<string> {
    // A SubjectPublicKeyInfo is DER and states its length, so the two parts cannot be cut differently.
    const digest = hex(await sha256(concat(link.issuerSpki, link.der)));
    return `${link.serial} ${link.notAfter} ${digest} ${link.issuer}`;
  }

  /** SHA-256, lower-case hex. */
  async digest(kind: Kind, data: Bytes): Promise<string> {
    const read = this.kept.find(kind, data);
    return read === undefined ? hex(await sha256(data)) : this.memo.sha256(read, data);
  }

  has(name: string): boolean {
    if (!this.#entries.delete(name)) return false;
    this.#entries.add(name);
    return true;
  }

  add(name: string): void {
    this.#entries.delete(name);
    this.#entries.add(name);
    for (const oldest of this.#entries) {
      if (this.#entries.size <= this.#limit) break;
      this.#entries.delete(oldest);
    }
  }

  get size(): number {
    return this.#entries.size;
  }
}

/** SHA-256, lower-case hex, of what may have been read before. */
export const digestOf = async (cache: ChainCache | undefined, kind: Kind, data: Bytes): Promise<string> => (cache === undefined ? hex(await sha256(data)) : cache.digest(kind, data));
