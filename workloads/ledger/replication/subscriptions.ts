/**
 * One subscription per peer and direction, `origin = none`: what came from a peer is not sent on, so nothing goes in circles and each cell
 * gets each row from the cell that wrote it.
 *
 * A first subscription copies the peer's tables. So does one whose slot at the peer is gone or was given up for its length. One that was
 * stopped, or whose peer was away, goes on from its slot without a copy. Copying over rows that are there is safe: they are merged (migrations/merge.ts).
 */
import { setTimeout as delay } from 'node:timers/promises';
import { LedgerError, LedgerUnavailable, errorCode } from '../errors.ts';
import { PUBLICATION, REPLICATED, linkName, readyName } from './names.ts';
import { type Server, visit } from './server.ts';

export interface Peer {
  readonly name: string;
  /** Of the peer's database, with its role for peers. */
  readonly url: string;
}

const POLL_MS = 20;
const OLDEST = 160_000;
const READY = 'whole copy';
const DUPLICATE = '42710';
const UNDEFINED = '42704';

export async function requireVersion(server: Server): Promise<void> {
  const [row] = await server.query<{ version: string }>(`select current_setting('server_version_num') as version`);
  if (Number(row?.version) < OLDEST) throw new LedgerError('REPLICATION_SERVER', `Replication between cells needs PostgreSQL 16 or newer, this is ${row?.version}: before, \`origin = none\` is not there and rows would go in circles.`);
}

/** What peers read: publication and rights. Repeated: nothing changes. */
export async function publish(server: Server, peerRole: string): Promise<void> {
  await requireVersion(server);
  const tables = REPLICATED.join(', ');
  await server.query(`create publication ${PUBLICATION} for table ${tables} with (publish = 'insert, update, delete')`).catch(async (error: unknown) => {
    if (errorCode(error) !== DUPLICATE) throw error;
    const found = await server.query<{ tablename: string }>(`select tablename from pg_publication_tables where pubname = '${PUBLICATION}' order by tablename`);
    if (found.map((r) => r.tablename).join() !== [...REPLICATED].sort().join()) await server.query(`alter publication ${PUBLICATION} set table ${tables}`);
  });
  await server.query(`grant select on ${tables} to "${peerRole.replaceAll('"', '""')}"`);
}

export interface Incoming {
  /** `absent`: no subscription; `stopped`: disabled, as after promotion; `copying`: tables are on their way; `down`: the peer is not connected. */
  readonly state: 'absent' | 'stopped' | 'copying' | 'down' | 'streaming';
  /** Its worker waits for more. */
  readonly idle: boolean;
  readonly pid: number | undefined;
  readonly whole: boolean;
  readonly marked: boolean;
  /** Rows that could not be applied at first and were tried again. */
  readonly errors: number;
}

export async function incoming(server: Server, cell: string, peer: string): Promise<Incoming> {
  const [row] = await server.query<{ enabled: boolean; missing: string; tables: string; pid: number | null; wait: string | null; note: string | null; errors: string }>(`
    select s.subenabled as enabled, w.pid, a.wait_event as wait, obj_description(s.oid, 'pg_subscription') as note,
      (select count(*) from pg_subscription_rel r where r.srsubid = s.oid) as tables,
      (select count(*) from pg_subscription_rel r where r.srsubid = s.oid and r.srsubstate <> 'r') as missing,
      coalesce(e.apply_error_count, 0) as errors
    from pg_subscription s
    left join pg_stat_subscription w on w.subid = s.oid and w.relid is null
    left join pg_stat_activity a on a.pid = w.pid
    left join pg_stat_subscription_stats e on e.subid = s.oid
    where s.subname = $1 and s.subdbid = (select oid from pg_database where datname = current_database())`, [linkName(peer, cell)]);
  if (row === undefined) return { state: 'absent', idle: true, pid: undefined, whole: false, marked: false, errors: 0 };
  const whole = Number(row.tables) > 0 && Number(row.missing) === 0;
  const state = !row.enabled ? 'stopped' : row.pid === null ? 'down' : whole ? 'streaming' : 'copying';
  return { state, idle: row.pid === null || row.wait === 'LogicalApplyMain', pid: row.pid ?? undefined, whole, marked: row.note === READY, errors: Number(row.errors) };
}

const connection = (peer: Peer, name: string): string => {
  const url = new URL(peer.url);
  url.searchParams.set('application_name', name);
  url.searchParams.set('connect_timeout', '3');
  return url.href;
};

async function connectAs(server: Server, cell: string, peer: Peer, whole: boolean): Promise<void> {
  const name = linkName(peer.name, cell);
  await server.query(`alter subscription ${name} connection ${server.quote(connection(peer, whole ? readyName(peer.name, cell) : name))}`);
  await server.query(`comment on subscription ${name} is ${whole ? server.quote(READY) : 'null'}`);
}

/** Once the copy is whole, the subscriber says so by its name at the peer. @returns whether it is */
export async function markWhole(server: Server, cell: string, peer: Peer): Promise<boolean> {
  const { whole, marked } = await incoming(server, cell, peer.name);
  if (whole && !marked) await connectAs(server, cell, peer, true);
  return whole;
}

/**
 * Subscribes, or goes on with a subscription that is there. Repeated: nothing changes.
 * @returns `created` and `recopied`: the peer's tables are being copied; `resumed`: it goes on from where it was.
 * @throws LedgerUnavailable when either side is not reached, LedgerError REPLICATION_SERVER
 */
