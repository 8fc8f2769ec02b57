/**
 * The embedded database: a real PostgreSQL server as a child process, in one folder.
 *
 * | in the folder | |
 * |---|---|
 * | data/ | the cluster; belongs to the user the server runs as |
 * | secrets.json | generated passwords, mode 0600 |
 * | port | the port it had last; it gets another when that one is taken |
 * | server.log | its messages: never statements or their parameters |
 * | owner.json | the process that started it |
 *
 * It listens on 127.0.0.1 only, with SCRAM-SHA-256, and has no Unix socket. It writes to disk before it confirms (fsync). The ledger's
 * role owns one database and is no superuser.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chown, mkdir, open, readFile, realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import pg from 'pg';
import type { Log } from '../protocol/log.ts';
import { type Binaries, embeddedBinaries } from './embedded/binaries.ts';
import { type Identity, serverIdentity } from './embedded/identity.ts';
import { reachable } from './embedded/reachable.ts';
import { PEER_ROLE, REPLICATION_SETTINGS, allowReplication } from './embedded/replication.ts';
import { claim, clearOrphan, disclaim, end, serverProcesses } from './embedded/orphan.ts';
import { watch } from './embedded/watchdog.ts';
import { LedgerError } from './errors.ts';

export interface PostgresOptions {
  readonly folder: string;
  readonly log: Log;
  /** Default: those of the npm package. */
  readonly binaries?: Binaries;
  /** Set up to replicate to other cells and from them: logical decoding, and a role for peers. From version 16 on. */
  readonly replication?: boolean;
  /** Called when the server ended by itself; it is being started again, on the same port. */
  readonly onCrash?: (exit: { code: number | null; signal: NodeJS.Signals | null }) => void;
}

export interface Postgres {
  /** Of the ledger's role and database. */
  readonly url: string;
  /** Of the superuser, for operators and tests. */
  readonly adminUrl: string;
  /** Of the role that peers read the ledger's database with; only with `replication`. */
  readonly peerUrl?: string;
  /** The server's process id; undefined while it is down. */
  pid(): number | undefined;
  /** Of the server and its workers, where /proc is; of the server elsewhere. */
  processes(): Promise<number[]>;
  /** Fast shutdown; everything confirmed is on disk. */
  stop(): Promise<void>;
  /** As if the machine went: SIGKILL for the server and its workers at once, and it stays down. */
  kill(): Promise<void>;
}

interface Secrets { readonly superuser: string; readonly ledger: string; readonly peer: string }

const READY_MS = 60_000;
const MAX_LOG_BYTES = 10_000_000;
const ROLE = 'ccc';
const SETTINGS: Readonly<Record<string, string>> = {
  listen_addresses: '127.0.0.1',
  unix_socket_directories: '',
  fsync: 'on',
  synchronous_commit: 'on',
  full_page_writes: 'on',
  // Before recovery every file must be on disk; one call for the file system instead of one per file makes a restart quick.
  ...(process.platform === 'linux' ? { recovery_init_sync_method: 'syncfs' } : {}),
  max_connections: '100',
  shared_buffers: '64MB',
  // Small containers have next to no /dev/shm, and none of our statements needs parallel workers.
  dynamic_shared_memory_type: 'mmap',
  max_parallel_workers_per_gather: '0',
  jit: 'off',
  timezone: 'UTC',
  log_timezone: 'UTC',
  log_statement: 'none',
  log_min_error_statement: 'panic',
  log_error_verbosity: 'terse',
};
/** Nothing of the caller's environment: a PGPORT or PGDATA there is somebody else's. */
const ENVIRONMENT = { PATH: process.env['PATH'] ?? '/usr/bin:/bin', LC_ALL: 'C', TZ: 'UTC' };

