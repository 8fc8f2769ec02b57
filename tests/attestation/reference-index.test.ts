/** References are looked up, not gone through: the appraisal says what a plain walk through them says, word for word. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { appraise, appraiseAgainst } from '../../attestation/appraise.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import type { Platform } from '../../attestation/evidence.ts';
import { type AppraisalPolicy, appraisalPolicySchema, isComplete, type Reference, referenceRegisters, requiredRegisters } from '../../attestation/policy.ts';
import { lintPolicy } from '../../attestation/policy-lint.ts';
import { type References, referencesOf } from '../../attestation/reference-index.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { evidence, EXPECT, world } from './support.ts';

const nitroClaims = async (): Promise<NormalizedClaims> => {
  const good = await world();
  return awsNitro.verify(await evidence(good), EXPECT, good.trust);
};

const DIGITS: Record<string, number> = { sha256: 64, sha384: 96 };

/** How it was before there was an index. */
function plain(policy: Pick<AppraisalPolicy, 'references'>, platform: string): References {
  const references = policy.references.filter((r) => r.platform === platform);
  const wrong = (reference: Reference, claims: Pick<NormalizedClaims, 'measurements' | 'guest'>): number => {
    const registers = [...referenceRegisters(reference)].filter(([register, need]) => claims.measurements.find((m) => m.register === register && DIGITS[m.alg] === need.length)?.value !== need);
    const key = 'idKeyDigest' in reference ? reference.idKeyDigest : undefined;
    return registers.length + (key === undefined || claims.guest.idKeyDigest === key ? 0 : 1);
  };
  return {
    count: references.length, complete: references.length > 0 && references.every(isComplete),
    registers: [...new Set(references.flatMap((r) => [...referenceRegisters(r).keys()]))].sort(),
    match: (claims) => references.find((r) => isComplete(r) && wrong(r, claims) === 0),
    nearest: (claims) => references.map((r) => ({ r, n: wrong(r, claims) })).sort((a, b) => a.n - b.n)[0]?.r,
  };
}

const digest = (length: number) => fc.integer({ min: 1, max: 3 }).map((n) => String(n).repeat(length));
const optional = <T>(value: fc.Arbitrary<T>) => fc.option(value, { nil: undefined });
const d32 = digest(64);
const d48 = digest(96);
/** Lengths, names and absences that no schema lets through too: appraisal does not rely on one. */
const odd = fc.constantFrom('', 'absent', '1'.repeat(64), '1'.repeat(96), '12');
const PCRS = [4, 7, 8, 9, 11, 12, 13].map((i) => `vTPM:PCR${i}`);
const record = (names: readonly string[], value: fc.Arbitrary<string>) => fc.record(Object.fromEntries(names.map((n) => [n, value])));
const nitro = fc.record({ PCR0: d48, PCR1: d48, PCR2: d48, PCR8: optional(d48) });
const vtpm = fc.tuple(record(PCRS, d32), fc.record({ 'vTPM:PCR14': optional(d32), LAUNCH: optional(d48) })).map(([a, b]) => ({ ...a, ...b }));
const node = fc.oneof(fc.record({ LAUNCH: d48 }), fc.record({ MRTD: d48, RTMR1: d48, RTMR2: d48, RTMR3: optional(d48) }), record(PCRS, d32));
const broken = fc.dictionary(fc.constantFrom('PCR0', 'PCR1', 'PCR2', 'LAUNCH', 'vTPM:PCR4'), odd, { maxKeys: 3 });
const reference = fc.oneof(
  { weight: 4, arbitrary: fc.record({ platform: fc.constant('aws-nitro'), registers: nitro }) },
  { weight: 3, arbitrary: fc.record({ platform: fc.constant('azure-cvm'), registers: vtpm, idKeyDigest: optional(d48) }) },
  { weight: 3, arbitrary: fc.record({ platform: fc.constant('gke'), registers: node }) },
  { weight: 1, arbitrary: fc.record({ platform: fc.constantFrom('aws-nitro', 'azure-cvm', 'gke'), registers: broken, idKeyDigest: optional(fc.oneof(d48, odd)) }) },
);
const references = fc.array(reference, { maxLength: 8 }).map((list) => list.map((r, i) => ({ ...r, id: `r${i}` })) as unknown as Reference[]);
const measurement = fc.tuple(fc.constantFrom('PCR0', 'PCR1', 'PCR2', 'PCR8', 'LAUNCH', 'MRTD', 'RTMR1', 'RTMR2', 'RTMR3', ...PCRS, 'vTPM:PCR14'), fc.constantFrom('sha256', 'sha384'), fc.integer({ min: 1, max: 3 }))
  .map(([register, alg, n]) => ({ register, alg, value: String(n).repeat(DIGITS[alg] as number), covers: 'other', quoted: true }));

