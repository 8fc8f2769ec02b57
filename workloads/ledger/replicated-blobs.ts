/**
 * A store that also fills its peers'. What is put is on this cell's disk and noted as owed to every peer before the caller goes on, so an accepted job's
 * ciphertext reaches them whatever ends here. With tier `sync` the standby has confirmed it first. What is missing or damaged here is
 * fetched from a peer: the digest says whether it is right.
 */
import { type Bytes } from '../../attestation/bytes.ts';
import { type Blobs, digestOf } from './blobs.ts';
import { LedgerError } from './errors.ts';
import type { Tier } from './ledger.ts';
import type { Debts } from './replication/debts.ts';

/** Another cell's store, over its gateway. Each call ends within its own time limit. */
export interface PeerStore {
  readonly name: string;
  /** On the peer's disk when this resolves. */
  put(digest: string, data: Uint8Array): Promise<void>;
  /** `undefined`: it has none. */
  get(digest: string): Promise<Uint8Array | undefined>;
}

export interface PutHow {
  /** Default `async`. */
  readonly tier?: Tier;
  /** Peer, or peers, that must have it for `sync`; all standbys unless told. */
  readonly standby?: string | readonly string[];
  /** Peers that may have it, by the tenant's residency; all unless told. */
  readonly peers?: readonly string[];
  /** For this cell only: no job's. */
  readonly local?: boolean;
}

export interface ReplicatedBlobs extends Blobs {
  /** @throws LedgerError BLOB_PEER as well: it is stored here, and owed, but a standby has not confirmed it */
  put(data: Uint8Array, how?: PutHow): Promise<string>;
  /** Sends what is owed, as far as peers take it. Returns how much is still owed. */
  pay(): Promise<number>;
  /** Ends sending. */
  close(): Promise<void>;
}

export interface ReplicatedBlobsOptions {
  readonly own: Blobs;
  readonly peers: readonly PeerStore[];
  readonly debts: Debts;
  /** Peers that `sync` waits for. */
  readonly standbys: readonly string[];
  /** By explicit act, jobs are acknowledged without this standby now; without a name: without some. */
  readonly degraded: (standby?: string) => Promise<boolean>;
}

const BATCH = 16;

export function replicateBlobs({ own, peers, debts, standbys, degraded }: ReplicatedBlobsOptions): ReplicatedBlobs {
  const sending = new Map<string, Promise<void>>();
  const again = new Set<string>();
  let closed = false;

  const send = async (peer: PeerStore, digest: string): Promise<'sent' | 'gone' | 'failed'> => {
    let data: Bytes;
    try {
      data = await own.get(digest);
    } catch (error) {
      // A job that was never accepted: its bytes were swept. Anything else may be well later.
      return error instanceof LedgerError && error.code === 'BLOB_MISSING' ? 'gone' : 'failed';
    }
    return await peer.put(digest, data).then(() => 'sent' as const, () => 'failed' as const);
  };

  /** Until nothing is owed or the peer takes no more. */
  const payOne = async (peer: PeerStore): Promise<void> => {
    for (;;) {
      again.delete(peer.name);
      const owed = closed ? [] : await debts.owed(peer.name, BATCH);
      const ends = await Promise.all(owed.map((digest) => send(peer, digest)));
      await debts.paid(peer.name, owed.filter((_, i) => ends[i] !== 'failed'));
      if (ends.includes('failed') || (owed.length === 0 && !again.has(peer.name))) return;
    }
  };
  const paying = (peer: PeerStore): Promise<void> => {
    again.add(peer.name);
    let run = sending.get(peer.name);
    if (run === undefined) {
      run = payOne(peer).finally(() => { sending.delete(peer.name); });
      sending.set(peer.name, run);
    }
    return run;
  };

  const confirmedBy = async (peer: PeerStore | undefined, digest: string, data: Uint8Array): Promise<void> => {
    try {
      if (peer === undefined) throw new Error('no such peer');
      await peer.put(digest, data);
    } catch (cause) {
      throw new LedgerError('BLOB_PEER', 'The standby has not confirmed the bytes.', { cause });
    }
    // Not vital: what is noted as owed is sent once more.
    await debts.paid(peer.name, [digest]).catch(() => {});
  };

  return {
    async put(data, { tier = 'async', standby, peers: allowed, local = false } = {}) {
      const digest = await own.put(data);
      if (local) return digest;
      const may = allowed === undefined ? peers : peers.filter(({ name }) => allowed.includes(name));
      await debts.owe(digest, may.map(({ name }) => name));
      const wanted = tier === 'sync' ? [standby ?? standbys].flat() : [];
      if (tier === 'sync' && wanted.length === 0 && !await degraded()) throw new LedgerError('BLOB_PEER', 'No standby is set up.');
      const without = await Promise.all(wanted.map((name) => degraded(name)));
      const waited = wanted.filter((_, i) => without[i] === false);
      await Promise.all(waited.map((name) => confirmedBy(may.find((peer) => peer.name === name), digest, data)));
      for (const peer of may) if (!waited.includes(peer.name)) paying(peer).catch(() => {});
      return digest;
    },
    async get(digest) {
      try {
        return await own.get(digest);
      } catch (error) {
        if (!(error instanceof LedgerError) || (error.code !== 'BLOB_MISSING' && error.code !== 'BLOB_CORRUPT')) throw error;
        for (const peer of peers) {
          const data = await peer.get(digest).catch(() => undefined);
          if (data === undefined || digestOf(data) !== digest) continue;
          await own.put(data);
          return await own.get(digest);
        }
        throw error;
      }
    },
    has: own.has,
    delete: own.delete,
    list: own.list,
    ...(own.probe === undefined ? {} : { probe: own.probe }),
    async pay() {
      await Promise.allSettled(peers.map(paying));
      return (await Promise.all(peers.map(({ name }) => debts.count(name)))).reduce((sum, n) => sum + n, 0);
    },
    async close() {
      closed = true;
      await Promise.allSettled([...sending.values()]);
    },
  };
}
