/**
 * A model of one cell's ledger: the statements of workloads/ledger on rows in memory, each at one moment. All of it is durable. Rows that were written
 * here go to the peers in the order in which they were written; what comes from a peer is merged by rank and goes no further.
 */
import type { Protections } from './settings.ts';

export type State = 'accepted' | 'leased' | 'completed' | 'failed';
export interface JobRow {
  readonly tenant: string;
  readonly job: string;
  readonly message: string;
  readonly state: State;
  readonly epoch: number;
  readonly writer: string;
  readonly events: number;
  readonly token: string | undefined;
  readonly dueAt: number;
  readonly attempts: number;
}
export interface ResultRow { readonly tenant: string; readonly job: string; readonly epoch: number; readonly cell: string; readonly outcome: 'completed' | 'failed'; readonly digest: string }
export interface UsageRow { readonly tenant: string; readonly job: string; readonly epoch: number; readonly cell: string }
export interface ReceiptRow { readonly instance: string; readonly seq: number; readonly prev: string; readonly hash: string; readonly tenant: string; readonly job: string }
export interface AuditRow { readonly chain: string; readonly seq: number; readonly prev: string; readonly hash: string }
export interface Held { readonly tenant: string; readonly epoch: number }

type Change = { readonly job: JobRow } | { readonly result: ResultRow } | { readonly usage: UsageRow } | { readonly receipt: ReceiptRow } | { readonly audit: AuditRow };

export const MAX_ATTEMPTS = 8;
const key = ({ tenant, job }: { readonly tenant: string; readonly job: string }): string => `${tenant}/${job}`;
const rank = (a: JobRow, b: JobRow): number => a.epoch - b.epoch || (a.writer < b.writer ? -1 : a.writer > b.writer ? 1 : a.events - b.events);
/** FNV-1a; a chain here is only to be followed, not to be trusted. */
function hashOf(text: string): string {
  let h = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) h = Math.imul(h ^ text.charCodeAt(i), 0x01000193);
  return (h >>> 0).toString(16);
}

export class Store {
  readonly cell: string;
  readonly #protections: Protections;
  readonly jobs = new Map<string, JobRow>();
  readonly results = new Map<string, ResultRow>();
  readonly usage: UsageRow[] = [];
  readonly receipts = new Map<string, ReceiptRow>();
  readonly audits = new Map<string, AuditRow>();
  readonly log: Change[] = [];
  /** Of each peer's log, what is applied here. */
  readonly applied = new Map<string, number>();
  /** Of this log, what each peer has told that it has. */
  readonly confirmed = new Map<string, number>();
  /** Since when, true time, it acknowledges without its standby. */
  degraded = false;
  full = false;
  #tokens = 0;
  #head: AuditRow;

  constructor(cell: string, protections: Protections) {
    this.cell = cell;
    this.#protections = protections;
    this.#head = { chain: cell, seq: 0, prev: '', hash: '' };
  }

  get head(): AuditRow {
    return this.#head;
  }

