/**
 * Simulated attestation services: tokens of Azure Attestation and of Google, in their real form, by a key set or with certificates, under issuers and roots
 * that are no services'. Every claim, every member of the header and the very text of both can be set otherwise, under signatures that verify. Isomorphic.
 */
import type { TrustRoot } from '../../adapter.ts';
import { b64u, type Bytes, hex, sha256, utf8 } from '../../bytes.ts';
import type { CollateralItem } from '../../collateral/collateral.ts';
import { children, readDer, unsigned } from '../../formats/der.ts';
import { readPublicKey, type SignatureAlgorithm } from '../../formats/signature.ts';
import { authorityKeyIdentifier, type AuthorityOptions, basicConstraints, dn, extendedKeyUsage, type Issued, keyIdOf, makeAuthority, subjectKeyIdentifier } from './issue.ts';
import { KeyRing, type SigningKey, signRaw } from './keys.ts';

export type Json = Readonly<Record<string, unknown>>;

/** Hosts that are nobody's (RFC 6761): claims of their tokens say `anchor: "development"`. */
export const SIMULATED_MAA_ISSUER = 'https://simulated.maa.invalid';
export const SIMULATED_GOOGLE_ISSUER = 'https://simulated.google.invalid';

export interface TokenOptions {
  readonly key: SigningKey;
  /** Members besides alg and typ; `undefined` removes one. */
  readonly header?: Json;
  /** The text of header and claims, where no object gives it: names twice, white space. */
  readonly headerText?: string;
  readonly claimsText?: string;
  readonly algorithm?: SignatureAlgorithm;
}

const encode = (value: Json | string): string => b64u(utf8(typeof value === 'string' ? value : JSON.stringify(value)));

/** A compact JWS, RS256 unless something else is asked for. */
export async function signToken(claims: Json, { key, header = {}, headerText, claimsText, algorithm = 'RS256' }: TokenOptions): Promise<string> {
  const signed = `${encode(headerText ?? { alg: 'RS256', typ: 'JWT', ...header })}.${encode(claimsText ?? claims)}`;
  return `${signed}.${b64u(await signRaw(key, algorithm, utf8(signed)))}`;
}

/** The public key as a JWK with n and e. */
export function jwkOf(key: SigningKey, kid: string, change: Json = {}): Json {
  const [n] = children(readDer(readPublicKey(readDer(key.spki, 'spki'), 'spki').raw, 'key'));
  return { kty: 'RSA', use: 'sig', alg: 'RS256', kid, n: b64u(unsigned(n)), e: 'AQAB', ...change };
}

export const base64 = (data: Uint8Array): string => btoa(String.fromCharCode(...data));
export const pemOf = (der: Uint8Array, label = 'CERTIFICATE'): string => `-----BEGIN ${label}-----\n${(base64(der).match(/.{1,64}/g) ?? []).join('\n')}\n-----END ${label}-----\n`;

/** As Azure publishes its keys: certificates in place of numbers. */
export const x5cJwk = (certificate: Bytes, kid: string, change: Json = {}): Json => ({ kty: 'RSA', use: 'sig', kid, x5c: [base64(certificate)], ...change });

export const keySet = (issuer: string, keys: readonly Json[] | string, now: number, source: CollateralItem['source'] = 'offline'): CollateralItem =>
  ({ kind: 'jwks', key: issuer, bytes: utf8(typeof keys === 'string' ? keys : JSON.stringify({ keys })), source, fetchedAt: now });

/** HCL runtime data as a machine of Azure has it. */
export const hclRuntime = (userData: Uint8Array, change: Json = {}): string => JSON.stringify({
  keys: [{ kid: 'HCLAkPub', key_ops: ['sign'], kty: 'RSA', e: 'AQAB', n: 'simulated' }, { kid: 'HCLEkPub', key_ops: ['encrypt'], kty: 'RSA', e: 'AQAB', n: 'simulated' }],
  'vm-configuration': { 'console-enabled': false, 'secure-boot': true, 'tpm-enabled': true, vmUniqueId: '00000000-0000-0000-0000-000000000000' }, 'user-data': hex(userData).toUpperCase(), ...change,
});

const times = (now: number, life: number): Json => ({ iat: now, nbf: now, exp: now + life });
const filled = (byte: string, length: number): string => byte.repeat(length);
const reportData = async (runtime: string): Promise<string> => `${hex(await sha256(utf8(runtime)))}${filled('00', 32)}`;

