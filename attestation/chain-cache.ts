/**
 * Remembers that an issuer's key verified a certificate's signature, so that the next chain with the same intermediates costs
 * no signature for them. Positive results only; every other check (root, names, validity, revocation, ...) is made each time.
 *
 * An entry is named by issuer, serial, notAfter and a digest of the issuer's key and the whole certificate, signature included:
 * other bytes are simply not found, so a warm verifier and a cold one give the same verdicts.
 */
import { type Bytes, concat, hex, sha256 } from './bytes.ts';
import { KeptCertificates } from './kept-certificates.ts';

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
  /** What is known of certificates besides: saves parsing and hashing. */
  readonly certificates = new KeptCertificates();

  constructor(limit = 1024) {
    this.#limit = limit;
  }

  static async nameOf(link: CachedLink): Promise<string> {
    // A P-384 SubjectPublicKeyInfo has one length, so the two parts cannot be cut differently.
    const digest = hex(await sha256(concat(link.issuerSpki, link.der)));
    return `${link.serial} ${link.notAfter} ${digest} ${link.issuer}`;
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
