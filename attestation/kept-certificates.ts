/**
 * Certificates that stood in a verified chain, by their bytes: parsed once, with what was computed of them. A verifier that finds one here
 * knows what it would compute again and decides nothing by it. Compared byte for byte, so no digest is needed to look one up.
 */
import { type Bytes, bytes, equal } from './bytes.ts';
import { type Certificate, parseCertificate } from './formats/x509.ts';

export interface KeptCertificate {
  readonly certificate: Certificate;
  /** Lower-case hex, once somebody needed them. */
  certSha256?: string;
  spkiSha256?: string;
  /** `undefined` when its key is no point of the curve. */
  key?: Promise<CryptoKey | undefined>;
  /** The name of its signature in the chain cache, and the issuer's key in that name. */
  link?: { readonly issuerSpki: Bytes; readonly name: string };
}

/** The end of a certificate is its signature: different for each, unless somebody makes it so, which costs him a place and nobody a verdict. */
const TAIL = 24;
const keyOf = (der: Uint8Array): string => String.fromCharCode(...der.subarray(-TAIL));

export class KeptCertificates {
  readonly #limit: number;
  /** Insertion order is age of last use. */
  readonly #kept = new Map<string, KeptCertificate>();

  constructor(limit = 256) {
    this.#limit = limit;
  }

  find(der: Uint8Array): KeptCertificate | undefined {
    const key = keyOf(der);
    const kept = this.#kept.get(key);
    if (kept === undefined || !equal(kept.certificate.der, der)) return undefined;
    this.#kept.delete(key);
    this.#kept.set(key, kept);
    return kept;
  }

  /** Only certificates of a chain that verified, so that nobody else can drive them out. */
  keep(certificate: Certificate): KeptCertificate {
    const known = this.find(certificate.der);
    if (known !== undefined) return known;
    // A copy of its own: the certificate given is a view of a whole document.
    const kept = { certificate: parseCertificate(bytes(certificate.der), 'certificate') };
    this.#kept.set(keyOf(certificate.der), kept);
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#limit) break;
      this.#kept.delete(oldest);
    }
    return kept;
  }

  get size(): number {
    return this.#kept.size;
  }
}
