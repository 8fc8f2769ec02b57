/** Every limit of the gateway, in one table. Sizes in bytes, times in milliseconds. */

export interface Rate {
  /** Requests that may come at once. */
  readonly burst: number;
  /** Requests a second that are given back. */
  readonly perSecond: number;
}

export interface Limits {
  /** A submitted message. */
  readonly messageBytes: number;
  /** Messages being uploaded, all together: they are held in memory until they are stored. */
  readonly uploadBudgetBytes: number;
  /** Of that, what one tenant may hold. */
  readonly uploadTenantBytes: number;
  /** From the first byte of a message to the last. */
  readonly uploadMs: number;
  /** Between two pieces of a message. */
  readonly uploadIdleMs: number;
  /** What a caller that was refused in the middle of an upload may still send before its connection is cut. */
  readonly lingerMs: number;
  readonly jsonBytes: number;
  /** Releases carry up to 64 message headers; tenant keys and receipts come in batches. */
  readonly internalBytes: number;
  readonly headerBytes: number;
  /** From the first byte of a request to the last, whatever it is (Node's own time-out). */
  readonly requestMs: number;
  /** Jobs accepted and not yet final; above it the answer is 503. */
  readonly queueDepth: number;
  readonly queueCheckMs: number;
  /** A ledger that takes longer counts as absent. */
  readonly ledgerMs: number;
  readonly brokerMs: number;
  readonly brokerAnswerBytes: number;
  /** Between two attempts to verify the broker. */
  readonly brokerRetryMs: number;
  /** How long a verified broker is believed before its evidence is asked for again. */
  readonly brokerTrustMs: number;
  readonly leaseMs: number;
  /** Long polls look at the ledger this often even when no doorbell rings. */
  readonly pollMs: number;
  readonly giveBackDelayMs: number;
  readonly eventPollMs: number;
  readonly eventHeartbeatMs: number;
  readonly eventStreamsPerKey: number;
  readonly healthMs: number;
  readonly retryAfterSeconds: number;
  readonly orphanAgeMs: number;
  readonly sweepMs: number;
  /** How often a cell that took tenants over looks whether their old jobs are over. */
  readonly drainMs: number;
  readonly orphanSweepMs: number;
  /** What is under way when the gateway stops may end within this. */
  readonly closeMs: number;
  readonly pageSize: number;
  /** Per API key. */
  readonly rates: { readonly submit: Rate; readonly read: Rate; readonly manifest: Rate };
  /** Per address: callers that have no session yet. */
  readonly challenge: Rate;
  readonly buckets: number;
}

const MIB = 1024 * 1024;

export const LIMITS: Limits = Object.freeze({
  messageBytes: 20 * MIB,
  uploadBudgetBytes: 256 * MIB,
  uploadTenantBytes: 128 * MIB,
  uploadMs: 60_000,
  uploadIdleMs: 10_000,
  lingerMs: 2_000,
  jsonBytes: 64 * 1024,
  internalBytes: 8 * MIB,
  headerBytes: 32 * 1024,
  requestMs: 90_000,
  queueDepth: 10_000,
  queueCheckMs: 500,
  ledgerMs: 5_000,
  brokerMs: 10_000,
  brokerAnswerBytes: 8 * MIB,
  brokerRetryMs: 500,
  brokerTrustMs: 300_000,
  leaseMs: 30_000,
  pollMs: 2_000,
  giveBackDelayMs: 1_000,
  eventPollMs: 2_000,
  eventHeartbeatMs: 15_000,
  eventStreamsPerKey: 64,
  healthMs: 1_000,
  retryAfterSeconds: 2,
  orphanAgeMs: 3_600_000,
  sweepMs: 5_000,
  drainMs: 1_000,
  orphanSweepMs: 600_000,
  closeMs: 1_000,
  pageSize: 100,
  rates: {
    submit: { burst: 200, perSecond: 50 },
    read: { burst: 400, perSecond: 100 },
    manifest: { burst: 60, perSecond: 10 },
  },
  challenge: { burst: 60, perSecond: 10 },
  buckets: 10_000,
});
