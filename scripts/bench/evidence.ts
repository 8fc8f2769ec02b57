/** Evidence of every kind, verified cold and warm, against the bare signature verifications that it cannot do without; appraisal as what is configured grows. */
import { appraise } from '../../attestation/appraise.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import type { NormalizedClaims } from '../../attestation/claims.ts';
import type { AppraisalPolicy, Reference } from '../../attestation/policy.ts';
import { useNativeSha256 } from '../../workloads/protocol/sha256-native.ts';
import { evidenceBrowser } from './evidence-browser.ts';
import { type Kind, kinds, type Signature } from './evidence-kinds.ts';
import { casesOf, type Keys, ringOf } from './evidence-loop.ts';
import { evidencePool } from './evidence-pool.ts';
import { load } from './machine.ts';
import { atMost, type Goal, ms, ratio, type Section } from './section.ts';
import { interleaved, spread } from './stats.ts';

const SIZES = [1, 1_000, 100_000] as const;
/** The largest against the smallest: more is growth. */
const FLAT = 2;

const described = (list: readonly Signature[]): string => list.map((s) => `${s.times > 1 ? `${s.times} ` : ''}${s.key}`).join(' + ');

async function median(rounds: number, work: () => Promise<unknown>): Promise<number> {
  const samples: number[] = [];
  for (let i = -5; i < rounds; i++) {
    const began = performance.now();
    await work();
    if (i >= 0) samples.push(performance.now() - began);
  }
  return spread(samples).median;
}

const other = (n: number): string => `b${n.toString(16).padStart(95, '0')}`;
/** How many of the policies held are used, again and again. */
const IN_USE = 64;
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
      const use = (turn: number) => appraised(held.get(`policy-${((turn % IN_USE) * 7919) % size}`));
      for (let turn = 0; turn < IN_USE; turn++) await use(turn);
      let turn = 0;
      return median(rounds, () => use(turn++));
    }),
    'appraisal, reference values': await each((size) => {
      const policy = policyWith(claims, size);
      return median(rounds, () => appraised(policy));
    }),
    'the same, refused': await each((size) => {
      const policy = policyWith(claims, size);
      const strange = { ...claims, measurements: claims.measurements.map((m) => ({ ...m, value: m.register === 'PCR0' ? other(-1) : m.value })) };
      return median(rounds, async () => {
        if ((await appraise(strange, policy)).status !== 'contraindicated') throw new Error('claims that do not match are accepted');
      });
    }),
  };
  const rows = Object.entries(measured).map(([name, values]) => [name, ...values.map(ms), ratio((values.at(-1) as number) / (values[0] as number))]);
  return { rows, goals: Object.entries(measured).map(([name, values]) => atMost(`${name}: 100 000 / 1`, (values.at(-1) as number) / (values[0] as number), FLAT)) };
}

export async function evidence(rounds: number): Promise<Section[]> {
  useNativeSha256();
  const [keys, now]: [Keys, number] = [{}, Math.floor(Date.now() / 1000)];
  const ring = ringOf(keys);
  const { all, claims, snp } = await kinds(ring, now);
  const rows: string[][] = [];
  const goals: Goal[] = [];
  for (const kind of all) {
    const { cold, ...compared } = await casesOf(kind, ring);
    // Apart: what parses everything anew leaves the next one cold caches of the processor and its garbage, which no warm verifier has around it
    const t = { ...await interleaved(rounds, compared, { warmup: 500 }), ...await interleaved(rounds, { cold }, { warmup: 100 }) };
    const perSecond = (milliseconds: number): string => (1000 / milliseconds).toFixed(0);
    rows.push([kind.name, described(kind.least), ms(t.bare.median), ms(t.cold.median), ms(t.cold.p99), perSecond(t.cold.median), ms(t.warm.median), ms(t.warm.p99), perSecond(t.warm.median), ratio(t.warm.median / t.bare.median), ratio(t.warm.min / t.bare.min), ms(t.own.median), ratio(t.warm.median / t.own.median), ratio(t.warm.cpu / t.own.cpu)]);
    if (kind.goal === undefined) continue;
    goals.push(atMost(`${kind.name}, warm / bare signatures`, t.warm.median / t.bare.median, kind.goal));
    if (kind.own !== undefined) goals.push(atMost(`${kind.name}, warm / signatures of the evidence itself`, t.warm.median / t.own.median, kind.goal));
  }
  const grown = await growth(claims, snp, Math.min(rounds, 200));
  const whole: Section = {
    title: 'Verifying evidence of every kind',
    about: [
      'One verification after the other; milliseconds. Bare: the signatures in the second column by WebCrypto, side by side, keys imported: what no verifier can do without for this evidence (of TDX: quote and quoting enclave, TCB info and QE identity, two lists; of quotes by a TPM: the certificate of its key too).',
      'Cold: everything parsed and verified anew. Warm: with the chain cache that a verifier keeps; the signatures of the evidence itself are verified each time. Simulated evidence. SHA-256 is the one that the processes of a cell use (node:crypto, in the same thread).',
      'Own: the signatures that a warm verifier verifies each time, bare. The same as before, but of Nitro that of the document without its leaf certificate\'s, and of TDX those of quote and quoting enclave: that Intel signed these very tables and lists is remembered like the signatures of certificates. What followed from the same tables and lists is remembered until the first of their dates ends; the deny-list is asked each time.',
      `The second table: appraisal with so many reference values in its policy (the one that matches comes last), accepted and refused; with so many policies held, of which ${IN_USE} are in use; and verification with so many other chains in the cache. The first appraisal by a policy prepares it, about 10 microseconds for each reference: that is not in the figures.`,
    ],
    head: ['evidence', 'signatures at least', 'bare, p50', 'cold, p50', 'cold, p99', 'cold, ops/s', 'warm, p50', 'warm, p99', 'warm, ops/s', 'warm / bare, p50', 'warm / bare, minimum', 'own, p50', 'warm / own, p50', 'warm / own, CPU'],
    rows,
    more: { head: ['ms, median', ...SIZES.map(String), '100000 / 1'], rows: grown.rows },
    goals: [...goals, ...grown.goals],
    load: load(),
  };
  const pool = await evidencePool(all.map((k) => k.name), keys, now, 5 * Math.min(rounds, 200));
  const browser = await evidenceBrowser(keys, now, Math.ceil(Math.min(rounds, 300) / 10), 10);
  return [whole, pool, ...(browser === undefined ? [] : [browser])];
}
