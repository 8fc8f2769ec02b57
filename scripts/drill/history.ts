/**
 * What a drill or a simulation writes down, one JSON object per line, and all that the auditor knows. Times (`at`, `from`) are epoch milliseconds of the
 * one clock that writes the history, never of a cell. Every line says what was seen from outside or read out of a store; nothing in it is a judgement.
 *
 *   run, cell, tenant             first: who takes part and what was promised to whom
 *   acknowledged .. mode          while it runs, in any order: lines are judged by their times
 *   *-row, receipt, audit-*       read out of the stores at the end (audit heads at any time)
 *   end                           last; a history without it was cut off, and nothing follows from it
 */
import { z } from 'zod';

const name = z.string().min(1).max(64);
const id = z.string().min(1).max(128);
/** Epoch milliseconds. */
const at = z.number().min(0).max(8_640_000_000_000);
const epoch = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER);
const count = z.number().int().min(0);
const digest = z.string().min(1).max(128);

export const tierName = z.enum(['sync', 'async']);
export const OUTCOMES = ['completed', 'rejected', 'failed'] as const;
export const REQUESTERS = ['good', 'unattested', 'wrong-measurement', 'debug', 'stale', 'replayed', 'wrong-region', 'fenced', 'revoked', 'node-scope'] as const;
/** Of a failover or a failback, in this order. */
export const PHASES = ['detect', 'decide', 'fence', 'promote', 'attest', 'release', 'drain'] as const;

const job = { tenant: id, job: id };

const event = <K extends string, S extends z.core.$ZodLooseShape>(kind: K, shape: S) => z.strictObject({ kind: z.literal(kind), ...shape });

export const historyEvent = z.discriminatedUnion('kind', [
  event('run', { at, scenario: name, seed: z.number().int(), source: z.enum(['drill', 'simulation']), /** Whether the TEEs were simulated. */ simulatedTees: z.boolean() }),
  event('cell', { cell: name, cloud: name, region: name }),
  /** `cells`: where its residency allows its jobs and keys to be, first choice first. */
  event('tenant', { tenant: id, tier: tierName, cells: z.array(name).min(1) }),

  /** A client read a 202. Again for each time that it did. */
  event('acknowledged', { at, ...job, cell: name, epoch }),
  /** A client sent the same job once more, to this cell. */
  event('resubmitted', { at, ...job, cell: name }),
  /** A client read and verified the result. `cell`, `epoch`: as the result says; `digest` of its content. */
  event('final', { at, ...job, cell: name, epoch, outcome: z.enum(OUTCOMES), digest }),
  /** One request of a client, as it saw it. `code` where it failed. */
  event('request', { at, /** Milliseconds until the answer. */ ms: z.number().min(0), tenant: id, cell: name, op: name, code: name.optional() }),

  /** A cell came to hold the tenant's epoch. */
  event('held', { at, tenant: id, cell: name, epoch }),
  /** A cell was asked to change something of a tenant's, under this epoch. `from`: when it was asked; `at`: when the effect was there or refused. */
  event('write', { from: at, at, tenant: id, job: id.optional(), cell: name, epoch, op: z.enum(['accept', 'lease', 'complete', 'release']), accepted: z.boolean(), code: name.optional() }),
  /** A key was asked for. `expected` is what the policy of that moment says to a good requester: it may be denied, in an outage of collateral for one. */
  event('release', { at, tenant: id, cell: name, requester: z.enum(REQUESTERS), expected: z.enum(['released', 'denied']), actual: z.enum(['released', 'denied']), code: name.optional() })
    .refine(({ requester, expected }) => requester === 'good' || expected === 'denied', 'only a good requester may be given a key'),
  /** The broker of this cell has a key of the tenant. */
  event('key', { at, tenant: id, cell: name }),
  /** Messages of the tenant's jobs are in this cell's store. */
  event('ciphertext', { at, tenant: id, cell: name, jobs: count }),

  /** What was done to a cell. `failover`: another cell should have taken over. */
  event('hurt', { at, cell: name, what: name, failover: z.boolean() }),
  /** It was undone. */
  event('healed', { at, cell: name }),
  /** The owner signed (`from`) a policy without the image of this cell's counters; at `at` the last session of it that was open had ended. `lastReleased`: when it last got a key. */
  event('revoked', { from: at, at, cell: name, code: name, lastReleased: at.optional() }),
  /** The image counts again. */
  event('reinstated', { at, cell: name }),
  event('phase', { from: at, at, phase: z.enum(PHASES), direction: z.enum(['failover', 'failback']), cell: name, detail: z.string().max(512).optional() }),
  /**
   * Nothing more of `source` is applied in `cell`, which takes over: what it lacks now, it lacks. Lag as the source last told it.
   * `stored` lines of this `fence` follow: the jobs that were there at that moment.
   */
  event('fence', { at, fence: id, source: name, cell: name, tenants: z.array(id).optional(), lagBytes: count.optional(), lagSeconds: z.number().min(0).optional() }),
  event('stored', { fence: id, tenant: id, jobs: z.array(id).max(1_000) }),
  /** From now on this cell acknowledges jobs of tier sync without (or with) its standby. `alarm`: it told its operator. */
  event('mode', { at, cell: name, degraded: z.boolean(), alarm: z.boolean() }),

  /** `store`: the cell whose database the row was read from; `cell`: the cell that wrote it. */
  event('job-row', { store: name, ...job, state: z.enum(['accepted', 'leased', ...OUTCOMES]), epoch, cell: name }),
  event('result-row', { store: name, ...job, epoch, cell: name, outcome: z.enum(OUTCOMES), digest, standing: z.boolean() }),
  event('usage-row', { store: name, ...job, epoch, cell: name }),
  /** Of one broker's chain. `prev`: hash of the one before; any text for the first. */
  event('receipt', { store: name, instance: id, seq: z.number().int().min(1), prev: z.string().max(128), hash: digest, ...job, job: id.optional() }),
  /** The audit chain of `chain` as `store` has it. `size`: entries. */
  event('audit-head', { at, chain: name, store: name, size: count, head: digest }),
  event('audit-entry', { chain: name, store: name, seq: z.number().int().min(1), prev: z.string().max(128), hash: digest }),
  /** A digest that should be the same in all cells: policy, image, model. */
  event('configuration', { cell: name, item: name, digest }),
  event('end', { at }),
]);

export type HistoryEvent = z.infer<typeof historyEvent>;
export type EventOf<K extends HistoryEvent['kind']> = Extract<HistoryEvent, { kind: K }>;
export type Tier = z.infer<typeof tierName>;
export type Requester = (typeof REQUESTERS)[number];
export type Phase = (typeof PHASES)[number];

/** One line. */
export const line = (one: HistoryEvent): string => `${JSON.stringify(one)}\n`;

/** @throws Error that names the line that is none */
export function parseHistory(text: string): HistoryEvent[] {
  return text.split('\n').flatMap((row, index) => {
    if (row === '') return [];
    try {
      return [historyEvent.parse(JSON.parse(row))];
    } catch (cause) {
      throw new Error(`line ${index + 1} of the history is no event: ${cause instanceof z.ZodError ? z.prettifyError(cause).replace(/\n\s*/g, ' ') : 'no JSON'}`, { cause });
    }
  });
}
