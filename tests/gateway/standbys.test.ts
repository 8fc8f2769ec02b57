/** The operator's policy for a lost standby. */
import { beforeEach, describe, expect, it } from 'vitest';
import type { PeerState, ReplicationState } from '../../workloads/ledger/replication.ts';
import { judgeStandbys } from '../../workloads/gateway/peers.ts';
import { createLog } from '../../workloads/protocol/log.ts';

let now: number;
let states: Record<string, PeerState['state']>;
let degraded: ReplicationState['degraded'];
let away: Map<string, number>;
let lines: string[];

const replication = {
  state: async (): Promise<ReplicationState> => ({
    peers: Object.entries(states).map(([peer, state]) => ({ peer, state, lagBytes: 0, lagSeconds: 0, synced: true, incoming: { state: 'streaming', whole: true, errors: 0, heardAt: now } })), degraded, conflicts: 0, alarms: [],
  }),
  degrade: async (reason: string) => { degraded = { at: now, reason }; },
  restore: async () => { degraded = undefined; },
};
const judge = (afterSeconds = 5) => judgeStandbys(replication, away, afterSeconds, () => now, createLog('gateway', { write: (line) => void lines.push(line) }));

beforeEach(() => {
  now = 1_000_000;
  states = { azure: 'streaming', gcp: 'streaming', other: 'down' };
  degraded = undefined;
  away = new Map([['azure', now], ['gcp', now]]);
  lines = [];
});

describe('a standby that is away', () => {
  it('is waited for until the policy\'s time, then not, with an alarm in the log', async () => {
    states['azure'] = 'down';
    now += 4_999;
    await judge();
    expect(degraded).toBeUndefined();
    now += 1;
    await judge();
    expect(degraded?.reason).toBe('by policy: azure away for 5 s');
    expect(lines.join()).toContain('sync degraded');
  });

  it('counts from when it was last seen', async () => {
    now += 60_000;
    await judge();
    states['azure'] = 'copying';
    now += 4_000;
    await judge();
    expect(degraded).toBeUndefined();
  });

  it('is waited for again only when all are back', async () => {
    states = { ...states, azure: 'down', gcp: 'down' };
    now += 5_000;
    await judge();
    states['azure'] = 'streaming';
    await judge();
    expect(degraded).toBeDefined();
    states['gcp'] = 'streaming';
    await judge();
    expect(degraded).toBeUndefined();
  });

  it('does not take back what an operator decided, nor care for a peer that is no standby', async () => {
    now += 60_000;
    degraded = { at: 1, reason: 'maintenance' };
    await judge();
    expect(degraded).toEqual({ at: 1, reason: 'maintenance' });
    degraded = undefined;
    await judge();
    expect(degraded).toBeUndefined();
  });
});
