/**
 * Google's certificate of a vTPM's attestation key: what says that the key is in a vTPM of Compute Engine, and of which instance.
 *
 *   root   EK/AK CA Root (2022), or tpm_ek_v1_cloud_host_root (2018, older machines); pinned
 *   CA     EK/AK CA Intermediate (several of this one name: the key identifier and the signature tell them apart), or tpm_ek_v1_cloud_host
 *   leaf   P-256 or RSA, digitalSignature, thirty years; CN <instance id>, OU <project id>, O Google Compute Engine, L <zone>; until 2022 an empty
 *          subject and a critical alternative name (the maker of the vTPM)
 *
 * The vTPM is Google's host software and is bound to no report of SEV-SNP or TDX: whoever believes its registers believes Google. Freshness comes
 * from the quote's nonce. Google publishes lists for its CAs; a leaf names none, so instances are denied by the operator.
 */
import type { TrustContext, TrustRoot } from '../../adapter.ts';
import { type Bytes, equal } from '../../bytes.ts';
import type { CheckList } from '../../checks.ts';
import { NO_COLLATERAL } from '../../collateral/collateral.ts';
import { children, oid, readDer, string } from '../../formats/der.ts';
import { GCE_INSTANCE, type GceInstanceInfo, readGceInstance } from '../../formats/gce-ak-cert.ts';
import { OID } from '../../formats/oid.ts';
import { type Certificate, parseCertificate } from '../../formats/x509.ts';
import { Judge } from '../../judge.ts';
import { validatePath } from '../../path.ts';
import { printable, refuse } from '../../refusal.ts';
import { rootsFor } from '../../trust/purposes.ts';
import type { GceTrust } from './trust.ts';

export interface GceAkInput {
  /** DER, leaf first, then its issuers in any order; those that are missing are looked for in the collateral. */
  readonly chain: readonly Bytes[];
  /** Where the chain is, for reasons. */
  readonly path: string;
  readonly gce?: GceTrust | undefined;
}

/** Everything here is under a signature of Google's. */
export interface GceAkFacts {
  readonly root: TrustRoot;
  /** The key is the leaf's. */
  readonly leaf: Certificate;
  readonly instance: GceInstanceInfo;
  readonly revocation: 'good' | 'unchecked';
  readonly crlNumber: string | null;
  /** When the chain expires, epoch seconds. */
  readonly notAfter: number;
}

const PLATFORM = 'gke';
const TPM_ENDORSEMENT_KEY = '2.23.133.8.1';
const MAX_ISSUERS = 2;
const NEXT = 'Send the attestation key\'s certificate of this instance (NV index 0x01C10000 for RSA, 0x01C10002 for ECC) with Google\'s intermediate and root.';

/** @returns undefined when a check failed: FMT_DER, CHAIN_*, REVOKED, CRL_*, GCE_AK */
export async function verifyGceAk({ chain, path, gce }: GceAkInput, trust: TrustContext, at: number, checks: CheckList): Promise<GceAkFacts | undefined> {
  const judge = new Judge(checks, 'GCE-AK');
  const [leaf, ...sent] = chain.map((der, i) => judge.parse('CERTIFICATE', `${path}[${i}]`, () => parseCertificate(der, `${path}[${i}]`)));
  if (leaf === undefined || sent.includes(undefined)) {
    judge.that('PRESENT', path, chain.length > 0, () => ({ code: 'FMT_FIELD_MISSING', have: 'no certificate', need: 'at least the leaf', next: NEXT }));
    return undefined;
  }
  const issuers = withCollateral(leaf, sent as Certificate[], trust, judge);
  const crls = [leaf, ...issuers].flatMap((c) => (trust.collateral ?? NO_COLLATERAL).get('google-crl', c.authorityKeyId?.keyId ?? '')?.bytes ?? []);
  const verified = await validatePath({
    prefix: 'GCE-AK', path: `${path}[0]`, issuersPath: path, leaf, intermediates: issuers, roots: rootsFor(trust, 'google-ek-ak', PLATFORM), at, algorithms: ['RS256'], length: { min: 3, max: 3 },
    leafProfile: { keys: ['P-256', 'RSA'], keyUsage: ['digitalSignature'] }, handledCriticalExtensions: [OID.subjectAltName],
    revoked: trust.revoked, crls: crls.filter((crl, i) => crls.findIndex((other) => equal(crl, other)) === i), requireCrl: trust.revocation ?? 'require', crlScope: 'intermediates', cache: trust.chainCache,
  }, checks);
  const instance = judge.parse('INSTANCE', `${path}[0].instance`, () => instanceOf(leaf, `${path}[0]`));
  if (instance !== undefined) checkInstance(instance, leaf, path, gce, judge);
  if (verified === undefined || instance === undefined || judge.failed) return undefined;
  return { root: verified.root, leaf, instance, revocation: verified.revocation, crlNumber: verified.crls.find((c) => c.number !== null)?.number ?? null, notAfter: verified.notAfter };
}

