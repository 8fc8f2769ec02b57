/** One piece of simulated evidence of each kind that verifies, and the signatures that it cannot do without. */
import type { Expectation, TrustContext } from '../../attestation/adapter.ts';
import { d32, d64, ed25519Spki } from '../../attestation/binding.ts';
import { type Bytes, randomBytes, utf8 } from '../../attestation/bytes.ts';
import { CheckList } from '../../attestation/checks.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import { type CollateralItem, collateralOf } from '../../attestation/collateral/collateral.ts';
import type { BindingFields, Platform } from '../../attestation/evidence.ts';
import type { SignatureAlgorithm } from '../../attestation/formats/signature.ts';
import { verifySnp } from '../../attestation/hardware/snp/verify.ts';
import { verifyTdxQuote } from '../../attestation/hardware/tdx/verify.ts';
import { encodeAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import { azureCvm } from '../../attestation/platforms/azure-cvm/verify.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { encodeGkeEvidence } from '../../attestation/platforms/gke/container.ts';
import { gkeSelection } from '../../attestation/platforms/gke/evidence.ts';
import { gke } from '../../attestation/platforms/gke/verify.ts';
import { makeAzureWorld } from '../../attestation/platforms/simulated/azure.ts';
import { makeGceWorld } from '../../attestation/platforms/simulated/gce.ts';
import { type KeyRing, type KeyType, signRaw } from '../../attestation/platforms/simulated/keys.ts';
import { encodePayload, entriesOf, signDocument } from '../../attestation/platforms/simulated/nsm.ts';
import { makeChain } from '../../attestation/platforms/simulated/pki.ts';
import { encodeSnpReport, signSnpReport, snpReportFields } from '../../attestation/platforms/simulated/snp.ts';
import { makeSnpCrl, makeSnpPki, makeVek, snpDevelopmentRoot } from '../../attestation/platforms/simulated/snp-pki.ts';
import { makeTdxWorld } from '../../attestation/platforms/simulated/tdx.ts';
import { googleClaims, hclRuntime, jwkOf, keySet, maaPlatformClaims, SIMULATED_GOOGLE_ISSUER, SIMULATED_MAA_ISSUER, signToken } from '../../attestation/platforms/simulated/tokens.ts';
import { verifyGoogle } from '../../attestation/services/google.ts';
import { verifyMaa } from '../../attestation/services/maa.ts';
import { hex, sha256 } from '../../attestation/bytes.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';

/** Signatures over so many bytes. */
export interface Signature { readonly key: KeyType; readonly algorithm: SignatureAlgorithm; readonly bytes: number; readonly times: number }
export interface Kind {
  readonly name: string;
  /** Of this evidence and of the collateral that is judged with it, without certificates. */
  readonly least: readonly Signature[];
  /** Of the evidence alone, where that is fewer: what is verified every time, whatever a warm verifier knows. */
  readonly own?: readonly Signature[];
  readonly trust: TrustContext;
  /** @throws Refusal */
  readonly verify: (trust: TrustContext) => Promise<unknown>;
  readonly goal?: number;
}

export const bindingOf = (platform: Platform): BindingFields => ({
  platform, role: 'counter', cell: 'bench', challengeId: randomBytes(16), nonce: randomBytes(32), audience: 'bench', receivingKey: randomBytes(1216), signingKey: randomBytes(32), tlsSpkiSha256: new Uint8Array(0),
  policyDigest: randomBytes(32), configDigest: randomBytes(32), payloadDigest: new Uint8Array(32),
});
const PCRS = [4, 7, 8, 9, 11, 12, 13].map((i) => `vTPM:PCR${i}`);
const item = (kind: CollateralItem['kind'], key: string, data: Bytes, now: number): CollateralItem => ({ kind, key, bytes: data, source: 'offline', fetchedAt: now });
const signature = (key: KeyType, algorithm: SignatureAlgorithm, bytes: number, times = 1): Signature => ({ key, algorithm, bytes, times });

async function must<T>(work: (checks: CheckList) => Promise<T | undefined>): Promise<T> {
  const checks = new CheckList();
  const facts = await work(checks);
  checks.refuseIfFailed();
  if (facts === undefined) throw new Error('no facts and no reason');
  return facts;
}

async function nitro(now: number): Promise<Kind & { readonly claims: () => Promise<NormalizedClaims> }> {
  const [instanceId, moduleId] = ['i-0123456789abcdef0', 'i-0123456789abcdef0-enc0123456789abcdef'];
  const chain = await makeChain({ region: 'eu-central-1', instanceId, moduleId, now });
  const fields = bindingOf('aws-nitro');
  const pcrs = new Map<number, Bytes>(Array.from({ length: 16 }, (_, i) => [i, new Uint8Array(48).fill(i < 3 ? 0xa0 + i : 0)]));
  const payload = encodePayload(entriesOf({ moduleId, timestamp: now * 1000, pcrs, certificate: chain.certificate, cabundle: chain.cabundle, publicKey: ed25519Spki(fields.signingKey), userData: await d64(fields), nonce: fields.nonce }));
  const document = await signDocument(payload, chain.leafKey);
  const rootDer = chain.cabundle[0] as Bytes;
  const root = { name: 'bench', purpose: 'aws-nitro', platform: 'aws-nitro', anchor: 'development', certSha256: hex(await sha256(rootDer)), spkiSha256: hex(await sha256(parseCertificate(rootDer, 'root').spki)) } as const;
  const trust: TrustContext = { roots: [root], revoked: [], now };
  const verify = (given: TrustContext) => awsNitro.verify({ platform: 'aws-nitro', document }, { platform: 'aws-nitro', binding: fields, maxAgeSeconds: 300 }, given);
  return { name: 'Nitro document', least: [signature('P-384', 'ES384', payload.length), signature('P-384', 'ES384', 500)], own: [signature('P-384', 'ES384', payload.length)], trust, verify, claims: () => verify(trust) };
}

async function snp(ring: KeyRing, now: number): Promise<Kind[]> {
  const pki = await makeSnpPki({ product: 'Genoa', now, keys: ring });
  const vek = await makeVek(pki, 'vcek', now, ring);
  const binding = bindingOf('gke');
  const report = await signSnpReport(encodeSnpReport(snpReportFields('Genoa', 'vcek', { version: 3, reportData: await d64(binding) })), vek.key);
  const [root, crl, issuers] = [await snpDevelopmentRoot(pki), await makeSnpCrl(pki, now), [pki.ask.certificate, pki.ark.certificate]];
  const trust: TrustContext = { roots: [root], revoked: [], now, collateral: collateralOf([item('amd-crl', 'Genoa', crl, now)]) };
  const least = [signature('P-384', 'ES384', 0x2a0)];
  const asIs: Kind = { name: 'SNP report', least, trust, goal: 1.15, verify: (given) => must((checks) => verifySnp({ report, vek: vek.certificate, issuers }, given, now, checks)) };
  const document = encodeGkeEvidence({ technology: 'sev-snp', report, vek: vek.certificate, issuers });
  // Google's intermediate certificates are pinned as such for SNP on GKE
  const pinned = { name: 'simulated ASK', purpose: 'amd-ask/Genoa', anchor: 'development', certSha256: hex(await sha256(pki.ask.certificate)), spkiSha256: hex(await sha256(pki.ask.key.spki)) } as const;
  const expect: Expectation = { platform: 'gke', binding, maxAgeSeconds: 300, registers: ['LAUNCH'] };
  return [asIs, { name: 'GKE node, SEV-SNP', least, trust: { ...trust, roots: [root, pinned] }, verify: (given) => gke.verify({ platform: 'gke', document }, expect, given) }];
}

async function tdx(ring: KeyRing, now: number): Promise<Kind> {
  const world = await makeTdxWorld({ now, ring });
  const trust: TrustContext = { roots: [world.root], revoked: [], now, collateral: collateralOf(world.collateral) };
  const own = [signature('P-256', 'ES256', 632), signature('P-256', 'ES256', 384)];
  return { name: 'TDX quote with collateral', own, least: [...own, signature('P-256', 'ES256', 4000, 2), signature('P-256', 'ES256', 300, 2)], trust, goal: 1.3, verify: (given) => must((checks) => verifyTdxQuote({ quote: world.quote }, given, now, checks)) };
}

async function azure(ring: KeyRing, now: number): Promise<Kind> {
  const binding = bindingOf('azure-cvm');
  const world = await makeAzureWorld({ now, ring, extraData: await d32(binding) });
  const trust: TrustContext = { roots: world.roots, revoked: [], now, collateral: collateralOf(world.collateral) };
  const document = encodeAzureEvidence(world.parts);
  return {
    name: 'Azure VM, SEV-SNP', least: [signature('P-384', 'ES384', 0x2a0), signature('RSA-2048', 'RS256', 145), signature('RSA-2048', 'RS256', 1000)], trust,
    verify: (given) => azureCvm.verify({ platform: 'azure-cvm', document }, { platform: 'azure-cvm', binding, maxAgeSeconds: 300, registers: PCRS }, given),
  };
}

async function gkeSev(ring: KeyRing, now: number): Promise<Kind> {
  const binding = bindingOf('gke');
  const world = await makeGceWorld({ now, ring, extraData: await d32(binding), select: gkeSelection(PCRS) });
  const trust: TrustContext = { roots: [world.root], revoked: [], now, collateral: collateralOf(world.collateral) };
  const document = encodeGkeEvidence(world.parts);
  return { name: 'GKE node, SEV (vTPM)', least: [signature('P-256', 'ES256', 145), signature('RSA-2048', 'RS256', 1000)], trust, verify: (given) => gke.verify({ platform: 'gke', document }, { platform: 'gke', binding, maxAgeSeconds: 300, registers: PCRS }, given) };
}

async function tokens(ring: KeyRing, now: number): Promise<Kind[]> {
  const key = await ring.get('RSA-2048', 'service');
  const kid = 'bench';
  const runtimeData = hclRuntime(randomBytes(64));
  const maa = await signToken(await maaPlatformClaims('sev-snp', runtimeData, now), { key, header: { kid } });
  const google = await signToken(googleClaims('GCP_INTEL_TDX', 'bench', ['n'.repeat(43)], now), { key, header: { kid } });
  const least = (token: string) => [signature('RSA-2048', 'RS256', utf8(token).length)];
  const trustOf = (issuer: string): TrustContext => ({ roots: [], revoked: [], now, collateral: collateralOf([keySet(issuer, [jwkOf(key, kid)], now)]) });
  return [
    { name: 'Azure Attestation token', least: least(maa), trust: trustOf(SIMULATED_MAA_ISSUER), verify: (given) => must((checks) => verifyMaa({ token: maa, issuer: SIMULATED_MAA_ISSUER, expect: { verdict: true, runtimeData: utf8(runtimeData) } }, given, now, checks)) },
    { name: 'Google token', least: least(google), trust: trustOf(SIMULATED_GOOGLE_ISSUER), verify: (given) => must((checks) => verifyGoogle({ token: google, mode: 'oidc', issuer: SIMULATED_GOOGLE_ISSUER, expect: { audience: 'bench', nonces: ['n'.repeat(43)], maxAgeSeconds: 300 } }, given, now, checks)) },
  ];
}

/** Bare verifications side by side, each with a key of its own that is imported already. */
export async function bare(least: readonly Signature[], ring: KeyRing): Promise<() => Promise<void>> {
  const all = await Promise.all(least.flatMap(({ key: type, algorithm, bytes, times }) => Array.from({ length: times }, async () => {
    const [key, data] = [await ring.get(type, 'bare'), randomBytes(bytes)];
    const value = await signRaw(key, algorithm, data);
    const scheme = algorithm.startsWith('ES') ? { name: 'ECDSA', namedCurve: type, hash: algorithm === 'ES256' ? 'SHA-256' : 'SHA-384' } : { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
    return { scheme, value, data, key: await crypto.subtle.importKey('spki', key.spki, scheme, false, ['verify']) };
  })));
  return async () => {
    const good = await Promise.all(all.map(({ scheme, key, value, data }) => crypto.subtle.verify(scheme, key, value, data)));
    if (!good.every(Boolean)) throw new Error('a good signature does not verify');
  };
}

export async function kinds(ring: KeyRing, now: number): Promise<{ readonly all: readonly Kind[]; readonly claims: NormalizedClaims; readonly snp: Kind }> {
  const document = await nitro(now);
  const [reports, quote, vm, sev, services] = [await snp(ring, now), await tdx(ring, now), await azure(ring, now), await gkeSev(ring, now), await tokens(ring, now)];
  return { all: [document, ...reports, quote, vm, sev, ...services], claims: await document.claims(), snp: reports[0] as Kind };
}
