/**
 * Waiting for a standby. The wait is a transaction of its own after the one that it is for: it commits an empty logical message with
 * `synchronous_commit = on`, which PostgreSQL answers once a subscriber named in `synchronous_standby_names` has everything up to it. On a logical
 * subscriber `on` says more than `remote_apply`: applied, and on its disk. Many jobs share one wait, and a repeated job waits like a new one.
 *
 * That answer alone is never believed. A wait that was cancelled, or for which no standby is named, also ends without an error (PostgreSQL warns: the
 * transaction has committed locally). So the position that the standby itself reported is compared, and only under the name that it has
 * once its copy is whole.
 */
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import { LedgerError, LedgerUnavailable } from '../errors.ts';
import { readyName } from './names.ts';
import type { Server } from './server.ts';

export interface StandbyOptions {
  readonly url: string;
  readonly server: Server;
  readonly cell: string;
  /** Peers that a `sync` job waits for unless it names one. */
  readonly peers: readonly string[];
  /** Milliseconds. */
  readonly patienceMs: number;
}

export interface Standby {
  /** Resolves when what was committed before the call is on the peers' disks. @throws LedgerUnavailable otherwise, and when nobody is to be waited for */
  reached(peers?: readonly string[]): Promise<void>;
  close(): Promise<void>;
}

const POLL_MS = 10;

export function openStandby({ url, server, cell, peers: all, patienceMs }: StandbyOptions): Standby {
  // A wait holds its connection: these are for nothing else, and few, for one wait serves all who came before it.
  const pool = new pg.Pool({ connectionString: url, max: 4, application_name: 'ccc-standby', connectionTimeoutMillis: 3_000, idleTimeoutMillis: 60_000, allowExitOnIdle: true, keepAlive: true });
  pool.on('error', () => {});
  pool.on('connect', (client) => client.on('error', () => {}));

  /** Where the log was when the message was written: everything before it is committed. */
  const message = async (deadline: number): Promise<string> => {
    const client = await pool.connect();
    let cut = false;
    const timer = setTimeout(() => {
      cut = true;
      // Ends the wait, not the commit. A server that does not even do that is left.
      server.query('select pg_cancel_backend($1)', [(client as unknown as { processID: number }).processID]).catch(() => {});
      setTimeout(() => { if (cut) void (client as unknown as pg.Client).end().catch(() => {}); }, 1_000).unref();
    }, Math.max(1, deadline - performance.now()));
    try {
      const { rows } = await client.query<{ lsn: string }>(`select set_config('synchronous_commit', 'on', true), pg_logical_emit_message(true, 'ccc', '')::text as lsn`);
      if (cut || rows[0] === undefined) throw new Error('the wait was cancelled');
      client.release();
      return rows[0].lsn;
    } catch (error) {
      client.release(true);
      throw error;
    } finally {
      cut = false;
      clearTimeout(timer);
    }
  };

  const confirmed = async (lsn: string, names: readonly string[]): Promise<boolean> => {
    const rows = await server.query<{ name: string }>(`select distinct application_name as name from pg_stat_replication where application_name = any($1) and flush_lsn >= $2::pg_lsn`, [names, lsn]);
    return rows.length === names.length;
  };

  const wait = async (peers: readonly string[]): Promise<void> => {
    const deadline = performance.now() + patienceMs;
    const names = peers.map((peer) => readyName(cell, peer));
    try {
      const lsn = await message(deadline);
      // With several standbys, the one asked for may be the later one; where none is named to the server, this is the whole wait.
      while (!await confirmed(lsn, names)) {
        if (performance.now() >= deadline) throw new Error('the standby has not confirmed in time');
        await delay(POLL_MS);
      }
    } catch (error) {
      if (error instanceof LedgerUnavailable) throw error;
      throw new LedgerUnavailable(new LedgerError('STANDBY_UNCONFIRMED', `${peers.join(', ')} did not confirm within ${patienceMs} ms.`, { cause: error }));
    }
  };

  const running = new Map<string, Promise<void>>();
  const next = new Map<string, Promise<void>>();
  const start = (key: string, peers: readonly string[]): Promise<void> => {
    const mine = wait(peers).finally(() => { if (running.get(key) === mine) running.delete(key); });
    running.set(key, mine);
    return mine;
  };
  return {
    async reached(peers = all) {
      if (peers.length === 0) throw new LedgerUnavailable(new LedgerError('STANDBY_ABSENT', 'No standby is set up for jobs of tier sync.'));
      const key = [...new Set(peers)].sort().join();
      const before = running.get(key);
      if (before === undefined) return start(key, peers);
      // What is under way began before this call, so it proves nothing for it; the one after it does, for all who came meanwhile.
      let later = next.get(key);
      if (later === undefined) {
        later = before.catch(() => {}).then(() => { next.delete(key); return start(key, peers); });
        next.set(key, later);
      }
      return later;
    },
    close: () => pool.end(),
  };
}

const quoted = (name: string): string => `"${name}"`;

/** ALTER SYSTEM is its operator's alone: insufficient_privilege of PostgreSQL itself and of Aurora and Cloud SQL, or feature_not_supported. */
const NOT_OURS: ReadonlySet<string | undefined> = new Set(['42501', '0A000']);

/**
 * Names those that the server waits for. They confirm one by one; whoever waits for more than one looks at each. false: the server takes no such setting from this
 * role and has none, as managed databases; then the whole wait is the comparison of positions, which asks again every few milliseconds.
 * @throws what the server said, also where it keeps a setting that is another's: it would wait for whom nobody here knows
 */
export async function nameStandbys(server: Server, cell: string, peers: readonly string[]): Promise<boolean> {
  const value = peers.length === 0 ? '' : `ANY 1 (${peers.map((peer) => quoted(readyName(cell, peer))).join(', ')})`;
  const [row] = await server.query<{ value: string }>(`select current_setting('synchronous_standby_names') as value`);
  if (row?.value === value) return true;
  try {
    await server.query(`alter system set synchronous_standby_names = ${server.quote(value)}`);
  } catch (error) {
    if (row?.value !== '' || !NOT_OURS.has((error as { code?: string }).code)) throw error;
    return false;
  }
  await server.query('select pg_reload_conf()');
  return true;
}
