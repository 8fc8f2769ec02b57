/** Evidence of every kind, verified cold and warm, against the bare signature verifications that it cannot do without; appraisal as what is configured grows. */
import { appraise } from '../../attestation/appraise.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import type { AppraisalPolicy, Reference } from '../../attestation/policy.ts';
import { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import { bare, type Kind, kinds } from './evidence-kinds.ts';
import { load } from './machine.ts';
import { atMost, type Goal, ms, ratio, type Section } from './section.ts';
import { interleaved, spread } from './stats.ts';

const SIZES = [1, 1_000, 100_000] as const;
/** The largest against the smallest: more is growth. */
const FLAT = 2;

const described = ({ least }: Kind): string => least.map((s) => `${s.times > 1 ? `${s.times} ` : ''}${s.key}`).join(' + ');

async function median(rounds: number, work: () => Promise<unknown>): Promise<number> {
  const samples: number[] = [];
  for (let i = -5; i < rounds; i++) {
    const began = performance.now();
    await work();
    if (i >= 0) samples.push(performance.now() - began);
  }
  return spread(samples).median;
}

const other = (n: number): string => n.toString(16).padStart(96, 'b');
/** The one that matches comes last. */
function policyWith(claims: NormalizedClaims, references: number, id = 'bench'): AppraisalPolicy {
  const value = (name: string): string => claims.measurements.find((m) => m.register === name)?.value ?? '';
  const made = (n: number): Reference => ({ id: `image-${n}`, platform: 'aws-nitro', registers: { PCR0: other(n), PCR1: value('PCR1'), PCR2: value('PCR2') } });
  const list = Array.from({ length: references - 1 }, (_, n) => made(n));
  list.push({ id: 'image', platform: 'aws-nitro', registers: { PCR0: value('PCR0'), PCR1: value('PCR1'), PCR2: value('PCR2') } });
  return { id, role: 'counter', references: list, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave'] };
}

async function each(work: (size: number) => Promise<number>): Promise<number[]> {
  const out: number[] = [];
  for (const size of SIZES) out.push(await work(size));
  return out;
}

async function growth(claims: NormalizedClaims, snp: Kind, rounds: number): Promise<{ rows: string[][]; goals: Goal[] }> {
  const appraised = async (policy: AppraisalPolicy | undefined): Promise<void> => {
    if (policy === undefined || (await appraise(claims, policy)).status !== 'warning') throw new Error('claims that match are not accepted');
  };
  // One thing after the other: what the next one keeps is no weight on this one's memory
  const measured = {
    'SNP report, chains in the cache': await each(async (size) => {
      const chainCache = new ChainCache(2 * SIZES[2]);
      for (let n = 0; n < size; n++) chainCache.add(`${n} 0 ${other(n)} CN=other`);
      return median(rounds, () => snp.verify({ ...snp.trust, chainCache }));
    }),
    'appraisal, policies held': await each(async (size) => {
      const held = new Map(Array.from({ length: size }, (_, n) => [`policy-${n}`, policyWith(claims, 1, `policy-${n}`)]));
      let turn = 0;
      return median(rounds, () => appraised(held.get(`policy-${(turn++ * 7919) % size}`)));
    }),
    'appraisal, reference values': await each((size) => {
      const policy = policyWith(claims, size);
      return median(size > 1_000 ? Math.min(rounds, 20) : rounds, () => appraised(policy));
    }),
  };
  const rows = Object.entries(measured).map(([name, values]) => [name, ...values.map(ms), ratio((values.at(-1) as number) / (values[0] as number))]);
  return { rows, goals: Object.entries(measured).map(([name, values]) => atMost(`${name}: 100 000 / 1`, (values.at(-1) as number) / (values[0] as number), FLAT)) };
}

export async function evidence(rounds: number): Promise<Section> {
  const ring = new KeyRing();
  const { all, claims, snp } = await kinds(ring, Math.floor(Date.now() / 1000));
  const rows: string[][] = [];
  const goals: Goal[] = [];
  for (const kind of all) {
    const chainCache = new ChainCache();
    const times = await interleaved(rounds, { bare: await bare(kind.least, ring), cold: () => kind.verify(kind.trust), warm: () => kind.verify({ ...kind.trust, chainCache }) }, { warmup: 20 });
    const perSecond = (milliseconds: number): string => (1000 / milliseconds).toFixed(0);
    rows.push([kind.name, described(kind), ms(times.bare.median), ms(times.cold.median), ms(times.cold.p99), perSecond(times.cold.median), ms(times.warm.median), ms(times.warm.p99), perSecond(times.warm.median), ratio(times.warm.median / times.bare.median), ratio(times.warm.min / times.bare.min)]);
    if (kind.goal !== undefined) goals.push(atMost(`${kind.name}, warm / bare signatures`, times.warm.median / times.bare.median, kind.goal));
  }
  const grown = await growth(claims, snp, Math.min(rounds, 200));
  return {
    title: 'Verifying evidence of every kind',
    about: [
      'One verification after the other; milliseconds. Bare: the signatures in the second column by WebCrypto, side by side, keys imported: what no verifier can do without for this evidence (of TDX: quote and quoting enclave, TCB info and QE identity, two lists; of quotes by a TPM: the certificate of its key too).',
      'Cold: everything parsed and verified anew. Warm: with the chain cache that a verifier keeps; the signatures of the evidence itself are verified each time. Simulated evidence.',
      'The second table: appraisal with so many reference values in its policy (the one that matches comes last; a policy file may hold 64), with so many policies held, and verification with so many other chains in the cache.',
    ],
    head: ['evidence', 'signatures at least', 'bare, p50', 'cold, p50', 'cold, p99', 'cold, ops/s', 'warm, p50', 'warm, p99', 'warm, ops/s', 'warm / bare, p50', 'warm / bare, minimum'],
    rows,
    more: { head: ['ms, median', ...SIZES.map(String), '100000 / 1'], rows: grown.rows },
    goals: [...goals, ...grown.goals],
    load: load(),
  };
}
