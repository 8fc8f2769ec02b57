import { describe, expect, it } from 'vitest';
import { Standbys } from '../../workloads/gateway/standby.ts';
import type { PeerState, ReplicationState } from '../../workloads/ledger/replication.ts';

const state = (streaming: Readonly<Record<string, PeerState['state']>>): ReplicationState => ({
  peers: Object.entries(streaming).map(([peer, one]) => ({ peer, state: one, lagBytes: 0, lagSeconds: 0, synced: true, incoming: { state: 'streaming', whole: true, errors: 0, heardAt: undefined } })),
  degraded: undefined, conflicts: 0, alarms: [],
});
const of = (streaming: Readonly<Record<string, PeerState['state']>>, others: readonly string[]) => new Standbys({ state: async () => state(streaming) }).of(others);

describe('the standby of a tenant', () => {
  it('is the first of the order that copies now', async () => {
    expect(await of({ b: 'streaming', c: 'streaming' }, ['b', 'c'])).toBe('b');
    expect(await of({ b: 'down', c: 'streaming' }, ['b', 'c'])).toBe('c');
    expect(await of({ b: 'copying', c: 'streaming' }, ['b', 'c'])).toBe('c');
  });
  it('is never a cell that the order does not name', async () => {
    expect(await of({ b: 'down', c: 'down', d: 'streaming' }, ['b', 'c'])).toBe('b');
  });
  it('is the first where none copies, where there is one only, where nothing is known: nobody does without', async () => {
    expect(await of({ b: 'lost', c: 'absent' }, ['b', 'c'])).toBe('b');
    expect(await of({ b: 'down' }, ['b'])).toBe('b');
    expect(await of({}, [])).toBeUndefined();
    expect(await new Standbys(undefined).of(['b', 'c'])).toBe('b');
    expect(await new Standbys({ state: async () => { throw new Error('no database'); } }).of(['b', 'c'])).toBe('b');
  });
  it('is looked up once for all requests of a moment', async () => {
    let looks = 0;
    const standbys = new Standbys({ state: async () => { looks += 1; return state({ b: 'down', c: 'streaming' }); } });
    expect(await Promise.all([standbys.of(['b', 'c']), standbys.of(['b', 'c']), standbys.of(['c', 'b'])])).toEqual(['c', 'c', 'c']);
    expect(looks).toBe(1);
  });
});
