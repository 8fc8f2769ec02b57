/**
 * What the ledger should hold, kept beside it by the model-based test. Where an answer was lost the model does not guess: it reads the
 * ledger through a second, undisturbed connection and accepts exactly the two states that are allowed, before and after.
 */
import type { FinalState, JobRecord, Ledger, LeaseRef } from '../../../workloads/ledger/ledger.ts';
import type { Proxy } from '../proxy.ts';

export const MAX_ATTEMPTS = 4;
export const LEASE_MS = 10_000;
export const RESULTS = [{ enc: 'AAAA', ct: 'BBBB' }, { enc: 'AAAA', ct: 'CCCC' }] as const;

export interface ModelJob {
  readonly jobId: string;
  digest: string;
  /** The client was told that the job is accepted. */
  acknowledged: boolean;
  state: 'accepted' | 'leased' | FinalState;
  due: number;
  attempts: number;
  /** The lease that stands; undefined too while its answer was lost and nobody knows its token. */
  token?: string;
  /** The completion that was recorded. */
  final?: { outcome: FinalState; code?: string; ct?: string };
}

export interface Model {
  readonly jobs: Map<string, ModelJob>;
  /** Every lease that a worker ever got, stale ones included. */
  readonly leases: LeaseRef[];
  now: number;
}

export interface Real {
  /** Behind the proxy, one connection. */
  readonly ledger: Ledger;
  /** Another gateway, undisturbed. */
  readonly witness: Ledger;
  readonly proxy: Proxy;
  readonly clock: { at: number };
  readonly tenantId: string;
  /** Names of this history's jobs. */
  readonly jobIds: readonly string[];
  /** How often something was lost, over all histories: a run that never loses anything tests little. */
  readonly lost: { answers: number; committed: number };
}

/** Where a connection is cut during a command: at its n-th request, before the server sees it or before its answer arrives. */
export type Fault = { readonly n: number; readonly side: 'request' | 'answer' } | undefined;

export class Broken extends Error {
  override readonly name = 'Broken';
}

export function hold(condition: boolean, what: string): asserts condition {
  if (!condition) throw new Broken(what);
}

export const isFinal = (state: ModelJob['state']): state is FinalState => state !== 'accepted' && state !== 'leased';

/** Promise.all that waits for the others when one fails: nothing of a command is still on its way when the next one starts. */
export async function all<T>(calls: readonly Promise<T>[]): Promise<T[]> {
  await Promise.allSettled(calls);
  return await Promise.all(calls);
}

/** Runs a call under a fault. `undefined`: the answer was lost, so it may or may not have happened. */
export async function under<T extends object>(real: Real, fault: Fault, call: () => Promise<T>): Promise<T | undefined> {
  if (fault !== undefined) real.proxy.cutAt(fault.n, fault.side);
  try {
    return await call();
  } catch (error) {
    hold(fault !== undefined, `without a fault: ${String(error)}`);
    hold(error instanceof Error && error.name === 'LedgerUnavailable', `not LedgerUnavailable but ${String(error)}`);
    real.lost.answers++;
    return undefined;
  } finally {
    real.proxy.calm();
  }
}

/** The job as the ledger has it must be the job of the model. */
export function same(model: ModelJob, found: JobRecord | undefined): void {
  hold(found !== undefined, `${model.jobId} is gone`);
  const label = `${model.jobId}: `;
  hold(found.messageDigest === model.digest, `${label}its message changed`);
  hold(found.state === model.state, `${label}state ${found.state}, model ${model.state}`);
  hold(found.attempts === model.attempts, `${label}attempts ${found.attempts}, model ${model.attempts}`);
  hold((found.finishedAt !== undefined) === isFinal(model.state), `${label}finished at ${found.finishedAt} in state ${found.state}`);
  hold(found.code === model.final?.code, `${label}code ${found.code}, model ${model.final?.code}`);
  hold(found.result?.ct === model.final?.ct, `${label}another result`);
}
