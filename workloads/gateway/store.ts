/**
 * Ciphertext of jobs. A message is stored before its job is accepted, so a crash in between leaves bytes that no job names;
 * they are removed later. Never are bytes removed that a job being accepted just now relies on.
 */
import { type Bytes, hex, randomBytes, sha256 } from '../../attestation/bytes.ts';
import type { Blobs } from '../ledger/blobs.ts';
import type { PutHow, ReplicatedBlobs } from '../ledger/replicated-blobs.ts';
import { type Ledger, LedgerError } from '../ledger/ledger.ts';
import type { Clock } from '../protocol/clock.ts';
import { CccError } from '../protocol/problem.ts';

/** Errors of a store, in codes of the table. */
export function storeError(error: unknown): unknown {
  if (!(error instanceof LedgerError) || !error.code.startsWith('BLOB_')) return error;
  if (error.code === 'BLOB_NO_SPACE') return new CccError('STORE_FULL', 'Send the same request again later; the operator makes room.', { retryAfter: 60, cause: error });
  return new CccError('STORE_UNAVAILABLE', 'Send the same request again shortly.', { retryAfter: 5, cause: error });
}

async function named<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    throw storeError(error);
  }
}

const PAGE = 1000;

export class MessageStore {
  readonly #blobs: Blobs | ReplicatedBlobs;
  readonly #ledger: Pick<Ledger, 'tenants' | 'jobs'>;
  readonly #now: Clock;
  readonly #orphanAgeMs: number;
  /** Digests that a request is storing or accepting, with how many requests. */
  readonly #busy = new Map<string, number>();
  readonly #deleting = new Map<string, Promise<unknown>>();
  /** When bytes without a job were first noticed. */
  readonly #orphans = new Map<string, number>();

  constructor(options: { blobs: Blobs | ReplicatedBlobs; ledger: Pick<Ledger, 'tenants' | 'jobs'>; now: Clock; orphanAgeMs: number }) {
    this.#blobs = options.blobs;
    this.#ledger = options.ledger;
    this.#now = options.now;
    this.#orphanAgeMs = options.orphanAgeMs;
  }

  /** Stores, then calls `accept` with the digest (hex): meanwhile these bytes are not swept. `how`: for a store with peers. @throws CccError STORE_FULL, STORE_UNAVAILABLE */
  async keep<T>(message: Bytes, accept: (digest: string) => Promise<T>, how?: PutHow): Promise<T> {
    const digest = hex(await sha256(message));
    while (this.#deleting.has(digest)) await this.#deleting.get(digest);
    this.#busy.set(digest, (this.#busy.get(digest) ?? 0) + 1);
    this.#orphans.delete(digest);
    try {
      const stored = await named(this.#blobs.put(message, how));
      if (stored !== digest) throw new CccError('STORE_UNAVAILABLE', 'Send the same request again shortly.', { detail: 'The store answered another digest' });
      return await accept(digest);
    } finally {
      const left = (this.#busy.get(digest) ?? 1) - 1;
      if (left > 0) this.#busy.set(digest, left);
      else this.#busy.delete(digest);
    }
  }

  /** @throws CccError STORE_UNAVAILABLE */
  read(digest: string): Promise<Bytes> {
    return named(this.#blobs.get(digest));
  }

  /** Writes, reads and removes a few bytes, or what the store has instead. */
  async probe(): Promise<boolean> {
    if (this.#blobs.probe !== undefined) return await this.#blobs.probe();
    const bytes = randomBytes(16);
    const digest = await this.#blobs.put(bytes, { local: true });
    const back = await this.#blobs.get(digest);
    await this.#blobs.delete(digest);
    return hex(back) === hex(bytes);
  }

  /** Removes bytes that no job has named for the whole orphan age. Returns how many. */
  async sweep(): Promise<number> {
    const nameless = await this.#nameless();
    for (const digest of this.#orphans.keys()) if (!nameless.has(digest)) this.#orphans.delete(digest);
    let removed = 0;
    for (const digest of nameless) {
      if (this.#busy.has(digest)) continue;
      const since = this.#orphans.get(digest);
      if (since === undefined) this.#orphans.set(digest, this.#now());
      else if (this.#now() - since >= this.#orphanAgeMs) removed += await this.#remove(digest);
    }
    return removed;
  }

  async #remove(digest: string): Promise<number> {
    const work = this.#blobs.delete(digest);
    this.#deleting.set(digest, work.catch(() => {}));
    try {
      return (await work) ? 1 : 0;
    } finally {
      this.#deleting.delete(digest);
      this.#orphans.delete(digest);
    }
  }

  /** Stored digests that no job has. A job that is accepted while this looks took its digest out of the orphans (see `keep`). */
  async #nameless(): Promise<Set<string>> {
    const digests = new Set(await this.#blobs.list());
    for (const { id } of digests.size === 0 ? [] : await this.#ledger.tenants()) {
      let before: string | undefined;
      do {
        const page = await this.#ledger.jobs(id, { limit: PAGE, ...(before === undefined ? {} : { before }) });
        for (const { messageDigest } of page) digests.delete(messageDigest);
        before = page.length === PAGE ? page.at(-1)?.jobId : undefined;
      } while (before !== undefined);
    }
    return digests;
  }
}