  #write(job: JobRow, event: string): JobRow {
    this.jobs.set(key(job), job);
    this.log.push({ job });
    const hash = hashOf(`${this.#head.hash} ${key(job)} ${event}`);
    this.#head = { chain: this.cell, seq: this.#head.seq + 1, prev: this.#head.hash, hash };
    this.audits.set(`${this.cell} ${this.#head.seq}`, this.#head);
    this.log.push({ audit: this.#head });
    return job;
  }

  accept({ tenant, job, message }: { readonly tenant: string; readonly job: string; readonly message: string }, epoch: number, now: number): 'accepted' | 'same' | 'conflict' {
    const found = this.jobs.get(key({ tenant, job }));
    if (found !== undefined && this.#protections.idempotentAccept) return found.message === message ? 'same' : 'conflict';
    const usage = { tenant, job, epoch, cell: this.cell };
    this.usage.push(usage);
    this.log.push({ usage });
    if (found === undefined) this.#write({ tenant, job, message, state: 'accepted', epoch, writer: this.cell, events: 1, token: undefined, dueAt: now, attempts: 0 }, 'accepted');
    return 'accepted';
  }

  #epochFor(held: readonly Held[], row: JobRow): number | undefined {
    const epoch = held.find(({ tenant }) => tenant === row.tenant)?.epoch;
    return epoch === undefined || row.epoch > epoch ? undefined : epoch;
  }

  lease(held: readonly Held[], max: number, leaseMs: number, now: number): JobRow[] {
    const taken: JobRow[] = [];
    for (const row of this.jobs.values()) {
      if (taken.length >= max) break;
      const epoch = row.state === 'accepted' || row.state === 'leased' ? this.#epochFor(held, row) : undefined;
      if (epoch === undefined || row.dueAt > now) continue;
      const next = { ...row, epoch, writer: this.cell, events: row.events + 1 };
      if (row.attempts >= MAX_ATTEMPTS) {
        this.#write({ ...next, state: 'failed', token: undefined }, 'failed');
        this.#result({ tenant: row.tenant, job: row.job, epoch, cell: this.cell, outcome: 'failed', digest: 'ATTEMPTS_EXHAUSTED' });
      } else taken.push(this.#write({ ...next, state: 'leased', token: `${this.cell} ${this.#tokens++}`, dueAt: now + leaseMs, attempts: row.attempts + 1 }, 'leased'));
    }
    return taken;
  }

  takeOver(held: readonly Held[], now: number): void {
    for (const row of [...this.jobs.values()]) {
      const epoch = row.state === 'leased' ? this.#epochFor(held, row) : undefined;
      if (epoch !== undefined && row.epoch < epoch) this.#write({ ...row, state: 'accepted', epoch, writer: this.cell, events: row.events + 1, token: undefined, dueAt: now }, 'requeued');
    }
  }

  heartbeat(job: { readonly tenant: string; readonly job: string }, token: string, leaseMs: number, now: number): boolean {
    const row = this.jobs.get(key(job));
    if (row === undefined || row.state !== 'leased' || row.token !== token) return false;
    this.jobs.set(key(job), { ...row, dueAt: now + leaseMs });
    return true;
  }

  complete(job: { readonly tenant: string; readonly job: string }, token: string, digest: string, epoch: number): 'recorded' | 'stale' {
    const row = this.jobs.get(key(job));
    if (row === undefined) return 'stale';
    const mine = row.token === token;
    if (this.#protections.fenceOnComplete && !(mine && row.state === 'leased' && row.epoch <= epoch)) {
      const stands = this.standing(row);
      return mine && stands?.digest === digest ? 'recorded' : 'stale';
    }
    const done = this.#write({ ...row, state: 'completed', epoch, writer: this.cell, events: row.events + 2 }, 'completed');
    this.#result({ tenant: row.tenant, job: row.job, epoch: done.epoch, cell: this.cell, outcome: 'completed', digest });
    return 'recorded';
  }

  #result(result: ResultRow): void {
    this.results.set(`${key(result)} ${result.epoch} ${result.cell}`, result);
    this.log.push({ result });
  }

  standing({ tenant, job, epoch, writer }: JobRow): ResultRow | undefined {
    return this.results.get(`${key({ tenant, job })} ${epoch} ${writer}`);
  }

  /** @returns false where the chain would have a gap */
  receipt(receipt: ReceiptRow): boolean {
    if (receipt.seq > 1 && !this.receipts.has(`${receipt.instance} ${receipt.seq - 1}`)) return false;
    this.receipts.set(`${receipt.instance} ${receipt.seq}`, receipt);
    this.log.push({ receipt });
    return true;
  }

  /** What a peer wrote, from `position` of its log on. */
  apply(peer: string, changes: readonly Change[], position: number): void {
    if ((this.applied.get(peer) ?? 0) !== position) return;
    for (const change of changes) this.#merge(change);
    this.applied.set(peer, position + changes.length);
  }

  #merge(change: Change): void {
    if ('job' in change) {
      const mine = this.jobs.get(key(change.job));
      if (mine === undefined || !this.#protections.rankedMerge || rank(change.job, mine) > 0) this.jobs.set(key(change.job), change.job);
    } else if ('usage' in change) {
      const at = this.usage.findIndex((one) => key(one) === key(change.usage));
      const mine = this.usage[at];
      if (mine === undefined) this.usage.push(change.usage);
      else if (change.usage.epoch > mine.epoch || (change.usage.epoch === mine.epoch && change.usage.cell > mine.cell)) this.usage[at] = change.usage;
    } else if ('result' in change) {
      const name = `${key(change.result)} ${change.result.epoch} ${change.result.cell}`;
      if (!this.results.has(name)) this.results.set(name, change.result);
    } else if ('receipt' in change) {
      this.receipts.set(`${change.receipt.instance} ${change.receipt.seq}`, change.receipt);
    } else {
      this.audits.set(`${change.audit.chain} ${change.audit.seq}`, change.audit);
    }
  }
}
