/**
 * Digests of what a verifier parsed once and keeps (roots, intermediates, a chip's certificate, lists): without it each verification computes them
 * anew. Keyed by the parsed object, whose bytes nobody changes; holds nothing alive; changes no verdict.
 */
import { type Bytes, hex, sha256 } from './bytes.ts';
import { type CachedLink, ChainCache } from './chain-cache.ts';
import type { Certificate } from './formats/x509.ts';

export interface CertificateDigests { readonly certSha256: string; readonly spkiSha256: string }

export class PathMemo {
  readonly #digests = new WeakMap<object, string>();
  readonly #pairs = new WeakMap<Certificate, CertificateDigests>();
  readonly #links = new WeakMap<object, WeakMap<Certificate, string>>();

  /** Lower-case hex. @param read what was parsed of all of `data` */
  async sha256(read: object, data: Bytes): Promise<string> {
    const known = this.#digests.get(read);
    if (known !== undefined) return known;
    const digest = hex(await sha256(data));
    this.#digests.set(read, digest);
    return digest;
  }

  /** Lower-case hex. */
  async digests(certificate: Certificate): Promise<CertificateDigests> {
    const known = this.#pairs.get(certificate);
    if (known !== undefined) return known;
    const [certSha256, spkiSha256] = await Promise.all([this.sha256(certificate, certificate.der), sha256(certificate.spki)]);
    const made = { certSha256, spkiSha256: hex(spkiSha256) };
    this.#pairs.set(certificate, made);
    return made;
  }

  /** The name of a verified signature in a {@link ChainCache}. @param link of a certificate, by default; asked for once */
  async linkName(issuer: Certificate, signed: Certificate): Promise<string>;
  async linkName(issuer: Certificate, signed: object, link: () => Omit<CachedLink, 'issuerSpki'>): Promise<string>;
  async linkName(issuer: Certificate, signed: object, link?: () => Omit<CachedLink, 'issuerSpki'>): Promise<string> {
    const names = this.#links.get(signed) ?? new WeakMap<Certificate, string>();
    const known = names.get(issuer);
    if (known !== undefined) return known;
    const { serial, notAfter, der, issuer: by } = link?.() ?? { ...(signed as Certificate), issuer: (signed as Certificate).issuerText };
    const name = await ChainCache.nameOf({ issuer: by, serial, notAfter, issuerSpki: issuer.spki, der });
    names.set(issuer, name);
    this.#links.set(signed, names);
    return name;
  }
}
