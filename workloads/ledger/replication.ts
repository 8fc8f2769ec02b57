/**
 * Replication of the ledger between cells, by PostgreSQL's logical replication. Each cell publishes all it replicates and subscribes to each peer;
 * what two cells wrote about one thing is merged by rank (migrations/merge.ts), so no row ever stops a subscription.
 *
 * | phase | call |
 * |---|---|
 * | set-up, and after every restart | `prepare()`, then `subscribe()` for each peer, then `requireStandbys()` |
 * | every second or so | `beat()` |
 * | failing over to this cell | `promote(peer)`: what has arrived is applied, then nothing more of the peer is, until |
 * | failing back | `subscribe(peer)`: goes on where it was; what the peer had not sent before comes now, and of a lower epoch changes nothing |
 * | a peer that is gone for good | `forget(peer)`; its successor starts with an empty database and `subscribe()` on both sides copies |
 * | a standby that is gone | `degrade(why)`: jobs of tier sync are acknowledged without it, with an alarm, until `restore()` |
 */
import { appendAudit } from './audit.ts';
import { type Context, openKysely, openPool, transact } from './database.ts';
import { LedgerError, LedgerUnavailable } from './errors.ts';
import type { Tier } from './ledger.ts';
import { tenantsWhole } from './replication/complete.ts';
import { type Debts, openDebts } from './replication/debts.ts';
import { beat, conflicts, heardAt, outgoing } from './replication/lag.ts';
import { openServer, visit } from './replication/server.ts';
import { nameStandbys, openStandby } from './replication/standby.ts';
import { type Incoming, type Peer, drain, forgetSlot, incoming, markWhole, publish, subscribe, unsubscribe } from './replication/subscriptions.ts';
import type { Clock } from '../protocol/clock.ts';

export type { Peer };

export interface LagBound {
  readonly bytes: number;
  readonly seconds: number;
  /** What happens beyond it: jobs are refused until the peer has caught up, or only an alarm is raised. */
  readonly beyond: 'refuse' | 'alarm';
}

export interface ReplicationOptions {
  /** Of this cell's ledger. */
  readonly url: string;
  /** The same database, with the role that peers use. */
  readonly peerUrl: string;
  readonly cell: string;
  readonly peers: readonly Peer[];
  /** Peers that jobs of tier `sync` wait for. */
  readonly standbys?: readonly string[];
  /** How long a job waits for them, milliseconds. Default 2,000: twice this must be less than what the gateway gives the ledger. */
  readonly patienceMs?: number;
  /** For jobs of tier `async`, and of `sync` while degraded. */
  readonly lag?: LagBound;
  readonly now: Clock;
}

export type Alarm = 'SYNC_DEGRADED' | 'STANDBY_DOWN' | 'PEER_DOWN' | 'PEER_LOST' | 'LAG' | 'CONFLICTS';

export interface PeerState {
  readonly peer: string;
  /** Of what goes there; see `Outgoing`. */
  readonly state: 'absent' | 'down' | 'copying' | 'streaming' | 'lost';
  readonly lagBytes: number | undefined;
  readonly lagSeconds: number | undefined;
  /** It has all that was committed here, as far as can be known now. */
  readonly synced: boolean;
  readonly incoming: Omit<Incoming, 'pid' | 'idle' | 'marked'> & { /** Epoch ms by the peer's clock: all it committed before is here. */ readonly heardAt: number | undefined };
}

export interface ReplicationState {
  readonly peers: readonly PeerState[];
  /** Since when, epoch ms, and why jobs of tier sync are acknowledged without a standby. */
  readonly degraded: { readonly at: number; readonly reason: string } | undefined;
  /** Rows of which two different ones exist where there can only be one. */
  readonly conflicts: number;
  readonly alarms: readonly Alarm[];
}

