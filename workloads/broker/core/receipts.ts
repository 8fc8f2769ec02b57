/**
 * Receipts: one signed entry per key operation, chained per broker instance by number and digest of the entry before. `append`
 * resolves when the gateway says that they are stored; only then may the effect leave the broker. Concurrent appends share one
 * request. After a failed request it is unknown what was stored, so the same rows are sent again before any new ones; only rows
 * that can never be stored (a tenant that does not exist) are taken back.
 */
import { type Bytes, b64u, sha256, utf8 } from '../../../attestation/bytes.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { type Clock, seconds } from '../../protocol/clock.ts';
import { signJws } from '../../protocol/jws.ts';
import type { BrokerReceipt } from '../../protocol/messages.ts';
import type { Identity } from '../identity.ts';

export const RECEIPT_TYPE = 'ccc-broker-receipt+jws';
/** Rows of one request; the schema of the request has the same bound. */
const MAX_ROWS = 256;

export interface ReceiptRow { readonly instance: string; readonly seq: number; readonly jws: string }
export type ReceiptEntry = Omit<BrokerReceipt, 'v' | 'instance' | 'seq' | 'prev' | 'at'>;

/** The store will not take these rows, ever, and took none of them. */
export class RowsRefused extends Error {
  override readonly name = 'RowsRefused';
}

interface Waiting { readonly entries: readonly ReceiptEntry[]; resolve(rows: string[]): void; reject(error: unknown): void }

export class Receipts {
  readonly #identity: Identity;
  /** All or none. @throws RowsRefused; anything else when it is unknown whether they are stored */
  readonly #store: (rows: readonly ReceiptRow[]) => Promise<void>;
  readonly #now: Clock;
  #stored: { seq: number; digest: Bytes } = { seq: 0, digest: new Uint8Array(32) };
  #waiting: Waiting[] = [];
  #unconfirmed: ReceiptRow[] = [];
  #running = false;

  constructor(options: { identity: Identity; store: (rows: readonly ReceiptRow[]) => Promise<void>; now: Clock }) {
    this.#identity = options.identity;
    this.#store = options.store;
    this.#now = options.now;
  }

  /** The last receipt that is known to be stored: its number and the SHA-256 of its compact JWS. */
  get head(): { readonly seq: number; readonly digest: Bytes } {
    return this.#stored;
  }

  /** The receipts (compact JWS), once stored. @throws Refusal RECEIPT_NOT_STORED */
  append(entries: readonly ReceiptEntry[]): Promise<string[]> {
    if (entries.length === 0 || entries.length > MAX_ROWS) throw new RangeError(`1 to ${MAX_ROWS} receipts`);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ entries, resolve, reject });
      if (!this.#running) void this.#drain();
    });
  }

  async #drain(): Promise<void> {
    this.#running = true;
    while (this.#waiting.length > 0) await this.#run(this.#take());
    this.#running = false;
  }

  async #run(batch: readonly Waiting[]): Promise<void> {
    try {
      if (this.#unconfirmed.length > 0) await this.#send();
      const rows = await this.#sign(batch.flatMap(({ entries }) => entries));
      this.#unconfirmed = rows;
      await this.#send();
      let at = 0;
      for (const { entries, resolve } of batch) resolve(rows.slice(at, (at += entries.length)).map(({ jws }) => jws));
    } catch (cause) {
      // One caller's bad entry is not another's fault.
      if (cause instanceof RowsRefused && batch.length > 1) for (const one of batch) await this.#run([one]);
      else for (const { reject } of batch) reject(notStored(cause));
    }
  }

  #take(): Waiting[] {
    let rows = 0;
    const end = this.#waiting.findIndex(({ entries }) => (rows += entries.length) > MAX_ROWS);
    return this.#waiting.splice(0, end === -1 ? this.#waiting.length : end);
  }

  async #send(): Promise<void> {
    try {
      await this.#store(this.#unconfirmed);
    } catch (error) {
      if (error instanceof RowsRefused) this.#unconfirmed = [];
      throw error;
    }
    const last = this.#unconfirmed.at(-1) as ReceiptRow;
    this.#stored = { seq: last.seq, digest: await sha256(utf8(last.jws)) };
    this.#unconfirmed = [];
  }

  /** All or none: the end of the chain moves only when every row is signed. */
  async #sign(entries: readonly ReceiptEntry[]): Promise<ReceiptRow[]> {
    const { instance, signing } = this.#identity;
    const rows: ReceiptRow[] = [];
    let { seq, digest } = this.#stored;
    for (const entry of entries) {
      seq++;
      const receipt: BrokerReceipt = { v: 'ccc-broker-receipt/v1', instance, seq, prev: b64u(digest), ...entry, at: seconds(this.#now) };
      const jws = await signJws(RECEIPT_TYPE, receipt, signing.privateKey);
      digest = await sha256(utf8(jws));
      rows.push({ instance, seq, jws });
    }
    return rows;
  }
}

function notStored(cause: unknown): Refusal {
  return new Refusal({ code: 'RECEIPT_NOT_STORED', path: 'receipts', next: 'Nothing was released. Try again once the gateway stores receipts.' }, { cause });
}
