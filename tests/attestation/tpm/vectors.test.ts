/** Genuine quotes, event logs, HCL reports and evidence of Azure VMs: the expected verdict, for the expected reason. */
import { describe, expect, test } from 'vitest';
import { judgeFor } from '../../../attestation/corpus/registry.ts';
import type { CorpusFile } from '../../../attestation/corpus/judge.ts';
import type { RefusalCode } from '../../../attestation/refusal.ts';
import { manifest, NO_VECTORS, vector } from '../support.ts';

const REASONS: Readonly<Record<string, readonly RefusalCode[]>> = {
  // Signed by another key, and without PCR values
  'azure-cvm/trustee/snp-raw.foreign-quote.json': ['SIG_INVALID', 'PCR_DIGEST'],
  'azure-cvm/microsoft-guest-attestation/hcl-v1.bin': ['HCL_BINDING'],
  'azure-cvm/c8s/aks_hcl_envelope.bin': ['HCL_FORMAT'],
  'azure-cvm/derived/snp.runtime-byte.hcl.bin': ['HCL_BINDING'],
  'azure-cvm/derived/snp.ak-swapped.hcl.bin': ['HCL_BINDING'],
  'azure-cvm/derived/snp.quote-sig.quote.json': ['SIG_INVALID'],
  'azure-cvm/derived/snp.pcr-value.quote.json': ['PCR_DIGEST'],
  'azure-cvm/derived/snp.magic.quote.json': ['TPM_FORMAT', 'SIG_INVALID'],
  'azure-cvm/derived/snp-hcl-with-tdx-quote.hcl.bin': ['HCL_REPORT_TYPE'],
  // The digest is part of what is signed
  'gcp-vtpm/derived/gcp-amd.attest-bit.json': ['SIG_INVALID', 'PCR_DIGEST'],
  'gcp-vtpm/derived/gcp-amd.nonce.json': ['NONCE_MISMATCH'],
  'gcp-vtpm/derived/gcp-amd.pcr4.json': ['PCR_DIGEST'],
  'gcp-vtpm/derived/gcp-amd.no-intermediate.json': ['CHAIN_ORDER'],
  // The other VM's certificate begins a little later than the quote
  'gcp-vtpm/derived/gcp-amd.foreign-ak-chain.json': ['CHAIN_NOT_YET_VALID', 'AK_UNBOUND', 'SIG_INVALID'],
};

interface Entry { file: string; platform: string; kind: string; role: string; expected: 'valid' | 'invalid'; verified_at: string | null; companions?: string[]; facts?: Record<string, unknown> }
const all = manifest() as unknown as Entry[];
const byName = new Map(all.map((e) => [e.file, e]));
const ours = all.filter((e) => e.role === 'vector' && ((e.platform === 'azure-cvm' && e.kind !== 'tdx-quote') || e.kind === 'tpm-quote' || (e.platform === 'gcp-vtpm' && e.kind === 'event-log')));
const fileOf = ({ file, platform, kind }: Entry): CorpusFile => ({ file, platform, kind, bytes: vector(file) });

describe.skipIf(NO_VECTORS)('vectors', () => {
  test('all of them are here, and every refusal has its reason', () => {
    expect(ours.length).toBeGreaterThanOrEqual(58);
    expect(ours.filter((e) => e.expected === 'invalid').map((e) => e.file).sort()).toEqual(Object.keys(REASONS).sort());
  });

  test.each(ours)('$file is $expected', async (entry) => {
    const judge = judgeFor(entry.platform, entry.kind);
    const companions = (entry.companions ?? []).map((c) => fileOf(byName.get(c) as Entry));
    const verdict = await judge?.({ ...fileOf(entry), companions, at: entry.verified_at === null ? null : Date.parse(entry.verified_at) / 1000 });
    expect(verdict?.verdict).toBe(entry.expected);
    expect(verdict?.codes).toEqual(REASONS[entry.file] ?? []);
    const claims = verdict?.claims as Record<string, unknown> | undefined;
    const { facts } = entry;
    if (claims === undefined || facts === undefined) return;
    for (const [fact, name] of [['report_data', 'reportData'], ['extraData', 'extraData']] as const) {
      if (facts[fact] !== undefined && !(fact === 'extraData' && entry.kind === 'hcl-report')) expect(claims[name], fact).toBe(facts[fact]);
    }
  });

  test('the certificate of the attestation key proves the cloud; evidence without it only says so', async () => {
    const origin = async (file: string) => {
      const entry = byName.get(file) as Entry;
      const verdict = await judgeFor('azure-cvm', entry.kind)?.({ ...fileOf(entry), companions: (entry.companions ?? []).map((c) => fileOf(byName.get(c) as Entry)), at: Date.parse(entry.verified_at as string) / 1000 });
      return (verdict?.claims as { origin?: string } | undefined)?.origin;
    };
    expect(await origin('azure-cvm/flashbots/1764662251.evidence.json')).toBe('proven');
    expect(await origin('azure-cvm/trustee/tdx-v1.evidence.json')).toBe('asserted');
  });

  test('runtime data and version as the peer\'s parser reads them', async () => {
    const { parseHclReport } = await import('../../../attestation/formats/hcl-report.ts');
    const lengths = all.filter((e) => e.kind === 'hcl-report' && e.facts?.['var_size'] !== undefined && e.expected === 'valid').map((e) => [parseHclReport(vector(e.file), e.file).runtimeData.length, e.facts?.['var_size']]);
    const versions = all.filter((e) => e.kind === 'hcl-report' && e.facts?.['hcl_version'] !== undefined && e.expected === 'valid').map((e) => [parseHclReport(vector(e.file), e.file).version, e.facts?.['hcl_version']]);
    expect(lengths.length).toBeGreaterThan(8);
    expect(new Set(versions.map(([have]) => have))).toEqual(new Set([1, 2]));
    for (const [have, need] of versions) expect(have).toBe(need);
    for (const [have, need] of lengths) expect(have).toBe(need);
  });
});