export interface Replication {
  /** Publication and rights on this side. The ledger must be open: it makes the tables. @throws LedgerError REPLICATION_SERVER */
  prepare(): Promise<void>;
  subscribe(peer: string, options?: { copy?: boolean }): Promise<'created' | 'recopied' | 'resumed'>;
  /** false: the peer was not reached, so its slot for us remains there. */
  unsubscribe(peer: string): Promise<boolean>;
  /** Whether the copy of a peer is whole; tells the peer so. */
  whole(peer: string): Promise<boolean>;
  /** Ends applying from a peer, in at most `ms`. `heardAt`: what it committed after that, by its clock, may be missing. @throws LedgerError REPLICATION_INCOMPLETE, LedgerUnavailable */
  promote(peer: string, ms?: number): Promise<{ heardAt: number | undefined }>;
  /** Gives up what is kept here for a peer. It comes back only by a copy. */
  forget(peer: string): Promise<void>;
  /** The server itself waits for these, so that waiting is not polling. false: it takes no such setting from this role, and waiting is polling. */
  requireStandbys(): Promise<boolean>;
  degrade(reason: string): Promise<void>;
  /** @throws LedgerUnavailable while the standbys don't confirm */
  restore(): Promise<void>;
  beat(): Promise<void>;
  state(): Promise<ReplicationState>;
  /** Whether every peer's beats of the last `ms` are here: what no job here names is then of no job there either. By the peers' clocks. */
  heardAll(ms: number): Promise<boolean>;
  /** Whether jobs of tier sync are acknowledged without this standby now; without a name: without some. */
  isDegraded(standby?: string): Promise<boolean>;
  /** Of these tenants, those of which a peer has every job that is here when this is called. @throws LedgerUnavailable */
  holds(peer: string, tenants: readonly string[]): Promise<string[]>;
  /** Ciphertext that peers lack. */
  readonly debts: Debts;
  /** Before a job is accepted. @throws LedgerError REPLICATION_LAG beyond the bound, if it refuses */
  admit(tier: Tier): Promise<void>;
  /** After a job of tier `sync` was accepted, or was found: the standby has it, or all of them. @throws LedgerUnavailable */
  reached(standby?: string | readonly string[]): Promise<void>;
  close(): Promise<void>;
}

/** How the reason begins where the operator's policy, not the operator, does without standbys: then only without those that do not copy. */
export const BY_POLICY = 'by policy: ';

const PATIENCE_MS = 2_000;
const PROMOTE_MS = 3_000;
/** A look at the lag is good for so long. */
const LOOK_MS = 500;

