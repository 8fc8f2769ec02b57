/** What is run twice, in Node and in a browser, over the same input; each answer is the wire form of all that a verifier said. */
import type { Expectation, TrustContext } from '../../attestation/adapter.ts';
import type { CorpusFile, Vector } from '../../attestation/corpus/judge.ts';
import { judgeFor } from '../../attestation/corpus/registry.ts';
import type { CollateralItem } from '../../attestation/collateral/collateral.ts';
import type { Evidence } from '../../attestation/evidence.ts';
import type { AppraisalPolicy } from '../../attestation/policy.ts';
import type * as Verifier from './verifier.ts';
import { fromWire, toWire } from './wire.ts';

/** Evidence for an adapter, with all that it is verified against. */
export interface Case {
  readonly name: string; readonly evidence: Evidence; readonly expect: Expectation;
  readonly trust: Omit<TrustContext, 'collateral' | 'chainCache'>; readonly collateral: readonly CollateralItem[]; readonly policy: AppraisalPolicy;
}

async function outcome(work: () => Promise<unknown>): Promise<unknown> {
  try {
    return await work();
  } catch (error) {
    // A judge answers refusals; an adapter throws them. Anything else is a defect, and must not look like a verdict.
    const reasons = (error as { reasons?: unknown }).reasons;
    return Array.isArray(reasons) ? { refused: reasons } : { defect: String(error) };
  }
}

/** Vectors as references into their files: many share companions. */
export interface Corpus {
  readonly files: readonly CorpusFile[];
  readonly vectors: readonly { readonly file: number; readonly companions: readonly number[]; readonly at: number | null }[];
}

/** One bit of it otherwise, at a place that depends on nothing but the vector's number. */
function damaged(v: Vector, index: number): Vector {
  const at = (index * 2_654_435_761 + 97) % v.bytes.length;
  return { ...v, bytes: v.bytes.map((b, i) => (i === at ? b ^ (1 << (index % 8)) : b)) };
}

/** @param input wire form of Corpus @param damage one bit of each vector */
export async function judgeAll(input: string, damage: boolean): Promise<string[]> {
  const { files, vectors } = fromWire<Corpus>(input);
  const out: string[] = [];
  for (const [i, { file, companions, at }] of vectors.entries()) {
    const whole: Vector = { ...(files[file] as CorpusFile), companions: companions.map((c) => files[c] as CorpusFile), at };
    const vector = damage ? damaged(whole, i) : whole;
    const judge = judgeFor(vector.platform, vector.kind);
    out.push(toWire(await outcome(async () => (judge === undefined ? { unknown: vector.kind } : judge(vector)))));
  }
  return out;
}

/** @param input wire form of Case[] @param verifier the bundle as it is shipped */
export async function verifyAll(input: string, { adapterFor, appraise, collateralOf }: typeof Verifier): Promise<string[]> {
  const out: string[] = [];
  for (const { evidence, expect, trust, collateral, policy } of fromWire<Case[]>(input)) {
    out.push(toWire(await outcome(async () => {
      const claims = await adapterFor(evidence.platform).verify(evidence, expect, { ...trust, collateral: collateralOf(collateral) });
      return { claims, appraisal: await appraise(claims, policy) };
    })));
  }
  return out;
}