export async function subscribe(server: Server, cell: string, peer: Peer, { copy = true }: { copy?: boolean } = {}): Promise<'created' | 'recopied' | 'resumed'> {
  await requireVersion(server);
  const name = linkName(peer.name, cell);
  const slot = await visit(peer.url, async (there) => {
    await requireVersion(there);
    // Subscribed before it publishes, there would be no table to copy, and nobody who looks again.
    const published = await there.query('select 1 from pg_publication where pubname = $1', [PUBLICATION]);
    if (published.length === 0) throw new LedgerUnavailable(new LedgerError('REPLICATION_UNPUBLISHED', `${peer.name} does not publish yet.`));
    const [row] = await there.query<{ status: string | null }>(`select wal_status as status from pg_replication_slots where slot_name = $1 and database = current_database()`, [name]);
    return row === undefined ? 'absent' : row.status === 'lost' ? 'lost' : 'usable';
  });
  const there = await incoming(server, cell, peer.name);
  if (there.state !== 'absent' && slot === 'usable') {
    await connectAs(server, cell, peer, there.whole);
    await server.query(`alter subscription ${name} enable`);
    await server.query(`alter subscription ${name} refresh publication with (copy_data = true)`);
    return 'resumed';
  }
  if (there.state !== 'absent') await abandon(server, cell, peer.name);
  // In a transaction of its own: made by CREATE SUBSCRIPTION, the slot would wait for the peer's open transactions, and two cells that subscribe to each other at once, for each other.
  await visit(peer.url, async (at) => {
    if (slot === 'lost') await dropSlot(at, name);
    if (slot !== 'usable') await at.query('select pg_create_logical_replication_slot($1, $2)', [name, 'pgoutput']);
  });
  await server.query(`create subscription ${name} connection ${server.quote(connection(peer, name))} publication ${PUBLICATION}
    with (create_slot = false, slot_name = '${name}', copy_data = ${copy}, origin = none, streaming = off, synchronous_commit = local, disable_on_error = false)`);
  return there.state === 'absent' ? 'created' : 'recopied';
}

async function settle(what: () => Promise<boolean>, ms: number): Promise<boolean> {
  for (let waited = 0; ; waited += POLL_MS) {
    if (await what()) return true;
    if (waited >= ms) return false;
    await delay(POLL_MS);
  }
}

/** Stops applying. What the peer sends from now on stays with it, in its slot, until `subscribe`. */
export async function stop(server: Server, cell: string, peer: string, ms: number): Promise<void> {
  const { state } = await incoming(server, cell, peer);
  if (state === 'absent') return;
  await server.query(`alter subscription ${linkName(peer, cell)} disable`);
  if (!await settle(async () => (await incoming(server, cell, peer)).pid === undefined, ms)) throw new LedgerUnavailable(new Error(`the worker that applies from ${peer} does not end`));
}

/**
 * Everything that has arrived is applied, then applying stops.
 * @throws LedgerError REPLICATION_INCOMPLETE when tables of the peer were never copied whole: this is no standby. LedgerUnavailable when it does not come to rest in `ms`.
 */
export async function drain(server: Server, cell: string, peer: string, ms: number): Promise<void> {
  const found = await incoming(server, cell, peer);
  if (!found.whole) throw new LedgerError('REPLICATION_INCOMPLETE', `There is no whole copy of ${peer} here: ${found.state}.`);
  let idle = 0;
  // Seen idle twice, so that it isn't caught between a wake-up and its first row.
  if (!await settle(async () => { idle = (await incoming(server, cell, peer)).idle ? idle + 1 : 0; return idle >= 2; }, ms)) {
    throw new LedgerUnavailable(new Error(`what arrived from ${peer} is still being applied`));
  }
  await stop(server, cell, peer, ms);
}

/** Drops a subscription without its peer. */
async function abandon(server: Server, cell: string, peer: string): Promise<void> {
  const name = linkName(peer, cell);
  await stop(server, cell, peer, 10_000);
  await server.query(`alter subscription ${name} set (slot_name = none)`);
  await server.query(`drop subscription ${name}`);
}

async function dropSlot(at: Server, name: string): Promise<void> {
  // The peer notices the end of a connection a moment later than its maker.
  await settle(async () => (await at.query('select 1 from pg_replication_slots where slot_name = $1 and active', [name])).length === 0, 10_000);
  await at.query('select pg_drop_replication_slot($1)', [name]).catch((error: unknown) => { if (errorCode(error) !== UNDEFINED) throw error; });
}

/** @returns false when the peer was not reached: its slot is still there, and keeps its log. */
export async function unsubscribe(server: Server, cell: string, peer: Peer): Promise<boolean> {
  if ((await incoming(server, cell, peer.name)).state !== 'absent') await abandon(server, cell, peer.name);
  return await visit(peer.url, (at) => dropSlot(at, linkName(peer.name, cell))).then(() => true, (error: unknown) => {
    if (error instanceof LedgerUnavailable) return false;
    throw error;
  });
}

/** Here, the slot of a peer that will not come back as it was. @param own this server, with its role for peers */
export const forgetSlot = (own: string, cell: string, peer: string): Promise<void> => visit(own, (at) => dropSlot(at, linkName(cell, peer)));