/** Issuers that were not sent, by key identifier. */
function withCollateral(leaf: Certificate, sent: readonly Certificate[], trust: TrustContext, judge: Judge): Certificate[] {
  const out = [...sent];
  let top: Certificate = leaf;
  for (let step = 0; step < MAX_ISSUERS; step++) {
    const keyId = top.authorityKeyId?.keyId ?? null;
    if (keyId === null || keyId === top.subjectKeyId) break;
    let next = out.find((c) => c.subjectKeyId === keyId);
    const item = next === undefined ? (trust.collateral ?? NO_COLLATERAL).get('google-ca', keyId) : undefined;
    if (item !== undefined) {
      const where = `collateral.google-ca/${keyId}`;
      next = judge.parse('CERTIFICATE', where, () => parseCertificate(item.bytes, where));
      if (next !== undefined) out.push(next);
    }
    if (next === undefined) break;
    top = next;
  }
  return out;
}

function instanceOf(leaf: Certificate, path: string): GceInstanceInfo {
  const extension = leaf.extensions.get(GCE_INSTANCE);
  if (extension === undefined) return refuse('GCE_AK', `${path}.instance`, NEXT, { have: 'a certificate that names no instance', need: `extension ${GCE_INSTANCE}` });
  return readGceInstance(extension.value, `${path}.instance`);
}

function checkInstance(instance: GceInstanceInfo, leaf: Certificate, path: string, gce: GceTrust | undefined, judge: Judge): void {
  const at = `${path}[0]`;
  const production = instance.security?.production ?? null;
  judge.that('PRODUCTION', `${at}.instance.security`, production === true, () => ({ code: 'GCE_AK', have: production === null ? 'not stated' : 'no machine of production', need: 'production', next: 'Use a machine of Google\'s production fleet.' }));
  judge.that('NAMES', `${at}.subject`, namesAgree(instance, leaf), () => ({ code: 'GCE_AK', have: printable(leaf.subjectText), need: printable(`CN=${instance.instanceId},OU=${instance.projectId},O=Google Compute Engine,L=${instance.zone}`), next: NEXT }));
  judge.that('PURPOSE', `${at}.extendedKeyUsage`, leaf.extendedKeyUsage === null || [TPM_ENDORSEMENT_KEY, OID.tpmAttestationKey].some((p) => leaf.extendedKeyUsage?.has(p) === true), () => ({ code: 'CHAIN_KEY_USAGE', have: [...leaf.extendedKeyUsage ?? []].join(', '), need: `none, ${TPM_ENDORSEMENT_KEY} or ${OID.tpmAttestationKey}`, next: NEXT }));
  judge.that('DENIED', `${at}.instance.instanceId`, gce?.deniedInstances?.includes(String(instance.instanceId)) !== true, () => ({ code: 'GCE_AK', have: String(instance.instanceId), need: 'an instance that the operator has not denied', next: 'Move the workload to another node; this one was denied by its operator.' }));
  const projects = gce?.projects;
  if (projects !== undefined) judge.that('PROJECT', `${at}.instance.projectNumber`, projects.includes(String(instance.projectNumber)), () => ({ code: 'GCE_AK', have: String(instance.projectNumber), need: projects.join(' or ') || 'no project: none is allowed', next: 'Run the workload in a project of this deployment.' }));
}

/** The subject says the same, or is empty and the alternative name says who made the vTPM. */
function namesAgree(instance: GceInstanceInfo, leaf: Certificate): boolean {
  const alternative = leaf.extensions.get(OID.subjectAltName);
  if (leaf.subjectText === '') return alternative !== undefined && isGoogleVtpm(alternative.value);
  const expected = `CN=${instance.instanceId},OU=${escape(instance.projectId)},O=Google Compute Engine,L=${escape(instance.zone)}`;
  return leaf.subjectText === expected && alternative?.critical !== true;
}

/** RFC 4514, section 2.4, of what may be in a project's id ("google.com:name"). */
const escape = (value: string): string => value.replace(/[,+"\\<>;]/g, '\\$&');

/** GeneralNames of one directoryName: TCG attributes of manufacturer, model and version (TCG EK Credential Profile, section 3.1.2). */
const MAKER: readonly [string, RegExp][] = [['2.23.133.2.1', /^id:474F4F47$/], ['2.23.133.2.2', /^vTPM$/], ['2.23.133.2.3', /^id:[0-9A-F]{8}$/]];

function isGoogleVtpm(value: Bytes): boolean {
  const [directory, ...others] = children(readDer(value, 'subjectAltName'));
  if (directory === undefined || others.length > 0 || directory.tag !== 0xa4) return false;
  const [names, ...rest] = children(directory, 0xa4);
  if (names === undefined || rest.length > 0) return false;
  const attributes = children(names).flatMap((set) => children(set, 0x31)).map((attribute) => {
    const [id, text, ...more] = children(attribute);
    return more.length === 0 ? [oid(id), string(text)] as const : ['', ''] as const;
  });
  return attributes.length === MAKER.length && MAKER.every(([id, text], i) => attributes[i]?.[0] === id && text.test(attributes[i][1]));
}
