/**
 * The ledger: jobs, leases, results, usage, keys, receipts and the audit chain of one cell, in PostgreSQL.
 * It is the queue as well: a job's row carries its state, its lease and its fencing token.
 *
 * Times in and out are epoch milliseconds of the injected clock, never of the database. Every write may be repeated with the
 * same arguments after a {@link LedgerUnavailable}: it answers as if the first attempt had been heard.
 */
import type { Clock } from '../protocol/clock.ts';
import type { CLASSIFICATIONS } from '../protocol/context.ts';
import type { Replication } from './replication.ts';
import type { JOB_EVENTS, JobState, Sealed, StoredKey } from '../protocol/messages.ts';

export { openLedger } from './open.ts';
export { LedgerError, LedgerUnavailable } from './errors.ts';

export type Classification = (typeof CLASSIFICATIONS)[number];
export type JobEventName = (typeof JOB_EVENTS)[number];
export type FinalState = Extract<JobState, 'completed' | 'rejected' | 'failed'>;

export interface LedgerOptions {
  /** `postgres://user:password@host:port/database` */
  readonly url: string;
  readonly now: Clock;
  /** Name of the cell: the audit chain is one per cell. */
  readonly cell: string;
  /** Leases of one job before it fails with ATTEMPTS_EXHAUSTED. Default 10. */
  readonly maxAttempts?: number;
  /** Connections of the pool. Default 8. */
  readonly connections?: number;
  /** How long one statement may take before it counts as unanswered, milliseconds. Default 10,000. */
  readonly patienceMs?: number;
  /** Of this ledger to other cells; without it no job of tier `sync` is accepted. */
  readonly replication?: Pick<Replication, 'admit' | 'reached'>;
}

/** `same`: it is already there with these very contents. `conflict`: it is there with others; nothing was written. */
export type PutOutcome = 'stored' | 'same' | 'conflict';

export interface Tenant { readonly id: string; readonly zone: string; readonly createdAt: number }
/** `hash`: of the secret, computed by the caller; the ledger never sees a secret. */
export interface NewApiKey { readonly id: string; readonly tenantId: string; readonly hash: string; readonly scopes: readonly string[]; readonly expiresAt?: number }
export interface ApiKey extends NewApiKey { readonly createdAt: number; readonly revokedAt?: number }

export interface NewJob {
  readonly tenantId: string;
  readonly jobId: string;
  /** SHA-256 of the whole message, lower-case hex. */
  readonly messageDigest: string;
  /** Bytes of the message. */
  readonly size: number;
  readonly zone: string;
  readonly classification: Classification;
  /** Tenant key that wraps the data key. */
  readonly keyId: string;
}
export interface JobRecord extends NewJob {
  readonly state: JobState;
  /** Why the job was rejected or failed. */
  readonly code?: string;
  readonly acceptedAt: number;
  readonly finishedAt?: number;
  readonly attempts: number;
  /** Sealed to the client; absent when the message could not be opened. */
  readonly result?: Sealed;
  /** Session of the counter that has the job, or that completed it. */
  readonly sessionId?: string;
}
/** A tenant whose epoch this cell holds: its jobs may be leased here, and rows are written under that epoch. */
export interface HeldTenant { readonly tenantId: string; readonly epoch: number }
/** `sync`: answered once the standby has the job on disk. */
export type Tier = 'sync' | 'async';
export interface AcceptHow {
  /** The epoch this cell holds for the tenant. Default 1: a cell without peers. */
  readonly epoch?: number;
  /** Default `async`. */
  readonly tier?: Tier;
  /** Peer, or peers, that a `sync` job must reach; every one of the replication's sync peers unless told. */
  readonly standby?: string | readonly string[];
}
/** One of a job's results; only that of the highest epoch stands. */
export interface JobResult { readonly epoch: number; readonly cell: string; readonly outcome: FinalState; readonly code?: string; readonly sealed?: string; readonly recordedAt: number; readonly standing: boolean }
export interface AcceptAnswer { readonly outcome: 'accepted' | 'same' | 'conflict'; readonly job: JobRecord }

