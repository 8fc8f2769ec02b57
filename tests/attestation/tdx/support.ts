/** A simulated platform and one verification of it: each test sets one thing otherwise, under signatures that verify. */
import { expect } from 'vitest';
import type { TrustContext } from '../../../attestation/adapter.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { type CollateralItem, type CollateralKind, collateralOf } from '../../../attestation/collateral/collateral.ts';
import type { TdxFacts } from '../../../attestation/hardware/tdx/facts.ts';
import { type QuoteInput, verifyTdxQuote } from '../../../attestation/hardware/tdx/verify.ts';
import { KeyRing } from '../../../attestation/platforms/simulated/keys.ts';
import { makeTdxWorld, type TdxWorld, type TdxWorldOptions } from '../../../attestation/platforms/simulated/tdx.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { NOW } from '../support.ts';

export { NOW } from '../support.ts';
export const RING = new KeyRing();
export const world = (options: Partial<TdxWorldOptions> = {}): Promise<TdxWorld> => makeTdxWorld({ now: NOW, ring: RING, ...options });

export interface VerdictOptions {
  readonly at?: number;
  readonly trust?: Partial<TrustContext>;
  readonly input?: Partial<QuoteInput>;
  /** Items to leave out, by kind and key, or to replace. */
  readonly without?: readonly string[];
  readonly replace?: readonly Partial<CollateralItem>[];
}
export interface TdxVerdict { readonly facts: TdxFacts | undefined; readonly checks: CheckList; readonly codes: RefusalCode[]; readonly paths: string[] }

export function trustOf(w: TdxWorld, { without = [], replace = [], trust = {} }: VerdictOptions = {}): TrustContext {
  const items = w.collateral.filter((item) => !without.includes(`${item.kind}/${item.key}`)).map((item) => ({ ...item, ...replace.find((r) => r.kind === item.kind && (r.key ?? item.key) === item.key) }));
  return { roots: [w.root], revoked: [], now: NOW, collateral: collateralOf(items), ...trust };
}

export async function verdict(w: TdxWorld, options: VerdictOptions = {}): Promise<TdxVerdict> {
  const checks = new CheckList();
  const facts = await verifyTdxQuote({ quote: w.quote, ...options.input }, trustOf(w, options), options.at ?? NOW, checks);
  let codes: RefusalCode[] = [];
  let paths: string[] = [];
  try {
    checks.refuseIfFailed();
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    codes = [...new Set(error.codes)];
    paths = error.reasons.map((r) => r.path);
    for (const reason of error.reasons) expect(reason.next.length).toBeGreaterThan(10);
  }
  // Facts and refusals exclude each other
  expect(facts === undefined).toBe(codes.length > 0);
  return { facts, checks, codes, paths };
}

export const item = (w: TdxWorld, kind: CollateralKind, key?: string): CollateralItem => w.collateral.find((i) => i.kind === kind && (key === undefined || i.key === key)) as CollateralItem;