export const snpClaims = async (runtime: string): Promise<Json> => ({
  'x-ms-attestation-type': 'sevsnpvm', 'x-ms-compliance-status': 'azure-compliant-cvm', 'x-ms-runtime': JSON.parse(runtime) as unknown, 'x-ms-sevsnpvm-reportdata': await reportData(runtime),
  'x-ms-sevsnpvm-launchmeasurement': filled('15', 48), 'x-ms-sevsnpvm-hostdata': filled('00', 32), 'x-ms-sevsnpvm-idkeydigest': filled('94', 48), 'x-ms-sevsnpvm-authorkeydigest': filled('00', 48),
  'x-ms-sevsnpvm-chipid': filled('74', 64), 'x-ms-sevsnpvm-chip-family': 'Genoa', 'x-ms-sevsnpvm-guestsvn': 12, 'x-ms-sevsnpvm-vmpl': 0, 'x-ms-sevsnpvm-is-debuggable': false,
  'x-ms-sevsnpvm-migration-allowed': false, 'x-ms-sevsnpvm-smt-allowed': true, 'x-ms-sevsnpvm-bootloader-svn': 10, 'x-ms-sevsnpvm-tee-svn': 0, 'x-ms-sevsnpvm-snpfw-svn': 27, 'x-ms-sevsnpvm-microcode-svn': 88,
});

export const tdxClaims = async (runtime: string): Promise<Json> => ({
  'x-ms-attestation-type': 'tdxvm', 'x-ms-compliance-status': 'azure-compliant-cvm', 'x-ms-runtime': JSON.parse(runtime) as unknown, attester_tcb_status: 'UpToDate', dbgstat: 'disabled',
  tdx_report_data: await reportData(runtime), tdx_mrtd: filled('a2', 48), ...Object.fromEntries([0, 1, 2, 3].map((i) => [`tdx_rtmr${i}`, filled('00', 48)])), tdx_mrseam: filled('48', 48), tdx_mrsignerseam: filled('00', 48),
  tdx_mrconfigid: filled('00', 48), tdx_mrowner: filled('00', 48), tdx_mrownerconfig: filled('00', 48), tdx_td_attributes: '0000001000000000', tdx_td_attributes_debug: false, tdx_td_attributes_migratable: false,
  tdx_td_attributes_septve_disable: true, tdx_xfam: 'e718060000000000', tdx_tee_tcb_svn: `0d0105${filled('00', 13)}`,
});

/** A platform token's claims. */
export async function maaPlatformClaims(tee: 'sev-snp' | 'tdx', runtime: string, now: number, change: Json = {}): Promise<Json> {
  return { iss: SIMULATED_MAA_ISSUER, jti: '0'.repeat(64), ...times(now, 28_800), 'x-ms-policy-hash': POLICY_HASH, 'x-ms-ver': '1.0', ...await (tee === 'sev-snp' ? snpClaims : tdxClaims)(runtime), ...change };
}

/** A guest token's claims. @param nonce what the caller sent with the request */
export async function maaGuestClaims(tee: 'sev-snp' | 'tdx', runtime: string, nonce: Uint8Array, now: number, change: Json = {}, teeChange: Json = {}): Promise<Json> {
  return {
    iss: SIMULATED_MAA_ISSUER, jti: '0'.repeat(64), ...times(now, 28_800), 'x-ms-attestation-type': 'azurevm', 'x-ms-policy-hash': POLICY_HASH, 'x-ms-ver': '1.0', secureboot: true,
    'x-ms-azurevm-attested-pcrs': [0, 1, 2, 3, 4, 5, 6, 7], 'x-ms-azurevm-vmid': '00000000-0000-0000-0000-000000000000', 'x-ms-azurevm-kerneldebug-enabled': false, 'x-ms-azurevm-bootdebug-enabled': false,
    'x-ms-azurevm-hypervisordebug-enabled': false, 'x-ms-azurevm-testsigning-enabled': false,
    'x-ms-isolation-tee': { ...await (tee === 'sev-snp' ? snpClaims : tdxClaims)(runtime), ...teeChange },
    'x-ms-runtime': { 'client-payload': { nonce: base64(nonce) }, keys: [{ e: 'AQAB', key_ops: ['encrypt'], kid: 'TpmEphemeralEncryptionKey', kty: 'RSA', n: 'simulated' }] }, ...change,
  };
}
export const POLICY_HASH = '9NY0VnTQ-IiBriBplVUpFbczcDaEBUwsiFYAzHu_gco';