/** Names a lease; the token is the fence: 16 random bytes, base64url, new for every lease. */
export interface LeaseRef { readonly tenantId: string; readonly jobId: string; readonly leaseToken: string }
export interface LeasedJob extends NewJob, LeaseRef { readonly leaseUntil: number; readonly attempt: number }

export interface Completion extends LeaseRef {
  readonly outcome: FinalState;
  readonly code?: string;
  readonly result?: Sealed;
  readonly sessionId: string;
  /** Notes the event `counted` before that of the outcome, in the same transaction. */
  readonly counted?: boolean;
  /** The epoch this cell holds for the tenant; a job that was written under a higher one is lost to it. Default: that of the lease. */
  readonly epoch?: number;
}
/**
 * `recorded`: this completion is the one that stands, now or (`again`) from before. Otherwise no row was changed: `stale` when the lease was
 * lost, the job's final state when the same lease had completed it differently before.
 */
export interface CompleteAnswer { readonly recorded: boolean; readonly again?: true; readonly state: JobState | 'stale' }

export interface JobEventRecord { readonly n: number; readonly event: JobEventName; readonly at: number; readonly detail?: string }
export interface JobFilter {
  readonly state?: JobState;
  /** 1 to 1000. */
  readonly limit: number;
  /** Id of the last job of the previous page. */
  readonly before?: string;
}

export interface NewReceipt { readonly instance: string; readonly seq: number; readonly jws: string; readonly tenantId: string; readonly jobId?: string }
/** `evidence`: any JSON value; the gateway keeps the counter's evidence, binding and EAR here. */
export interface Session { readonly id: string; readonly role: string; readonly evidence: unknown; readonly expiresAt: number }
export interface Policy { readonly revision: number; readonly jws: string }
export interface Usage { readonly jobs: number; readonly bytes: number; readonly byState: Readonly<Record<JobState, number>> }
export interface Counts {
  readonly jobs: Readonly<Record<JobState, number>>;
  /** Jobs that could be leased now. */
  readonly due: number;
  /** Since when the oldest of them could be, epoch ms. */
  readonly oldestDueAt?: number;
  readonly tenants: number;
  readonly auditEntries: number;
}
export interface AuditVerdict {
  readonly ok: boolean;
  readonly entries: number;
  /** Hash of the last entry, hex; zeros before the first. */
  readonly head: string;
  /** Number of the first entry that does not fit the chain. */
  readonly firstBad?: number;
}
/** As audit.ts describes it. */
export interface AuditEntry { readonly cell: string; readonly seq: number; readonly prev: string; readonly kind: string; readonly body: string; readonly at: number; readonly hash: string }
export interface SweepAnswer {
  /** Jobs that failed because their attempts are used up. */
  readonly exhausted: number;
  /** Sessions removed: over for a day, and of no job's result. */
  readonly sessions: number;
  readonly due: number;
}

/** Every method throws {@link LedgerUnavailable} when the database cannot be reached or its answer was lost. */
export interface Ledger {
  /** The tenant's zone never changes: another zone is a conflict. */
  addTenant(tenant: { id: string; zone: string }): Promise<PutOutcome>;
  tenant(id: string): Promise<Tenant | undefined>;
  tenants(): Promise<Tenant[]>;
  /** @throws LedgerError TENANT_UNKNOWN */
  addApiKey(key: NewApiKey): Promise<PutOutcome>;
  /** Revoked and expired keys too: the caller judges. */
  apiKey(id: string): Promise<ApiKey | undefined>;
  /** false: no such key. */
  revokeApiKey(id: string): Promise<boolean>;

