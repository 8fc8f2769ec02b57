/** What is simulated: cells, tenants, paces; and the protections that a negative control switches off, one at a time. */
import type { Tier } from '../drill/history.ts';

export const CELLS = ['aws', 'azure', 'gcp'] as const;
export type CellName = (typeof CELLS)[number];

export interface SimulatedTenant { readonly tenant: string; readonly tier: Tier; readonly order: readonly CellName[] }

/** Tier sync where one cell is there to take over, and where there are two. */
export const TENANTS: readonly SimulatedTenant[] = [
  { tenant: 'bank', tier: 'sync', order: ['aws', 'azure'] },
  { tenant: 'mint', tier: 'sync', order: ['aws', 'azure', 'gcp'] },
  { tenant: 'zoo', tier: 'async', order: ['aws', 'azure', 'gcp'] },
  { tenant: 'farm', tier: 'async', order: ['azure', 'gcp', 'aws'] },
];

export interface Settings {
  readonly tenants: readonly SimulatedTenant[];
  readonly leaseMs: number;
  /** What the owner's directory says. */
  readonly clockBoundMs: number;
  /** By how much clocks differ at most, and by how much once they have been set while faults happen. */
  readonly skewMs: number;
  readonly setMs: number;
  readonly quorum: number;
  /** Jobs of each tenant. */
  readonly jobs: number;
  /** Milliseconds in which jobs arrive and faults happen. */
  readonly busyMs: number;
  /** Milliseconds after the last fault, in which everything must come to an end. */
  readonly settleMs: number;
  /** Which faults, by name, and how many at most; `undefined`: any but a forced failover. */
  readonly faults: readonly string[] | undefined;
  readonly maxFaults: number;
  readonly protections: Protections;
}

export interface Protections {
  /** A gateway accepts only under an epoch. */
  readonly epochToAccept: boolean;
  /** And looks again before it acknowledges. */
  readonly stillBeforeAnswer: boolean;
  /** Token and epoch of the lease when a job is completed. */
  readonly fenceOnComplete: boolean;
  /** Broker and counter judge the epoch for themselves. */
  readonly epochToRelease: boolean;
  /** An observer's promises are on disk before it answers. */
  readonly durablePromises: boolean;
  /** Tier sync waits for the standby. */
  readonly waitForStandby: boolean;
  /** Observers are told who has everything that was acknowledged, and let nobody else take over. */
  readonly heirsNamed: boolean;
  /** Nobody is named before it was found that it has everything. */
  readonly heirsLookedAt: boolean;
  /** A job accepted again is the same job. */
  readonly idempotentAccept: boolean;
  /** Of two rows of one job the higher epoch stands; else the later one to arrive. */
  readonly rankedMerge: boolean;
  /** A client keeps its message until it has the result. */
  readonly resubmit: boolean;
  /** Without a standby, jobs are acknowledged only by policy and with an alarm. */
  readonly alarmWhenDegraded: boolean;
}

export const PROTECTED: Protections = {
  epochToAccept: true, stillBeforeAnswer: true, fenceOnComplete: true, epochToRelease: true, durablePromises: true, waitForStandby: true, heirsNamed: true, heirsLookedAt: true, idempotentAccept: true, rankedMerge: true, resubmit: true,
  alarmWhenDegraded: true,
};

/** As designed: no seed may find anything. */
export const SETTINGS: Settings = {
  tenants: TENANTS, leaseMs: 3_000, clockBoundMs: 250, skewMs: 250, setMs: 250, quorum: 2, jobs: 7, busyMs: 25_000, settleMs: 90_000, faults: undefined, maxFaults: 5, protections: PROTECTED,
};