/** @throws LedgerError POSTGRES_PLATFORM, POSTGRES_LINKS, POSTGRES_FOLDER, POSTGRES_IN_USE, POSTGRES_START (with the server's last words) */
export async function startPostgres({ folder: given, log, binaries: chosen, replication = false, onCrash }: PostgresOptions): Promise<Postgres> {
  await mkdir(given, { recursive: true, mode: 0o755 });
  const folder = await realpath(given);
  const data = join(folder, 'data');
  const logFile = join(folder, 'server.log');
  const binaries = await reachable(chosen ?? (await embeddedBinaries()));
  const identity = await serverIdentity([data, binaries.postgres, binaries.initdb]);
  await claim(folder);
  let secrets: Secrets;
  try {
    secrets = await readSecrets(folder);
    if (!(await isFolder(data))) await initialize({ folder, data, binaries, identity, secrets });
  } catch (error) {
    await disclaim(folder);
    throw error;
  }

  let child: ChildProcess | undefined;
  let dog: ChildProcess | undefined;
  let stopping = false;
  let restarting: Promise<void> | undefined;

  const launch = async (port: number): Promise<void> => {
    await clearOrphan(data);
    for (let tries = 1; ; tries++) {
      const problem = await tryLaunch(port);
      if (problem === undefined) return;
      // After kill -9 of the postmaster its children need a moment to notice; only where clearOrphan cannot see them does this matter.
      if (tries < 40 && /pre-existing shared memory block|postmaster\.pid|lock file/.test(problem) && !stopping) {
        await delay(250);
        continue;
      }
      throw new LedgerError(/Address already in use|could not bind/.test(problem) ? 'POSTGRES_PORT' : 'POSTGRES_START', `PostgreSQL did not start: ${problem}`);
    }
  };

  /** The server's last words when it ended instead of becoming ready. */
  const tryLaunch = async (port: number): Promise<string | undefined> => {
    const out = await open(logFile, 'a', 0o600);
    if ((await out.stat()).size > MAX_LOG_BYTES) await out.truncate();
    const from = (await out.stat()).size;
    if (stopping) return await out.close().then(() => 'it is being stopped');
    const args = ['-D', data, '-p', String(port), ...Object.entries(replication ? { ...SETTINGS, ...REPLICATION_SETTINGS } : SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`])];
    const { file, args: all, uid, gid } = identity.command(binaries.postgres, args);
    // A session of its own: Ctrl-C at a terminal reaches its parent, which stops it in due order.
    const mine = spawn(file, all, { cwd: folder, env: ENVIRONMENT, stdio: ['ignore', out.fd, out.fd], detached: true, uid, gid });
    let ended: { code: number | null; signal: NodeJS.Signals | null } | undefined;
    let ready = false;
    mine.on('error', () => { ended ??= { code: null, signal: null }; });
    mine.on('exit', (code, signal) => {
      ended = { code, signal };
      if (child === mine) child = undefined;
      dog?.kill();
      if (!ready || stopping) return;
      log.error('postgres-ended', { exit: code ?? undefined, signal: signal ?? undefined });
      restarting = relaunch(port).catch(() => {});
      onCrash?.({ code, signal });
    });
    await out.close();
    if (mine.pid !== undefined) dog = watch(mine.pid, data);
    child = mine;
    for (let waited = 0; ended === undefined; waited += 20) {
      if (await isReady(data, mine.pid)) break;
      if (waited > READY_MS && mine.pid !== undefined) await end(mine.pid, () => ended !== undefined);
      await delay(20);
    }
    if (ended !== undefined) return await readFile(logFile, 'utf8').then((text) => text.slice(from).slice(-2_000).trim() || 'it ended at once');
    ready = true;
    mine.unref();
    log.info('postgres-ready', { port, pid: mine.pid });
    return undefined;
  };

  const relaunch = async (port: number): Promise<void> => {
    for (let wait = 100; !stopping; wait = Math.min(2 * wait, 5_000)) {
      try {
        return await launch(port);
      } catch (error) {
        log.error('postgres-restart-failed', { code: error instanceof LedgerError ? error.code : 'INTERNAL' });
        await delay(wait);
      }
    }
  };

  const processes = async (): Promise<number[]> => [...new Set([...(child?.pid === undefined ? [] : [child.pid]), ...await serverProcesses(data) ?? []])];
  const kill = async (): Promise<void> => {
    stopping = true;
    for (const pid of await processes()) {
      try {
        process.kill(pid, 'SIGKILL');
      } catch { /* it ended by itself, since its server did */ }
    }
    await stop();
  };
  const stop = async (): Promise<void> => {
    stopping = true;
    const down = async () => {
      const mine = child;
      if (mine?.pid !== undefined) await end(mine.pid, () => child !== mine);
    };
    await down();
    await restarting; // a restart that was under way sees `stopping`, or has made one more child
    await down();
    await disclaim(folder);
  };

  try {
    const port = await launchOnFreePort(folder, launch);
    const at = (user: string, password: string, database: string) => `postgres://${user}:${password}@127.0.0.1:${port}/${database}`;
    const adminUrl = at('postgres', secrets.superuser, 'postgres');
    await ensureDatabase(adminUrl, secrets.ledger);
    const url = at(ROLE, secrets.ledger, ROLE);
    if (replication) await allowReplication({ adminUrl, database: ROLE, role: ROLE, password: secrets.peer });
    return { url, adminUrl, ...(replication ? { peerUrl: at(PEER_ROLE, secrets.peer, ROLE) } : {}), pid: () => child?.pid, processes, stop, kill };
  } catch (error) {
    await stop();
    throw error;
  }
}

const isFolder = (path: string): Promise<boolean> => stat(path).then((s) => s.isDirectory(), () => false);

/** Line 8 of the lock file is the server's state (PostgreSQL, miscadmin.h, LOCK_FILE_LINE_PM_STATUS). */
async function isReady(data: string, pid: number | undefined): Promise<boolean> {
  const lines = (await readFile(join(data, 'postmaster.pid'), 'utf8').catch(() => '')).split('\n');
  return Number(lines[0]) === pid && lines[7]?.trim() === 'ready';
}

async function readSecrets(folder: string): Promise<Secrets> {
  const file = join(folder, 'secrets.json');
  const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw error;
  });
  const known = text === undefined ? undefined : JSON.parse(text) as Omit<Secrets, 'peer'> & Partial<Secrets>;
  if (known?.peer !== undefined) return { ...known, peer: known.peer };
  if (known === undefined && await isFolder(join(folder, 'data'))) throw new LedgerError('POSTGRES_START', `${file} is missing; without its passwords the database cannot be used.`);
  const password = () => randomBytes(24).toString('base64url');
  const secrets = { superuser: password(), ledger: password(), ...known, peer: password() };
  await writeFile(`${file}.new`, JSON.stringify(secrets), { mode: 0o600, flush: true });
  await rename(`${file}.new`, file);
  return secrets;
}

