/** Observers of three cells on one PostgreSQL, as real servers, and the owner's directory of them. */
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { b64u } from '../../attestation/bytes.ts';
import { httpServer } from '../../workloads/broker/http.ts';
import { observerRoutes } from '../../workloads/observer/observer.ts';
import { openStore, type Store } from '../../workloads/observer/store.ts';
import { DirectorySource } from '../../workloads/protocol/directory-source.ts';
import { generateSigningKey, signJws, type SigningKey } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { type CellDirectory, DIRECTORY_TYPE } from '../../workloads/protocol/owner.ts';
import { startEngine, type Engine } from '../ledger/engines.ts';
import { owner } from './fixture.ts';

export const CELLS = ['aws', 'azure', 'gcp'] as const;
export const LEASE_SECONDS = 4;
export const BOUND_SECONDS = 0.2;
const log = createLog('observer', { write: () => {} });

export interface Observers {
  readonly keys: Record<string, SigningKey>;
  readonly observerKeys: Record<string, SigningKey>;
  readonly databases: Record<string, string>;
  readonly urls: Record<string, string>;
  /** Signed by the owner. @param first the cell that this directory puts first */
  directory(first?: string, change?: Partial<CellDirectory>): Promise<string>;
  stop(cell: string): Promise<void>;
  start(cell: string): Promise<void>;
  close(): Promise<void>;
}

/** @param change of the directory that the observers obey */
export async function startObservers(change: Partial<CellDirectory> = {}): Promise<Observers> {
  const engine: Engine = await startEngine();
  const made = async () => Object.fromEntries(await Promise.all(CELLS.map(async (cell) => [cell, await generateSigningKey({ extractable: true })] as const)));
  const [keys, observerKeys] = [await made(), await made()];
  const databases = Object.fromEntries(await Promise.all(CELLS.map(async (cell) => [cell, await engine.database()] as const)));
  const urls: Record<string, string> = {};
  const running = new Map<string, { server: Server; store: Store }>();
  let inForce = '';

  const listen = async (server: Server, port: number): Promise<void> => { await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve)); };
  const start = async (cell: string, fresh = false): Promise<void> => {
    const key = observerKeys[cell] as SigningKey;
    const store = await openStore({ url: databases[cell] as string, key: b64u(key.publicKey), fresh });
    const source = new DirectorySource({ ownerKey: owner.publicKey, now: Date.now });
    const server = httpServer(observerRoutes({ name: cell, key, store, now: Date.now, log, directory: async () => { await source.offer(inForce); return source.current(); } }), log);
    await listen(server, Number(new URL(urls[cell] ?? 'http://127.0.0.1:0').port) || 0);
    urls[cell] = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    running.set(cell, { server, store });
  };
  const stop = async (cell: string): Promise<void> => {
    const one = running.get(cell);
    running.delete(cell);
    one?.server.closeAllConnections();
    await new Promise<void>((resolve) => { if (one === undefined) resolve(); else one.server.close(() => resolve()); });
    await one?.store.close();
  };
  await Promise.all(CELLS.map((cell) => start(cell, true)));

  const directory: Observers['directory'] = async (first = 'aws', more = {}) => signJws(DIRECTORY_TYPE, {
    revision: 1, notAfter: Math.floor(Date.now() / 1000) + 86_400, deployment: 'test', leaseSeconds: LEASE_SECONDS, clockBoundSeconds: BOUND_SECONDS,
    cells: CELLS.map((name) => ({
      name, cloud: 'local' as const, region: 'local-1', url: `http://${name}.example`, configDigest: 'aa'.repeat(32), epoch: 1,
      key: b64u(keys[name]?.publicKey as Uint8Array), observer: { url: urls[name] as string, key: b64u(observerKeys[name]?.publicKey as Uint8Array) },
    })),
    tenants: [{ tenant: '*', order: [first, ...['aws', 'azure'].filter((name) => name !== first)], tier: 'async' as const }], ...more,
  } satisfies CellDirectory, owner.privateKey);
  inForce = await directory('aws', change);
  return {
    keys, observerKeys, databases, urls, directory, stop, start: (cell) => start(cell),
    async close() {
      await Promise.all([...running.keys()].map(stop));
      await engine.stop();
    },
  };
}

/** Polls: what is waited for is another process or another machine's time. */
export async function until<T>(look: () => Promise<T | undefined | false>, ms = 90_000): Promise<T> {
  for (const end = performance.now() + ms; ;) {
    const found = await look();
    if (found !== undefined && found !== false) return found;
    if (performance.now() > end) throw new Error('waited in vain');
    await delay(25);
  }
}
