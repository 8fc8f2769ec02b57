/** What `ccc verify` does with evidence: the files beside it, collateral, the examination. */
import { readFile } from 'node:fs/promises';
import { bytes, type Bytes, fromHex } from '../../attestation/bytes.ts';
import { bundleItems } from '../../attestation/collateral/bundle.ts';
import { CollateralCache } from '../../attestation/collateral/cache.ts';
import { type Collateral, type CollateralItem, type CollateralKind, collateralOf } from '../../attestation/collateral/collateral.ts';
import { wantedFor } from '../../attestation/collateral/wanted.ts';
import type { CorpusFile } from '../../attestation/corpus/judge.ts';
import { importCollateral } from '../../attestation/corpus/intel-tdx.ts';
import { type Detected, detect } from '../../attestation/detect.ts';
import { type Examination, examine } from '../../attestation/examine.ts';
import { parseCrl } from '../../attestation/formats/crl.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { distinct } from '../../attestation/hardware/snp/chain.ts';
import { type AppraisalPolicy, appraisalPolicySchema } from '../../attestation/policy.ts';
import { type Reason, Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import { PRODUCTION_ROOTS } from '../../attestation/trust/roots.ts';
import { EXIT, UserError } from '../cli/output.ts';
import { cacheFolder, type CollateralOptions, openFetcher, readBundle } from './collateral.ts';

export interface EvidenceOptions extends CollateralOptions {
  readonly platform?: string; readonly kind?: string; readonly with?: readonly string[]; readonly at?: string; readonly offline?: string; readonly signer?: string; readonly fetch?: boolean;
  readonly policy?: string; readonly nonce?: string; readonly revocation?: 'require' | 'ifAvailable';
}

export interface EvidenceResult extends Examination { readonly file: string; readonly platform: string; readonly kind: string; readonly detected: boolean; readonly at: string; readonly notes: readonly string[]; readonly bundle?: string }

/** What is the same for all files of one call. */
export interface Setting {
  readonly at: number; readonly ownTime: boolean; readonly companions: readonly CorpusFile[]; readonly items: readonly CollateralItem[]; readonly beside: Collateral; readonly policy: AppraisalPolicy | undefined; readonly nonce: Bytes | undefined;
  readonly bundle: string | undefined; readonly revocation: 'require' | 'ifAvailable';
}

export async function readInput(path: string): Promise<Bytes> {
  try {
    return bytes(await readFile(path));
  } catch (error) {
    throw new UserError('UNREADABLE', `${path}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}`, 'Name files that exist.', EXIT.usage);
  }
}

export async function prepare(options: EvidenceOptions): Promise<Setting> {
  const now = Math.floor(Date.now() / 1000);
  if (options.offline !== undefined && options.fetch === true) throw new UserError('OFFLINE_FETCH', '--offline and --fetch exclude each other.', 'Leave one of them out.', EXIT.usage);
  const ownTime = options.at === 'own';
  const at = options.at === undefined || ownTime ? now : timeOf(options.at);
  const companions = await Promise.all((options.with ?? []).map(companion));
  const bundle = options.offline === undefined ? undefined : await readBundle(options.offline, options);
  const items = bundle === undefined ? await cached(options, now, at) : bundleItems(bundle, at);
  return {
    at, ownTime, companions, items, beside: layered(collateralOf(companions.flatMap((c) => [...amdList(c, at), ...authorities(c, at)])), importCollateral({ companions })), policy: options.policy === undefined ? undefined : await readPolicy(options.policy),
    nonce: options.nonce === undefined ? undefined : nonceOf(options.nonce), bundle: bundle?.sha256,
    revocation: options.revocation ?? (options.offline !== undefined || options.fetch === true ? 'require' : 'ifAvailable'),
  };
}

/** @throws UserError for evidence that only the caller can name */
export async function verifyEvidence(file: string, data: Bytes, options: EvidenceOptions, setting: Setting): Promise<EvidenceResult> {
  const seen = detect(data);
  const { platform, kind } = stated(options, seen);
  const notes: string[] = [];
  const reasons: Reason[] = [];
  let fetched: readonly CollateralItem[] = [];
  if (options.fetch === true) {
    const collected = await (await openFetcher(options)).collect(wishes(data));
    fetched = collected.items;
    reasons.push(...collected.reasons.filter((r) => r.code === 'COLLATERAL_UNAVAILABLE'));
    notes.push(...collected.reasons.filter((r) => r.code !== 'COLLATERAL_UNAVAILABLE').map((r) => `not fetched: ${r.code} at ${r.path}`));
  }
  const items = [...setting.items, ...fetched];
  const certificates = certificatesOf(setting.companions);
  const result = await examine({
    file, platform, kind, bytes: data, companions: [...setting.companions, ...items.flatMap(asCompanion)], ...certificates,
    trust: { roots: PRODUCTION_ROOTS, revoked: [], now: setting.at, collateral: layered(setting.beside, collateralOf(items)), revocation: setting.revocation },
    ownTime: setting.ownTime, ...(setting.nonce === undefined ? {} : { nonce: setting.nonce }), ...(setting.policy === undefined ? {} : { policy: setting.policy }),
  });
  if (options.kind === undefined && kind !== '') notes.push('the kind was detected, which chose the parser and nothing else');
  if (setting.policy === undefined && result.appraisal !== undefined) notes.push('no policy: production roots, no references; it can say that the hardware is genuine, not what runs on it');
  if (setting.nonce === undefined && result.verdict === 'valid') notes.push('no nonce was stated (--nonce): the evidence may have been made for somebody else, or earlier');
  if (options.fetch !== true && options.offline === undefined && result.reasons.some((r) => r.code === 'COLLATERAL_ABSENT' || r.code === 'CRL_ABSENT')) notes.push('something that its vendor publishes is missing: bring it (--with FILE, --offline BUNDLE), or have it fetched (--fetch)');
  const alone = UNANCHORED[kind];
  const anchored = alone === undefined || result.appraisal !== undefined || (kind === 'hcl-report' && certificates.vek !== undefined);
  if (result.verdict === 'valid' && !anchored) reasons.push({ code: alone, path: file, have: 'a well-formed part of somebody\'s evidence', need: 'what leads from it to a pinned root', next: 'Judge it with the evidence that vouches for it: the hardware report, its certificates, the quote.' });
  if (result.verdict === 'valid' && result.appraisal === undefined && anchored) notes.push('verified; this kind has no claims that a policy appraises');
  const about = { file, platform, kind, detected: options.kind === undefined, at: new Date(setting.at * 1000).toISOString(), notes, ...(setting.bundle === undefined ? {} : { bundle: setting.bundle }) };
  // A vendor that does not answer is no pass, whatever else holds; nor is what nobody vouches for
  if (reasons.length > 0) return { ...about, verdict: 'invalid', reasons: [...reasons, ...result.reasons], checks: [] };
  return { ...about, ...result, ...(setting.bundle === undefined || result.claims === undefined ? {} : { claims: withBundle(result.claims, setting.bundle) }) };
}

/** Parts that anybody could have made: alone they hold together and prove nothing. */
const UNANCHORED: Readonly<Record<string, RefusalCode>> = { 'hcl-report': 'AK_UNBOUND', 'tpm-quote': 'AK_UNBOUND', 'event-log': 'EVENTLOG_BINDING' };

function stated(options: EvidenceOptions, seen: Detected | undefined): Detected {
  const kind = options.kind ?? seen?.kind ?? '';
  const platform = options.platform ?? seen?.platform ?? DEFAULT_PLATFORM[kind] ?? '';
  return { platform, kind };
}

const DEFAULT_PLATFORM: Readonly<Record<string, string>> = {
  'nitro-attestation-document': 'aws-nitro', 'nitrotpm-attestation-document': 'aws-nitro', 'snp-report': 'amd-sev-snp', 'tdx-quote': 'intel-tdx', 'sgx-quote': 'intel-tdx', 'hcl-report': 'azure-cvm', 'azure-evidence-json': 'azure-cvm', 'maa-jwt': 'azure-maa',
  'confidential-space-jwt': 'gcp-confidential-space', 'gce-ak-cert': 'gcp-vtpm', 'event-log': 'gcp-vtpm', 'vcek-der': 'amd-sev-snp', 'vcek-pem': 'amd-sev-snp',
};

function timeOf(text: string): number {
  const time = /^\d{1,10}$/.test(text) ? Number(text) : Date.parse(text) / 1000;
  if (Number.isNaN(time)) throw new UserError('TIME_FORMAT', `${text} is no time.`, 'Use 2026-11-24T12:00:00Z, seconds since 1970, or own (a Nitro document\'s own time).', EXIT.usage);
  return Math.floor(time);
}

function nonceOf(text: string): Bytes {
  try {
    const value = fromHex(text.toLowerCase());
    if (value.length > 0) return value;
  } catch { /* said below */ }
  throw new UserError('NONCE_FORMAT', 'The nonce is not hex.', 'Give the nonce of a Nitro document, or all 64 bytes of report data, in hex.', EXIT.usage);
}

export async function readPolicy(path: string): Promise<AppraisalPolicy> {
  let json: unknown;
  try {
    json = JSON.parse(new TextDecoder().decode(await readInput(path)));
  } catch (error) {
    if (error instanceof UserError) throw error;
    throw new UserError('POLICY_FORMAT', `${path} is no JSON.`, 'Give an appraisal policy as JSON.', EXIT.usage);
  }
  const parsed = appraisalPolicySchema.safeParse(json);
  if (!parsed.success) throw new UserError('POLICY_FORMAT', `${path}: ${parsed.error.issues.map((i) => `${i.path.join('.')}: ${i.message}`).join('; ')}`, 'Look at it with ccc policy lint.', EXIT.usage);
  return parsed.data;
}

/** FILE, or KIND=FILE for what does not show what it is. */
async function companion(name: string): Promise<CorpusFile> {
  const [, kind, path] = /^([a-z][a-z0-9-]*)=(.+)$/.exec(name) ?? [];
  const file = path ?? name;
  const data = await readInput(file);
  return { file, platform: '', kind: kind ?? detect(data)?.kind ?? 'unknown', bytes: data };
}

/** What holds now says little of another time: then only what does not end. */
async function cached(options: CollateralOptions, now: number, at: number): Promise<CollateralItem[]> {
  const items = await new CollateralCache(cacheFolder(options)).all(now);
  const timeless: ReadonlySet<string> = new Set<CollateralKind>(['amd-vek', 'amd-chain', 'azure-vtpm-ca', 'google-ca']);
  return items.filter((i) => Math.abs(now - at) <= 60 || timeless.has(i.kind));
}

const layered = (...all: readonly Collateral[]): Collateral => ({ get: (kind, key) => { for (const one of all) { const item = one.get(kind, key); if (item !== undefined) return item; } return undefined; } });

function wishes(data: Bytes): ReturnType<typeof wantedFor> {
  try {
    return wantedFor(data);
  } catch (error) {
    // Malformed evidence is refused for what it is
    if (error instanceof Refusal) return [];
    throw error;
  }
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}

/** A list of an ARK, by the name of its issuer; whether it is authentic is checked with it. */
function amdList({ kind, bytes: data }: CorpusFile, fetchedAt: number): CollateralItem[] {
  const product = kind === 'crl-der' ? /CN=ARK-([A-Z][a-z]+)(?:,|$)/.exec(attempt(() => parseCrl(data, 'crl'))?.issuerText ?? '')?.[1] : undefined;
  return product === undefined ? [] : [{ kind: 'amd-crl', key: product, bytes: data, source: 'evidence', fetchedAt }];
}

const dersOf = ({ bytes: data, file }: CorpusFile): Bytes[] => (data[0] === 0x30 ? [data] : attempt(() => readPem(data, 'CERTIFICATE', file, 8)) ?? []);

/** CAs below which keys of vTPMs are, by their key identifiers: a path through one counts only when it ends at a pinned root. */
function authorities(file: CorpusFile, fetchedAt: number): CollateralItem[] {
  return dersOf(file).flatMap((der) => {
    const keyId = attempt(() => parseCertificate(der, 'with'))?.subjectKeyId ?? null;
    return keyId === null ? [] : (['azure-vtpm-ca', 'google-ca'] as const).map((kind): CollateralItem => ({ kind, key: keyId, bytes: der, source: 'evidence', fetchedAt }));
  });
}

/** AMD's among the files, by their names. */
function certificatesOf(files: readonly CorpusFile[]): { vek?: Bytes; issuers?: Bytes[] } {
  const named = files.flatMap(dersOf).flatMap((der) => { const name = attempt(() => parseCertificate(der, 'with'))?.commonName; return name === undefined ? [] : [{ der, name }]; });
  const vek = named.find((c) => /^SEV-(?:VCEK|VLEK)$/.test(c.name))?.der;
  const issuers = named.filter((c) => /^(?:ARK|SEV)-/.test(c.name) && !/^SEV-(?:VCEK|VLEK)$/.test(c.name)).map((c) => c.der);
  return { ...(vek === undefined ? {} : { vek }), ...(issuers.length === 0 ? {} : { issuers: distinct(issuers) }) };
}

const COMPANION_KINDS: Partial<Record<CollateralKind, string>> = {
  'amd-chain': 'cert-chain-pem', 'amd-crl': 'crl-der', 'amd-vek': 'vcek-der', 'intel-tcb-info': 'tdx-collateral', 'intel-qe-identity': 'tdx-collateral', 'intel-tcb-signing-chain': 'cert-chain-pem', 'intel-pck-crl': 'crl-der', 'intel-root-crl': 'crl-der', jwks: 'jwks',
};

/** For kinds whose verification takes files. Key sets of several issuers would be mistaken for each other: of these only one is handed over. */
function asCompanion({ kind, key, bytes: data }: CollateralItem, i: number, all: readonly CollateralItem[]): CorpusFile[] {
  const named = COMPANION_KINDS[kind];
  if (named === undefined || (kind === 'jwks' && all.filter((x) => x.kind === 'jwks').length > 1)) return [];
  return [{ file: `${kind}/${key}`, platform: '', kind: named, bytes: data }];
}

function withBundle(claims: unknown, sha256: string): unknown {
  if (typeof claims !== 'object' || claims === null) return claims;
  const collateral = 'collateral' in claims && Array.isArray(claims.collateral) ? claims.collateral as unknown[] : [];
  return { ...claims, collateral: [...collateral, { kind: 'bundle', sha256, source: 'offline' }] };
}