  /** Job, usage, event and audit entry in one transaction. @throws LedgerError TENANT_UNKNOWN */
  accept(job: NewJob, how?: AcceptHow): Promise<AcceptAnswer>;
  /**
   * Takes up to `max` due jobs, those with an expired lease included; never one that another caller holds.
   * `tenants`: of these only, and none that was written under a higher epoch. Absent: of all, in a cell without peers.
   */
  lease(request: { max: number; leaseMs: number; sessionId: string; tenants?: readonly HeldTenant[] }): Promise<LeasedJob[]>;
  /** A new holder's first act: what the cells before it had leased is due again at once. Returns how many jobs. */
  takeOver(tenants: readonly HeldTenant[]): Promise<number>;
  /** Renews leases until now + leaseMs. The ids of jobs whose lease is lost are returned. */
  heartbeat(leases: readonly LeaseRef[], leaseMs: number): Promise<string[]>;
  /** The jobs of leases that stand (its token is the job's, and the job is leased), in the order given. */
  leasedJobs(leases: readonly LeaseRef[]): Promise<(JobRecord | undefined)[]>;
  /**
   * Back to the queue: due again after delayMs, doubled for every further attempt, at most 5 minutes. The attempt counts.
   * The ids of jobs that were given back are returned; a lost lease changes nothing.
   */
  giveBack(leases: readonly LeaseRef[], code: string, delayMs: number): Promise<string[]>;
  complete(completion: Completion): Promise<CompleteAnswer>;
  /** Of different jobs, in one transaction. Each is judged by itself; answers are in the order given. */
  completeAll(completions: readonly Completion[]): Promise<CompleteAnswer[]>;
  /** Every result that any cell recorded, the standing one first. */
  results(tenantId: string, jobId: string): Promise<JobResult[]>;

  job(tenantId: string, jobId: string): Promise<JobRecord | undefined>;
  /** Newest first, without results. */
  jobs(tenantId: string, filter: JobFilter): Promise<JobRecord[]>;
  /** Events with a number above `after`, in order. */
  events(tenantId: string, jobId: string, after: number): Promise<JobEventRecord[]>;
  /** For what the ledger cannot know (`released`, `counted`). false: no such job, or it is final. */
  recordEvent(tenantId: string, jobId: string, event: 'released' | 'counted', detail?: string): Promise<boolean>;
  /** The same for several jobs at once; an answer for each. */
  recordEvents(jobs: readonly { tenantId: string; jobId: string }[], event: 'released' | 'counted', detail?: string): Promise<boolean[]>;

  /** Insert only: a key is never changed. @throws LedgerError TENANT_UNKNOWN */
  putTenantKey(key: StoredKey): Promise<PutOutcome>;
  /** All or none, in one transaction: `conflict` when any of them conflicts. @throws LedgerError TENANT_UNKNOWN */
  putTenantKeys(keys: readonly StoredKey[]): Promise<PutOutcome>;
  tenantKeys(tenantId: string): Promise<StoredKey[]>;
  /** Keys of all tenants. */
  tenantKeyCount(): Promise<number>;
  /** `seq` must be the instance's last plus one, or name a stored receipt with the same bytes; otherwise `conflict`. */
  appendReceipt(receipt: NewReceipt): Promise<PutOutcome>;
  /** All or none, in one transaction: `conflict` when any of them conflicts. */
  appendReceipts(receipts: readonly NewReceipt[]): Promise<PutOutcome>;
  receiptsFor(tenantId: string, jobId: string): Promise<string[]>;
  putSession(session: Session): Promise<PutOutcome>;
  session(id: string): Promise<Session | undefined>;
  /** `conflict`: a higher revision is stored, or this one with other bytes. */
  putPolicy(revision: number, jws: string): Promise<PutOutcome>;
  /** The highest revision. */
  policy(): Promise<Policy | undefined>;

  usage(tenantId: string): Promise<Usage>;
  counts(): Promise<Counts>;
  /** Of this cell's chain, or of the copy of another cell's. */
  verifyAudit(cell?: string): Promise<AuditVerdict>;
  /** An audit entry of its own, for what no row records: ids, digests, codes; neither plaintext nor keys. */
  addNote(note: { readonly kind: string; readonly body: Readonly<Record<string, unknown>> }): Promise<AuditEntry>;
  /** Of these tenants, those with a job that was accepted by then (epoch ms) and is not over. */
  undrained(since: readonly { readonly tenantId: string; readonly at: number }[]): Promise<string[]>;
  /** `tenants`: as for `lease`. */
  sweep(tenants?: readonly HeldTenant[]): Promise<SweepAnswer>;
  /** A doorbell: there may be work. It may ring for nothing, and its loss costs latency only. Returns its removal. */
  onWork(callback: () => void): () => void;
  /** A doorbell for new events of one job. */
  onEvent(callback: (job: { tenantId: string; jobId: string }) => void): () => void;
  close(): Promise<void>;
}
