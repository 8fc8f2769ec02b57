/** Genuine tokens of Azure Attestation and of Confidential Space, and what was made of them: the expected verdict, for the expected reason. */
import { describe, expect, test } from 'vitest';
import { judgeMaaScenario, judgeMaaToken } from '../../../attestation/corpus/azure-maa.ts';
import { judgeConfidentialSpaceScenario, judgeConfidentialSpaceToken } from '../../../attestation/corpus/gcp-confidential-space.ts';
import type { CorpusFile, Judge, Vector } from '../../../attestation/corpus/judge.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { manifest, type ManifestEntry, NO_VECTORS, vector } from '../support.ts';

type Entry = ManifestEntry & { readonly companions: readonly string[] };
const all = manifest() as Entry[];
const JUDGES: Readonly<Record<string, Judge>> = { 'azure-maa/maa-jwt': judgeMaaToken, 'azure-maa/scenario': judgeMaaScenario, 'gcp-confidential-space/confidential-space-jwt': judgeConfidentialSpaceToken, 'gcp-confidential-space/scenario': judgeConfidentialSpaceScenario };
const entries = all.filter((e) => e.role === 'vector' && (e.platform === 'azure-maa' || e.platform === 'gcp-confidential-space'));

const REASONS: Readonly<Record<string, readonly RefusalCode[]>> = {
  'azure-maa/derived/pcabound-tdxvm-token.alg-none.jwt': ['JWT_ALG'],
  'azure-maa/derived/pcabound-tdxvm-token.alg-hs256.jwt': ['JWT_ALG'],
  'azure-maa/derived/pcabound-tdxvm-token.payload-changed.jwt': ['JWT_SIGNATURE'],
  'azure-maa/derived/pcabound-tdxvm-token.sig-bit.jwt': ['JWT_SIGNATURE'],
  // jku is passed over, and signed
  'azure-maa/derived/pcabound-tdxvm-token.jku-evil.jwt': ['JWT_SIGNATURE'],
  'azure-maa/derived/pcabound-tdxvm-token.two-parts.jwt': ['JWT_FORMAT'],
  'azure-maa/derived/tdxvm-token.expired.json': ['JWT_EXPIRED'],
  'gcp-confidential-space/oak/pki-invalid-signature.jwt': ['JWT_SIGNATURE'],
  'gcp-confidential-space/derived/debug-token.alg-none.jwt': ['JWT_ALG'],
  'gcp-confidential-space/derived/debug-token.alg-hs256.jwt': ['JWT_ALG'],
  'gcp-confidential-space/derived/debug-token.payload-changed.jwt': ['JWT_SIGNATURE'],
  'gcp-confidential-space/derived/debug-token.sig-bit.jwt': ['JWT_SIGNATURE'],
  'gcp-confidential-space/derived/debug-token.two-parts.jwt': ['JWT_FORMAT'],
  'gcp-confidential-space/derived/prod-token.expired.json': ['JWT_EXPIRED'],
};

const fileOf = (name: string): CorpusFile => {
  const { file, platform, kind } = all.find((e) => e.file === name) as Entry;
  return { file, platform, kind, bytes: vector(file) };
};
const vectorOf = (entry: Entry): Vector => ({ ...fileOf(entry.file), companions: entry.companions.map(fileOf), at: entry.verified_at === null ? null : Date.parse(entry.verified_at) / 1000 });
const judge = (v: Vector) => (JUDGES[`${v.platform}/${v.kind}`] as Judge)(v);

describe.skipIf(NO_VECTORS)('tokens of the vectors', () => {
  test('all of them are here', () => {
    expect(entries).toHaveLength(19);
    expect(entries.filter((e) => e.expected === 'invalid').map((e) => e.file).sort()).toEqual(Object.keys(REASONS).sort());
    for (const e of entries) expect(Object.keys(JUDGES)).toContain(`${e.platform}/${e.kind}`);
  });

  test.each(entries)('$file is $expected', async (entry) => {
    const { verdict, codes, claims } = await judge(vectorOf(entry));
    expect([verdict, codes]).toEqual([entry.expected, REASONS[entry.file] ?? []]);
    if (verdict === 'invalid') return;
    const { facts } = entry as { facts?: Record<string, unknown> };
    expect(claims).toMatchObject({ source: 'service', anchor: 'production', issuedAt: facts?.['iat'], expiresAt: facts?.['exp'] });
    if (entry.platform === 'azure-maa') expect(claims).toMatchObject({ issuer: facts?.['iss'], kid: facts?.['kid'], technology: 'tdx', debug: facts?.['debuggable'], compliance: facts?.['compliance'] });
    else expect(claims).toMatchObject({ technology: 'sev', hwModel: facts?.['hwmodel'], debug: facts?.['dbgstat'] === 'enabled' });
  });

  const genuine = entries.filter((e) => e.expected === 'valid');

  test.each(genuine)('$file is refused without its keys', async (entry) => {
    const v = vectorOf(entry);
    const { codes } = await judge({ ...v, companions: [] });
    if (entry.file.includes('/pki-')) expect(codes).toEqual([]);
    else expect(codes).toEqual(entry.platform === 'azure-maa' ? ['COLLATERAL_ABSENT'] : ['JWT_KEY']);
  });

  test('a key set of another service does not count', async () => {
    const maa = vectorOf(genuine.find((e) => e.file.endsWith('pcabound-tdxvm-token.jwt')) as Entry);
    const google = vectorOf(genuine.find((e) => e.file.endsWith('prod-token.jwt')) as Entry);
    expect((await judge({ ...maa, companions: google.companions })).codes).toEqual(['JWT_KEY']);
    expect((await judge({ ...google, companions: maa.companions })).codes).toEqual(['JWT_KEY']);
  });

  test('the same token as evidence of the other service is refused', async () => {
    const google = vectorOf(genuine.find((e) => e.file.endsWith('prod-token.jwt')) as Entry);
    expect((await judgeMaaToken(google)).codes).toEqual(['JWT_ISSUER']);
  });

  test('runtime data of another machine, or changed in white space only, is not bound', async () => {
    const v = vectorOf(genuine.find((e) => e.file.endsWith('pcabound-tdxvm-token.jwt')) as Entry);
    const other = vectorOf(genuine.find((e) => e.file.endsWith('/tdxvm-token.jwt')) as Entry);
    const runtime = v.companions.find((c) => c.kind === 'runtime-data-json') as CorpusFile;
    const spaced: CorpusFile = { ...runtime, bytes: new Uint8Array([...runtime.bytes, 0x20]) };
    expect((await judge({ ...v, companions: v.companions.map((c) => (c === runtime ? spaced : c)) })).codes).toEqual(['RUNTIME_UNBOUND']);
    // A token without runtime data: its signature holds, any binding check must fail
    expect((await judge({ ...other, companions: v.companions })).codes).toEqual(['RUNTIME_UNBOUND']);
    expect((await judge(v)).claims).toMatchObject({ bound: { runtime: true, challenge: false } });
  });

  test('a root that only lies beside the token is not trusted', async () => {
    const v = vectorOf(genuine.find((e) => e.file.includes('/pki-')) as Entry);
    expect((await judge({ ...v, at: (v.at as number) + 3600 * 24 * 365 * 3 })).codes).toEqual(['CHAIN_EXPIRED', 'JWT_KEY']);
  });
});
