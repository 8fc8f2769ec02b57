/**
 * The other cells, as this cell's operator names them in `peers.json`: where their databases and gateways are, which of them jobs of tier sync wait
 * for, and how far the others may lag. No such file: a cell by itself, and no job of tier sync is accepted.
 */
import { z } from 'zod';
import type { Blobs } from '../ledger/blobs.ts';
import { BY_POLICY, type Replication, openReplication } from '../ledger/replication.ts';
import { type ReplicatedBlobs, replicateBlobs } from '../ledger/replicated-blobs.ts';
import type { Clock } from '../protocol/clock.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import { cellName } from '../protocol/wire.ts';
import { openPeerStore } from './peer-store.ts';

const postgresUrl = z.url({ protocol: /^postgres(ql)?$/ });

/** It holds passwords: mode 0600. */
export const peersSchema = z.strictObject({
  /** This cell's database, with the role that peers use. */
  database: postgresUrl,
  /** Peers that jobs of tier sync wait for. */
  standbys: z.array(cellName).max(8),
  lag: z.strictObject({ bytes: z.number().int().min(1), seconds: z.number().min(1), beyond: z.enum(['refuse', 'alarm']) }).optional(),
  peers: z.array(z.strictObject({
    name: cellName,
    database: postgresUrl,
    /** Its internal listener. */
    gateway: z.url({ protocol: /^https?$/ }).transform((url) => url.replace(/\/$/, '')),
  })).min(1).max(8),
  /**
   * The operator's policy for a lost standby: once one has been away for so long, jobs of tier sync are acknowledged without it, with an alarm, until all are back; those that copy are
   * waited for as before. Absent: they are refused (503) for as long as it takes.
   */
  degradeAfterSeconds: z.number().min(1).max(86_400).optional(),
  /** Where observers are reached from here, by their cells, where that is not the address in the owner's directory. Whom to believe is the directory's word. */
  observers: z.record(cellName, z.url({ protocol: /^https?$/ })).optional(),
});
export type PeersConfig = z.infer<typeof peersSchema>;

const BEAT_MS = 1_000;
const PAY_MS = 5_000;
const RETRY_MS = 1_000;
const PUT_MS = 2_000;
/** Bytes without a job are swept only while every peer is heard: the job's row may be on its way. */
const HEARD_MS = 60_000;

export interface Peers {
  /** Origins of internal listeners, by cell. */
  readonly gateways: Readonly<Record<string, string>>;
  readonly replication: Replication;
  readonly blobs: ReplicatedBlobs;
  mayForget(): Promise<boolean>;
  /** Publishes, subscribes to each peer as soon as it is reached, beats. Returns its end. */
  start(): () => Promise<void>;
}

export interface PeersOptions {
  readonly config: PeersConfig;
  readonly url: string;
  readonly cell: string;
  /** This cell's key of the directory. */
  readonly key: CryptoKey;
  readonly blobs: Blobs;
  readonly maxBytes: number;
  readonly now: Clock;
  readonly log: Log;
}

export function openPeers({ config, url, cell, key, blobs: own, maxBytes, now, log }: PeersOptions): Peers {
  const { database, standbys, lag, peers, degradeAfterSeconds } = config;
  const replication = openReplication({ url, peerUrl: database, cell, peers: peers.map((p) => ({ name: p.name, url: p.database })), standbys, now, ...(lag === undefined ? {} : { lag }) });
  const blobs = replicateBlobs({
    own, debts: replication.debts, standbys, degraded: replication.isDegraded,
    peers: peers.map((p) => openPeerStore({ name: p.name, origin: p.gateway, cell, key, maxBytes, timeoutMs: PUT_MS, now })),
  });

  return {
    gateways: Object.fromEntries(peers.map((p) => [p.name, p.gateway])), replication, blobs,
    mayForget: () => replication.heardAll(HEARD_MS),
    start() {
      let stopped = false;
      const timers = new Set<NodeJS.Timeout>();
      const running = new Set<Promise<void>>();
      /** Again and again with a pause, never twice at once; `done` when it returns true. */
      const repeat = (what: string, pause: number, work: () => Promise<unknown>): void => {
        const run = (async () => {
          const done = await work().then((answer) => answer === true, (error: unknown) => { if (!stopped) log.warn('replication', { where: what, ...errorFields(error) }); return false; });
          if (done || stopped) return;
          const timer = setTimeout(() => { timers.delete(timer); repeat(what, pause, work); }, pause);
          timers.add(timer);
        })();
        running.add(run);
        void run.finally(() => running.delete(run));
      };
      repeat('publish', RETRY_MS, async () => {
        await replication.prepare();
        if (!await replication.requireStandbys()) log.info('standbys-not-named', { state: 'positions are compared instead' });
        repeat('beat', BEAT_MS, () => replication.beat());
        const awayFrom = now();
        const away = new Map(standbys.map((name) => [name, awayFrom]));
        if (degradeAfterSeconds !== undefined) repeat('degrade', BEAT_MS, () => judgeStandbys(replication, away, degradeAfterSeconds, now, log));
        repeat('ciphertext', PAY_MS, () => blobs.pay());
        // One after the other: two first copies at once would wait for each other's rows.
        repeat('subscribe', RETRY_MS, async () => {
          for (const { name } of peers) log.info('subscribed', { cell: name, state: await replication.subscribe(name) });
          return true;
        });
        return true;
      });
      return async () => {
        stopped = true;
        for (const timer of timers) clearTimeout(timer);
        await blobs.close();
        await Promise.allSettled([...running]);
        await replication.close();
      };
    },
  };
}

/** @param away since when each standby has not been seen streaming, epoch ms; kept from call to call */
export async function judgeStandbys(replication: Pick<Replication, 'state' | 'degrade' | 'restore'>, away: Map<string, number>, afterSeconds: number, now: Clock, log: Log): Promise<void> {
  const { peers, degraded } = await replication.state();
  const at = now();
  for (const { peer, state } of peers) if (away.has(peer) && state === 'streaming') away.set(peer, at);
  const missing = [...away].filter(([, since]) => since < at).map(([name]) => name);
  const lost = [...away].filter(([, since]) => at - since >= afterSeconds * 1_000).map(([name]) => name);
  if (lost.length > 0 && degraded === undefined) {
    await replication.degrade(`${BY_POLICY}${lost.join(', ')} away for ${afterSeconds} s`);
    log.error('sync degraded', { where: lost.join(',') });
  } else if (missing.length === 0 && degraded?.reason.startsWith(BY_POLICY) === true) {
    // What an operator decided, an operator takes back.
    await replication.restore();
    log.info('sync restored');
  }
}