export function openReplication({ url, peerUrl, cell, peers, standbys = [], patienceMs = PATIENCE_MS, lag, now }: ReplicationOptions): Replication {
  const server = openServer(url);
  const db = openKysely(openPool(url, 1, 10_000, true));
  const context: Context = { db, now, cell, maxAttempts: 1 };
  const standby = openStandby({ url, server, cell, peers: standbys, patienceMs });
  const peerOf = (name: string): Peer => {
    const found = peers.find((peer) => peer.name === name);
    if (found === undefined) throw new LedgerError('REPLICATION_PEER', `${name} is no peer of ${cell}.`);
    return found;
  };
  for (const name of standbys) peerOf(name);

  const degraded = async (): Promise<ReplicationState['degraded']> => {
    const [row] = await server.query<{ degraded_at: string | null; reason: string | null }>('select degraded_at, reason from replication_modes where cell = $1', [cell]);
    return row?.degraded_at == null ? undefined : { at: Number(row.degraded_at), reason: row.reason ?? '' };
  };
  const setMode = (at: number | null, reason: string | null): Promise<void> => transact(db, async (tx) => {
    await tx.insertInto('replication_modes').values({ cell, degraded_at: at, reason }).onConflict((c) => c.column('cell').doUpdateSet({ degraded_at: at, reason })).execute();
    await appendAudit(tx, context, [{ kind: at === null ? 'sync-restored' : 'sync-degraded', body: { cell, ...(reason === null ? {} : { reason }) } }]);
  });
  const beyond = ({ lagBytes, lagSeconds }: Pick<PeerState, 'lagBytes' | 'lagSeconds'>): boolean =>
    lag !== undefined && (lagBytes === undefined || lagSeconds === undefined || lagBytes > lag.bytes || lagSeconds > lag.seconds);

  const peerState = async ({ name }: Peer): Promise<PeerState> => {
    const [out, { state, whole, errors }, heard] = await Promise.all([outgoing(server, cell, name, now), incoming(server, cell, name), heardAt(server, name)]);
    return { peer: name, ...out, synced: out.state === 'streaming' && out.lagSeconds === 0, incoming: { state, whole, errors, heardAt: heard } };
  };
  let looked: { at: number; states: Promise<PeerState[]> } | undefined;
  const look = (): Promise<PeerState[]> => {
    if (looked === undefined || performance.now() - looked.at > LOOK_MS) looked = { at: performance.now(), states: Promise.all(peers.map(peerState)) };
    return looked.states;
  };
  const without = async (name?: string): Promise<boolean> => {
    const mode = await degraded();
    if (mode === undefined || name === undefined || !mode.reason.startsWith(BY_POLICY)) return mode !== undefined;
    return !(await look()).some(({ peer, state }) => peer === name && state === 'streaming');
  };

  return {
    async prepare() {
      await publish(server, decodeURIComponent(new URL(peerUrl).username));
    },
    subscribe: async (peer, options) => subscribe(server, cell, peerOf(peer), options),
    unsubscribe: async (peer) => unsubscribe(server, cell, peerOf(peer)),
    whole: async (peer) => markWhole(server, cell, peerOf(peer)),
    async promote(peer, ms = PROMOTE_MS) {
      await drain(server, cell, peerOf(peer).name, ms);
      return { heardAt: await heardAt(server, peer) };
    },
    forget: async (peer) => {
      await forgetSlot(peerUrl, cell, peerOf(peer).name);
      await server.query('delete from beats where cell = $1', [peer]);
    },
    requireStandbys: () => nameStandbys(server, cell, standbys),
    degrade: (reason) => setMode(now(), reason),
    async restore() {
      if (await degraded() === undefined) return;
      await standby.reached();
      await setMode(null, null);
    },
    async beat() {
      await beat(server, cell, now);
      for (const peer of peers) await markWhole(server, cell, peer);
    },
    async state() {
      const [states, mode, split] = await Promise.all([Promise.all(peers.map(peerState)), degraded(), conflicts(server)]);
      const alarms: Alarm[] = [];
      if (mode !== undefined) alarms.push('SYNC_DEGRADED');
      if (states.some((s) => standbys.includes(s.peer) && s.state !== 'streaming')) alarms.push('STANDBY_DOWN');
      if (states.some((s) => s.state === 'lost')) alarms.push('PEER_LOST');
      if (states.some((s) => s.state === 'down' || s.state === 'absent')) alarms.push('PEER_DOWN');
      if (states.some(beyond)) alarms.push('LAG');
      if (split > 0) alarms.push('CONFLICTS');
      return { peers: states, degraded: mode, conflicts: split, alarms };
    },
    heardAll: async (ms) => (await Promise.all(peers.map(({ name }) => heardAt(server, name)))).every((at) => at !== undefined && now() - at <= ms),
    isDegraded: without,
    holds: (peer, tenants) => visit(peerOf(peer).url, (there) => tenantsWhole(server, there, peer, tenants)),
    debts: openDebts(server, now),
    async admit(tier) {
      if (lag?.beyond !== 'refuse' || (tier === 'sync' && await degraded() === undefined)) return;
      const worst = (await look()).find(beyond);
      if (worst !== undefined) throw new LedgerError('REPLICATION_LAG', `${worst.peer} is ${worst.lagBytes ?? 'unknown'} bytes and ${worst.lagSeconds ?? 'unknown'} s behind; at most ${lag.bytes} bytes and ${lag.seconds} s are allowed.`);
    },
    async reached(named) {
      const all = [named ?? standbys].flat();
      const skipped = await Promise.all(all.map(without));
      if (all.length === 0 ? await without() : !skipped.includes(false)) return;
      const stranger = all.find((name) => !peers.some((peer) => peer.name === name));
      if (stranger !== undefined) throw new LedgerUnavailable(new LedgerError('STANDBY_ABSENT', `The standby ${stranger} is no peer of ${cell}.`));
      await standby.reached(all.filter((_, i) => skipped[i] === false));
    },
    async close() {
      await Promise.all([standby.close(), server.close(), db.destroy()]);
    },
  };
}