/** Under another name first: a half-made cluster is never taken for one. */
async function initialize({ folder, data, binaries, identity, secrets }: { folder: string; data: string; binaries: Binaries; identity: Identity; secrets: Secrets }): Promise<void> {
  const making = `${data}.new`;
  const passwordFile = join(folder, 'initial-password');
  await rm(making, { recursive: true, force: true });
  await mkdir(making, { mode: 0o700 });
  try {
    await writeFile(passwordFile, `${secrets.superuser}\n`, { mode: 0o600 });
    if (identity.owner !== undefined) for (const path of [making, passwordFile]) await chown(path, identity.owner.uid, identity.owner.gid);
    const { file, args, uid, gid } = identity.command(binaries.initdb, [
      `--pgdata=${making}`, '--username=postgres', `--pwfile=${passwordFile}`, '--auth=scram-sha-256', '--encoding=UTF8', '--locale=C', '--no-instructions', '--data-checksums',
    ]);
    const said = await new Promise<string | undefined>((done) => {
      let text = '';
      const child = spawn(file, args, { cwd: folder, env: ENVIRONMENT, stdio: ['ignore', 'ignore', 'pipe'], uid, gid });
      child.stderr?.on('data', (chunk: Buffer) => { text = (text + chunk.toString('utf8')).slice(-2_000); });
      child.on('error', (error) => done(error.message));
      child.on('close', (code) => done(code === 0 ? undefined : text || `exit ${code}`));
    });
    if (said !== undefined) throw new LedgerError('POSTGRES_START', `initdb failed: ${said.trim()}`);
    await rename(making, data);
  } finally {
    await rm(passwordFile, { force: true });
  }
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((done, fail) => server.once('error', fail).listen(0, '127.0.0.1', done));
  const address = server.address();
  await new Promise((done) => server.close(done));
  if (address === null || typeof address === 'string') throw new LedgerError('POSTGRES_START', 'no free port');
  return address.port;
}

async function launchOnFreePort(folder: string, launch: (port: number) => Promise<void>): Promise<number> {
  const file = join(folder, 'port');
  let port = Number(await readFile(file, 'utf8').catch(() => '')) || (await freePort());
  for (let tries = 1; ; tries++) {
    try {
      await launch(port);
      await writeFile(file, `${port}\n`);
      return port;
    } catch (error) {
      if (!(error instanceof LedgerError) || error.code !== 'POSTGRES_PORT' || tries >= 5) throw error;
      port = await freePort();
    }
  }
}

/** The ledger's role and its database. CREATEDB lets a test have a database of its own; it is no superuser. */
async function ensureDatabase(adminUrl: string, password: string): Promise<void> {
  const client = new pg.Client({ connectionString: adminUrl });
  client.on('error', () => {});
  await client.connect();
  try {
    const found = await client.query<{ role: boolean; database: boolean }>(
      'select exists (select 1 from pg_roles where rolname = $1) as role, exists (select 1 from pg_database where datname = $1) as database', [ROLE]);
    if (!found.rows[0]?.role) await client.query(`create role ${ROLE} login createdb password ${client.escapeLiteral(password)}`);
    if (!found.rows[0]?.database) await client.query(`create database ${ROLE} owner ${ROLE}`);
  } finally {
    await client.end();
  }
}
