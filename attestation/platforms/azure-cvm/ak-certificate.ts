/**
 * Azure's certificate of a vTPM's attestation key: what proves that the machine is one of Azure's, whatever became of a chip's keys.
 *
 *   root        Azure Virtual TPM Root Certificate Authority 2023, or Microsoft RSA Devices Root CA 2021 (older machines); pinned
 *   (CA)        Azure Cloud Virtual TPM CA <year> (2026; none in 2025)
 *   CA          Global Virtual TPM CA - 03 (2025), Azure Cloud Virtual TPM CA - 24 (2026): purposes TPM endorsement and attestation keys
 *   leaf        CN <id>.ConfidentialVM.Azure.windows.net, RSA 2048, digitalSignature, purpose 2.23.133.8.3, one year
 *
 * Certificates name no list of their own; the lists of their CAs are collateral. Leaves are denied by issuer and serial.
 */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { type Bytes, equal, hex } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { NO_COLLATERAL } from '../../collateral/collateral.ts';
import { OID } from '../../formats/oid.ts';
import type { Verifier } from '../../formats/signature.ts';
import { type Certificate, parseCertificate } from '../../formats/x509.ts';
import { Judge } from '../../judge.ts';
import { validatePath } from '../../path.ts';
import { rootsFor } from '../../trust/purposes.ts';

export interface AkCertificateFacts {
  readonly root: TrustRoot;
  readonly serial: string;
  readonly commonName: string;
  readonly issuer: string;
  readonly notAfter: number;
  readonly revocation: 'good' | 'unchecked';
}

const PLATFORM = 'azure-cvm';
const COMMON_NAME = /^[0-9A-Za-z-]{1,64}\.ConfidentialVM\.Azure\.windows\.net$/;
const MAX_ISSUERS = 3;

/**
 * @param chain DER, leaf first, then its issuers in any order; those that are missing are looked for in the collateral
 * @param ak the key that the hardware vouches for: the certificate must be of this one
 * @returns undefined when a check failed: CHAIN_*, REVOKED, CRL_*, AK_UNBOUND
 */
export async function verifyAkCertificate(chain: readonly Bytes[], ak: Verifier | undefined, path: string, trust: TrustContext, at: number, checks: CheckList): Promise<AkCertificateFacts | undefined> {
  const judge = new Judge(checks, 'AZURE-AK');
  const parsed = chain.map((der, i) => judge.parse('CERTIFICATE', `${path}[${i}]`, () => parseCertificate(der, `${path}[${i}]`)));
  const [leaf, ...sent] = parsed;
  if (leaf === undefined || sent.includes(undefined)) return undefined;
  const issuers = withCollateral(leaf, sent as Certificate[], trust, judge);
  const crls = [leaf, ...issuers].flatMap((c) => (trust.collateral ?? NO_COLLATERAL).get('azure-vtpm-crl', c.authorityKeyId?.keyId ?? '')?.bytes ?? []);
  const verified = await validatePath({
    prefix: 'AZURE-AK', path: `${path}[0]`, issuersPath: path, leaf, intermediates: issuers, roots: rootsFor(trust, 'azure-vtpm', PLATFORM), at,
    algorithms: ['RS256', 'RS384'], length: { min: 3, max: 4 },
    leafProfile: { keys: ['RSA'], keyUsage: ['digitalSignature'], extendedKeyUsage: OID.tpmAttestationKey, commonName: COMMON_NAME },
    revoked: trust.revoked, crls: crls.filter((crl, i) => crls.findIndex((other) => equal(crl, other)) === i), requireCrl: trust.revocation ?? 'require', crlScope: 'intermediates', cache: trust.chainCache,
  }, checks);
  if (ak !== undefined) {
    judge.that('BOUND', `${path}[0].subjectPublicKeyInfo`, equal(leaf.spki, ak.spki), () => ({ code: 'AK_UNBOUND', have: hex(leaf.key.raw.subarray(0, 24)), need: `${hex(ak.key.raw.subarray(0, 24))}, as in the HCL report`, next: 'Send the certificate of this machine\'s own attestation key, and quote with that key.' }));
  }
  if (verified === undefined || judge.failed) return undefined;
  return { root: verified.root, serial: leaf.serial, commonName: leaf.commonName, issuer: leaf.issuerText, notAfter: leaf.notAfter, revocation: verified.revocation };
}

/** Issuers that were not sent, by key identifier. */
function withCollateral(leaf: Certificate, sent: readonly Certificate[], trust: TrustContext, judge: Judge): Certificate[] {
  const out = [...sent];
  let top = leaf;
  for (let step = 0; step < MAX_ISSUERS; step++) {
    const keyId = top.authorityKeyId?.keyId ?? null;
    let next = out.find((c) => keyId !== null && c.subjectKeyId === keyId);
    const item = next === undefined && keyId !== null ? (trust.collateral ?? NO_COLLATERAL).get('azure-vtpm-ca', keyId) : undefined;
    if (item !== undefined) {
      const where = `collateral.azure-vtpm-ca/${keyId}`;
      next = judge.parse('CERTIFICATE', where, () => parseCertificate(item.bytes, where));
      if (next !== undefined) out.push(next);
    }
    if (next === undefined || next === top) break;
    top = next;
  }
  return out;
}
