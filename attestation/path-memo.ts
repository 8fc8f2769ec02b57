/**
 * Digests of certificates that a verifier parsed once and keeps (roots, intermediates, a chip's certificate): without it each verification
 * computes them anew. Keyed by the parsed object, whose bytes nobody changes; holds nothing alive; changes no verdict.
 */
import { hex, sha256 } from './bytes.ts';
import { ChainCache } from './chain-cache.ts';
import type { Certificate } from './formats/x509.ts';

export interface CertificateDigests { readonly certSha256: string; readonly spkiSha256: string }

export class PathMemo {
  readonly #digests = new WeakMap<Certificate, CertificateDigests>();
  readonly #links = new WeakMap<Certificate, WeakMap<Certificate, string>>();

  /** Lower-case hex. */
  async digests(certificate: Certificate): Promise<CertificateDigests> {
    const known = this.#digests.get(certificate);
    if (known !== undefined) return known;
    const [certSha256, spkiSha256] = await Promise.all([sha256(certificate.der), sha256(certificate.spki)]);
    const made = { certSha256: hex(certSha256), spkiSha256: hex(spkiSha256) };
    this.#digests.set(certificate, made);
    return made;
  }

  /** The name of a verified signature in a {@link ChainCache}. */
  async linkName(issuer: Certificate, certificate: Certificate): Promise<string> {
    const names = this.#links.get(certificate) ?? new WeakMap<Certificate, string>();
    const known = names.get(issuer);
    if (known !== undefined) return known;
    const name = await ChainCache.nameOf({ issuer: certificate.issuerText, serial: certificate.serial, notAfter: certificate.notAfter, issuerSpki: issuer.spki, der: certificate.der });
    names.set(issuer, name);
    this.#links.set(certificate, names);
    return name;
  }
}
