/** A peer cell's store, over the internal listener of its gateway (peer-routes.ts). */
import type { PeerStore } from '../ledger/replicated-blobs.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { exchange } from '../protocol/exchange.ts';
import { makePop } from '../protocol/pop.ts';
import { peerBlobPath } from './peer-routes.ts';

export interface PeerStoreOptions {
  readonly name: string;
  /** Of its internal listener. */
  readonly origin: string;
  /** This cell. */
  readonly cell: string;
  /** This cell's key of the directory. */
  readonly key: CryptoKey;
  readonly maxBytes: number;
  /** For each call. */
  readonly timeoutMs: number;
  readonly now: Clock;
}

const NOTHING = new Uint8Array();
const PROBLEM_BYTES = 64 * 1024;

export function openPeerStore({ name, origin, cell, key, maxBytes, timeoutMs, now }: PeerStoreOptions): PeerStore {
  const call = async (method: 'GET' | 'PUT', digest: string, body?: Uint8Array) => {
    const path = peerBlobPath(digest);
    const headers = { 'ccc-cell': cell, 'ccc-pop': await makePop({ key, method, path, body: NOTHING, now: seconds(now) }), ...(body === undefined ? {} : { 'content-type': 'application/octet-stream' }) };
    return await exchange(origin + path, { method, headers, signal: AbortSignal.timeout(timeoutMs), maxBytes: (status) => (status === 200 ? maxBytes : PROBLEM_BYTES), ...(body === undefined ? {} : { body }) });
  };
  const unexpected = (status: number): Error => new Error(`${name} answered ${status}`);
  return {
    name,
    async put(digest, data) {
      const { status } = await call('PUT', digest, data);
      if (status !== 204) throw unexpected(status);
    },
    async get(digest) {
      const { status, body } = await call('GET', digest);
      if (status === 404) return undefined;
      if (status !== 200) throw unexpected(status);
      return body;
    },
  };
}