export interface GoogleParts { readonly top?: Json; readonly space?: Json; readonly container?: Json; readonly gce?: Json }
const INSTANCE = { zone: 'europe-west4-a', project_id: 'simulated', project_number: '1000', instance_name: 'broker-1', instance_id: '4160176124173070639' };

/** A token's claims for Confidential Space. `undefined` removes a claim. */
export function googleClaims(model: 'GCP_AMD_SEV' | 'GCP_INTEL_TDX', audience: string, nonces: readonly string[], now: number, change: GoogleParts = {}): Json {
  const gce = { ...INSTANCE, ...change.gce };
  return {
    iss: SIMULATED_GOOGLE_ISSUER, aud: audience, sub: `https://www.googleapis.com/compute/v1/projects/${gce.project_id}/zones/${gce.zone}/instances/${gce.instance_name}`, ...times(now, 3600),
    eat_nonce: nonces.length === 1 ? nonces[0] : nonces, eat_profile: 'https://cloud.google.com/confidential-computing/confidential-space/docs/reference/token-claims', secboot: true, oemid: 11129, hwmodel: model,
    swname: 'CONFIDENTIAL_SPACE', swversion: ['260900'], dbgstat: 'disabled-since-boot', google_service_accounts: ['broker@simulated.iam.gserviceaccount.com'],
    ...(model === 'GCP_INTEL_TDX' ? { attester_tcb: ['INTEL'], tdx: { gcp_attester_tcb_status: 'UpToDate', gcp_attester_tcb_date: '2026-02-11T00:00:00Z', tcb_evaluation_data_number: 20 } } : {}),
    submods: {
      confidential_space: { support_attributes: ['LATEST', 'STABLE', 'USABLE'], monitoring_enabled: { memory: false }, ...change.space },
      container: { image_reference: 'registry.invalid/broker:v1', image_digest: `sha256:${filled('b1', 32)}`, image_id: `sha256:${filled('ed', 32)}`, restart_policy: 'Never', args: ['/broker'], env: { PATH: '/bin' }, ...change.container },
      gce,
    },
    ...change.top,
  };
}

export interface GooglePki { readonly root: Issued; readonly intermediate: Issued; readonly leaf: Issued; readonly trustRoot: TrustRoot; /** For the header: leaf first. */ readonly x5c: readonly string[] }
const DAY = 86_400;

/** Certificates shaped like Confidential Space's: a leaf without keyUsage under an intermediate for EK certificates. */
export async function makeGooglePki(now: number, change: Partial<Record<'root' | 'intermediate' | 'leaf', Partial<AuthorityOptions>>> = {}, ring: KeyRing = new KeyRing()): Promise<GooglePki> {
  const subject = (cn: string): Bytes => dn([['C', 'US'], ['O', 'Simulated, proves nothing about hardware'], ['CN', cn]]);
  const [a, b, c] = await Promise.all([ring.get('RSA-4096', 'cs-root'), ring.get('RSA-4096', 'cs-intermediate'), ring.get('RSA-4096', 'cs-leaf')]);
  const root = await makeAuthority({ key: a, subject: subject('DEVELOPMENT ROOT simulated Confidential Space'), notBefore: now - 365 * DAY, notAfter: now + 3650 * DAY, ...change.root });
  const intermediate = await makeAuthority({ key: b, subject: subject('Confidential Space Intermediate CA'), issuer: root, notBefore: now - 100 * DAY, notAfter: now + 900 * DAY, extensions: [extendedKeyUsage(['2.23.133.8.1'])], ...change.intermediate });
  const extensions = [basicConstraints(false), subjectKeyIdentifier(await keyIdOf(c.spki)), authorityKeyIdentifier(await keyIdOf(b.spki))];
  const leaf = await makeAuthority({ key: c, subject: subject('Confidential Space Leaf Certificate'), issuer: intermediate, notBefore: now - 4 * DAY, notAfter: now + 56 * DAY, pathLen: null, change: { extensions }, ...change.leaf });
  const trustRoot: TrustRoot = { name: 'simulated Confidential Space root', purpose: 'google-cs', anchor: 'development', certSha256: hex(await sha256(root.certificate)), spkiSha256: hex(await sha256(root.key.spki)) };
  return { root, intermediate, leaf, trustRoot, x5c: [leaf, intermediate, root].map((i) => base64(i.certificate)) };
}
