/**
 * A corpus of evidence with a manifest, judged: signature, chain, validity at a stated time and binding, with the production roots pinned. A verdict is no
 * appraisal: genuine debug-mode evidence is `valid`. Judges know formats and kinds, never a particular corpus.
 */
import type { TrustContext } from '../adapter.ts';
import type { Bytes } from '../bytes.ts';
import type { ChainCache } from '../chain-cache.ts';
import { type Reason, Refusal, type RefusalCode } from '../refusal.ts';
import { PRODUCTION_ROOTS } from '../trust/roots.ts';

export interface CorpusFile { readonly file: string; readonly platform: string; readonly kind: string; readonly bytes: Bytes }

export interface Vector extends CorpusFile {
  /** What verifying it needs: certificates, collateral, key sets, the parts of a scenario. */
  readonly companions: readonly CorpusFile[];
  /** Epoch seconds; null: nothing in it is limited in time. */
  readonly at: number | null;
  /** Saves time where many of one kind are judged, and changes no verdict. */
  readonly chainCache?: ChainCache;
}

export type Verdict = 'valid' | 'invalid';
export interface Judgement {
  readonly verdict: Verdict;
  /** The TCB appraised as well, where the kind has one. */
  readonly verdictWithCollateral?: Verdict;
  /** Of the refusal, in the order of the checks. */
  readonly codes: readonly RefusalCode[];
  readonly claims?: unknown;
  /** Of the refusal, in full. */
  readonly reasons?: readonly Reason[];
}
export type Judge = (vector: Vector) => Promise<Judgement>;

/** Production trust at the vector's time; stored evidence has no revocation lists of its day unless its companions bring them. */
export const corpusTrust = ({ at, chainCache }: Vector): TrustContext => ({ roots: PRODUCTION_ROOTS, revoked: [], now: at ?? 0, revocation: 'ifAvailable', ...(chainCache === undefined ? {} : { chainCache }) });

/** What holds is `valid`; a refusal is `invalid` with its codes; anything else thrown is a defect and goes on. */
export async function judged(verify: () => Promise<unknown>): Promise<Judgement> {
  try {
    return { verdict: 'valid', codes: [], claims: await verify() };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return { verdict: 'invalid', codes: [...new Set(error.codes)], reasons: error.reasons };
  }
}

/** JSON of a scenario or a container. @throws Refusal FMT_JSON */
export function readJson(data: Uint8Array, path: string): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data));
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>;
  } catch { /* said below */ }
  throw new Refusal({ code: 'FMT_FIELD', path, next: 'Hand over one JSON object.' });
}
