/** What a quote proves once everything about it has been verified; nothing else gets in here. */
import type { TrustRoot } from '../../adapter.ts';
import type { NormalizedClaims } from '../../claims.ts';
import type { IntelStatus } from '../../formats/intel-json.ts';
import type { PckPlatform } from '../../formats/intel-pck.ts';
import type { SgxQuote, TdxQuote } from '../../formats/tdx-quote.ts';
import type { CrlFact } from '../../revocation.ts';
import type { Level } from './tcb.ts';

export interface PckFacts {
  /** Lower-case hex. */
  readonly leafSerial: string;
  readonly ca: 'platform' | 'processor';
  readonly root: TrustRoot;
  /** When the chain expires, epoch seconds. */
  readonly notAfter: number;
  readonly platform: PckPlatform;
  /** Of the PPID: what receipts and claims show of it. */
  readonly ppidSha256: string;
}

export interface TcbFacts {
  /** Of platform, module and QE together; for a TD 1.5 at its start and now. */
  readonly status: IntelStatus;
  /** The earliest of the levels' dates, epoch seconds. */
  readonly date: number;
  /** The lower of TCB info and QE identity. */
  readonly evaluationNumber: number;
  /** Of all levels, sorted. */
  readonly advisories: readonly string[];
  readonly platform: Level;
  /** `null`: the module has no levels of its own (major version 0), or there is none (SGX). */
  readonly module: Level | null;
  readonly qe: Level;
  /** TD 1.5: by the security versions when the quote was made. */
  readonly current?: { readonly status: IntelStatus; readonly platform: Level; readonly module: Level | null };
  /** TD 1.5: the platform was brought up to date under the running TD; a new start would run on the better one. */
  readonly relaunchAdvised: boolean;
  /** When TCB info and QE identity end, epoch seconds. */
  readonly nextUpdate: number;
  readonly issued: number;
}

interface Verified {
  /** Of the quote without what is behind it. */
  readonly sha256: string;
  readonly pck: PckFacts;
  /** `null`: the TCB was not evaluated. */
  readonly tcb: TcbFacts | null;
  readonly revocation: { readonly status: 'good' | 'unchecked'; readonly crls: readonly CrlFact[] };
  /** What was used besides the quote. */
  readonly collateral: NonNullable<NormalizedClaims['collateral']>;
}
export interface TdxFacts extends Verified { readonly quote: TdxQuote }
export interface SgxFacts extends Verified { readonly quote: SgxQuote }