describe('the index of references', () => {
  test('says what a walk through them says', async () => {
    const base = await nitroClaims();
    let [matched, refused] = [0, 0];
    await fc.assert(fc.asyncProperty(references, fc.array(measurement, { maxLength: 24 }), fc.option(d48, { nil: undefined }), fc.nat(), fc.boolean(), async (list, random, idKeyDigest, pick, like) => {
      // Half of the time: claims of one of the references, so that some match
      const chosen = like ? list[pick % Math.max(1, list.length)] : undefined;
      const own = chosen === undefined ? [] : [...referenceRegisters(chosen)].map(([register, value]) => ({ register, alg: value.length === 64 ? 'sha256' : 'sha384', value, covers: 'other', quoted: true }));
      const key = chosen !== undefined && 'idKeyDigest' in chosen ? chosen.idKeyDigest : idKeyDigest;
      const platform = chosen?.platform ?? (['aws-nitro', 'azure-cvm', 'gke'] as const)[pick % 3] as Platform;
      const claims = { ...base, platform, guest: { ...base.guest, ...(key === undefined ? {} : { idKeyDigest: key }) }, measurements: [...own, ...random] } as NormalizedClaims;
      const policy: AppraisalPolicy = { id: 'p', role: 'counter', references: list, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave'] };
      const walked = await appraiseAgainst(plain(policy, platform), claims, policy);
      expect(await appraise(claims, policy)).toEqual(walked);
      expect(requiredRegisters(policy, platform)).toEqual(plain(policy, platform).registers);
      if (walked.claims.measurements.some((m) => m.matchedReference !== undefined)) matched += 1;
      else refused += 1;
    }), { numRuns: 600 });
    expect(matched).toBeGreaterThan(60);
    expect(refused).toBeGreaterThan(60);
  });

  const big = (count: number): Reference[] => Array.from({ length: count }, (_, n) => ({ id: `r${n}`, platform: 'aws-nitro', registers: { PCR0: `a${n.toString(16).padStart(95, '0')}`, PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) } }));

  test('a hundred thousand references: the last one is found, the nearest is the first of its kind, lint and schema take them', async () => {
    const list = big(100_000);
    const base = await nitroClaims();
    const claims = (PCR0: string): NormalizedClaims => ({ ...base, measurements: Object.entries({ PCR0, PCR1: 'b'.repeat(96), PCR2: 'c'.repeat(96) }).map(([register, value]) => ({ register, alg: 'sha384', value, covers: 'other', quoted: true })) });
    const index = referencesOf({ references: list }, 'aws-nitro');
    expect(index.match(claims((list.at(-1) as { registers: { PCR0: string } }).registers.PCR0))?.id).toBe('r99999');
    expect(index.match(claims('d'.repeat(96)))).toBeUndefined();
    expect(index.nearest(claims('d'.repeat(96)))?.id).toBe('r0');
    const policy = { id: 'p', role: 'counter', references: list.slice(0, 10_000), maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] };
    expect(appraisalPolicySchema.safeParse(policy).success).toBe(true);
    expect(lintPolicy({ ...policy, references: [...policy.references, ...big(1)] }, 0).map((f) => f.path)).toEqual(['references.10000.id', 'references.10000']);
  });

  test('prepared once, and nobody changes a policy below it', async () => {
    const policy: AppraisalPolicy = { id: 'p', role: 'counter', references: big(2), maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave'] };
    const claims = await nitroClaims();
    const before = await appraise(claims, policy);
    expect(referencesOf(policy, 'aws-nitro')).toBe(referencesOf({ ...policy }, 'aws-nitro'));
    expect(() => { (policy.references[0] as { registers: { PCR0: string } }).registers.PCR0 = 'd'.repeat(96); }).toThrow(TypeError);
    expect(() => policy.references.push(...big(1))).toThrow(TypeError);
    expect(() => { (policy as { maxAgeSeconds: number }).maxAgeSeconds = 3600; }).toThrow(TypeError);
    expect(await appraise(claims, policy)).toEqual(before);
    // Another policy of the same references is another policy
    const other = await appraise(claims, { ...policy, id: 'q' });
    expect(other.policySha256).not.toBe(before.policySha256);
  });
});
