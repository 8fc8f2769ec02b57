/**
 * The signed answer of a key release (Key Vault REST, "Release"): a compact JWS, RS256, whose certificate chain (`x5c`) is the vault's own TLS certificate's. Believed when that
 * chain leads to a root that TLS connections are believed by, and its leaf names the vault.
 */
import { X509Certificate } from 'node:crypto';
import { rootCertificates } from 'node:tls';
import { compactVerify, decodeProtectedHeader, importX509 } from 'jose';
import { text } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';

const MAX_CERTIFICATES = 6;
let publicRoots: readonly X509Certificate[] | undefined;

export interface VaultTrust { readonly host: string; /** PEM in place of the public ones. */ readonly roots?: readonly string[] | undefined; /** Epoch ms. */ readonly now: number }

/** @returns the JSON of the payload. @throws Refusal KEY_SEALER_ANSWER */
export async function verifyRelease(jws: string, { host, roots, now }: VaultTrust): Promise<unknown> {
  const bad = (have: string, need: string): never => refuse('KEY_SEALER_ANSWER', 'release.value', 'Nothing was opened. See what answers at the vault\'s address.', { have, need });
  let chain: X509Certificate[];
  try {
    const { x5c } = decodeProtectedHeader(jws);
    if (!Array.isArray(x5c) || x5c.length === 0 || x5c.length > MAX_CERTIFICATES) return bad(`${Array.isArray(x5c) ? x5c.length : 'no'} certificates`, `1 to ${MAX_CERTIFICATES}`);
    chain = x5c.map((der) => new X509Certificate(Buffer.from(String(der), 'base64')));
  } catch {
    return bad('no JWS with certificates', 'one');
  }
  const [leaf] = chain as [X509Certificate];
  if (leaf.checkHost(host, { partialWildcards: false }) === undefined) bad('a certificate of another name', host);
  const trusted = roots?.map((pem) => new X509Certificate(pem)) ?? (publicRoots ??= rootCertificates.map((pem) => new X509Certificate(pem)));
  if (!leads(chain, trusted, now)) bad('certificates that lead to no root', 'a chain to a public root, valid now');
  try {
    const { payload } = await compactVerify(jws, await importX509(leaf.toString(), 'RS256'), { algorithms: ['RS256'] });
    return JSON.parse(text(payload));
  } catch {
    return bad('a signature that the certificate does not verify', 'one over exactly this answer');
  }
}

function leads(chain: readonly X509Certificate[], roots: readonly X509Certificate[], now: number): boolean {
  const valid = (c: X509Certificate): boolean => now >= c.validFromDate.getTime() && now <= c.validToDate.getTime();
  const issued = (child: X509Certificate, by: X509Certificate): boolean => by.ca && child.checkIssued(by) && child.verify(by.publicKey);
  const isRoot = (c: X509Certificate): boolean => roots.some((root) => root.fingerprint256 === c.fingerprint256);
  for (const [i, certificate] of chain.entries()) {
    if (!valid(certificate)) return false;
    if (i > 0 && isRoot(certificate)) return true;
    const next = chain[i + 1];
    if (next === undefined) return roots.some((root) => valid(root) && issued(certificate, root));
    if (!issued(certificate, next)) return false;
  }
  return false;
}
