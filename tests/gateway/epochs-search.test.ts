/** How heirs are found: whom the rows prove to have everything, and nobody else. */
import { beforeEach, describe, expect, it } from 'vitest';
import { absorb, type HolderState, IDLE, plan } from '../../workloads/gateway/epochs-core.ts';
import { waitsFor } from '../../workloads/gateway/epochs-heirs.ts';
import { HeirSearch } from '../../workloads/gateway/epochs-search.ts';
import type { PeerState, ReplicationState } from '../../workloads/ledger/replication.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { CELLS, rulesOf } from '../observer/world.ts';

const NOW = 1_800_000_000_000;
const rules = rulesOf({ tier: (tenant) => (tenant === 'a' ? 'async' : 'sync') });
const config = { cell: 'aws', instance: 'i', rules };
let copies: Record<string, PeerState['state']>;
let whole: (peer: string, tenants: readonly string[]) => string[] | Promise<string[]>;
let asked: string[];
let states: Map<string, HolderState>;
let now: number;

function holding(tenant: string): HolderState {
  let state = plan(config, IDLE, tenant, NOW).state;
  for (const one of CELLS) state = absorb(config, state, tenant, one, { view: { tenant, epoch: 0, leftMs: 0, released: false } }, NOW);
  const next = plan(config, state, tenant, NOW);
  return CELLS.reduce((sum, observer) => absorb(config, sum, tenant, observer, { promise: { promise: { tenant, cell: 'aws', epoch: 1, instance: 'i', observer, iat: NOW / 1000, exp: NOW / 1000 + 3 }, jws: '' } }, NOW), next.state);
}
const search = () => new HeirSearch({
  cell: 'aws', states, now: () => now, log: createLog('gateway', { write: () => {} }),
  replication: {
    state: async () => ({ peers: Object.entries(copies).map(([peer, state]) => ({ peer, state })) }) as unknown as ReplicationState,
    holds: async (peer, tenants) => { asked.push(`${peer} ${tenants.join()}`); return whole(peer, tenants); },
  },
});
const turns = async (): Promise<void> => { for (let i = 0; i < 40; i++) await Promise.resolve(); };
const named = (tenant: string): (readonly string[])[] => (states.get(tenant)?.namings ?? []).map(({ cells }) => cells);

beforeEach(() => {
  copies = { azure: 'streaming', gcp: 'streaming' };
  whole = (_, tenants) => [...tenants];
  asked = [];
  now = NOW;
  states = new Map(['s', 't', 'a'].map((tenant) => [tenant, holding(tenant)]));
});

describe('the search for heirs', () => {
  it('names the first that copies and has everything, many tenants with one look; of tier async nobody', async () => {
    const finds = search();
    finds.look(config, ['s', 't', 'a']);
    await turns();
    expect(asked).toEqual(['azure s,t']);
    expect([named('s'), named('t'), named('a')]).toEqual([[['azure']], [['azure']], []]);
    finds.look(config, ['s', 't', 'a']);
    await turns();
    expect(asked).toHaveLength(1);
  });

  it('who lacks a job is not named: nobody is, until it has caught up', async () => {
    whole = () => [];
    const finds = search();
    finds.look(config, ['s']);
    await turns();
    expect([named('s'), states.get('s')?.candidates]).toEqual([[[]], []]);
    whole = (_, tenants) => [...tenants];
    finds.look(config, ['s']);
    await turns();
    expect(named('s')).toEqual([[]]);
    now += 500;
    finds.look(config, ['s']);
    await turns();
    expect(named('s')).toEqual([[], ['azure']]);
  });

  it('a copy that stands still is passed over; where none follows, nobody is named', async () => {
    copies = { azure: 'copying', gcp: 'lost' };
    search().look(config, ['t']);
    await turns();
    expect(asked).toEqual([]);
    expect(named('t')).toEqual([[]]);
    copies = { azure: 'down', gcp: 'streaming' };
    search().look(config, ['s']);
    await turns();
    expect([asked, named('s')]).toEqual([['gcp s'], [['gcp']]]);
  });

  it('jobs wait for it while it is looked at, and an epoch lost meanwhile names nobody', async () => {
    let answer: (tenants: string[]) => void = () => {};
    whole = () => new Promise((resolve) => { answer = resolve; });
    search().look(config, ['s']);
    await turns();
    expect(states.get('s')?.candidates).toEqual(['azure']);
    states.set('s', absorb(config, { ...states.get('s') as HolderState, promises: [] }, 's', 'gcp', { denied: { tenant: 's', epoch: 2, cell: 'gcp', leftMs: 9, released: false } }, NOW));
    answer(['s']);
    await turns();
    expect(named('s')).toEqual([]);
    expect(waitsFor(config, states.get('s') as HolderState, 's', NOW)).toBeUndefined();
  });

  it('a database that is not reached is no proof', async () => {
    whole = () => Promise.reject(new Error('not reached'));
    search().look(config, ['s']);
    await turns();
    expect(named('s')).toEqual([[]]);
  });

  it('before it is given back, the cell asked for has had everything of each tenant once', async () => {
    const seen = [['s'], ['s'], ['t']];
    whole = (_, tenants) => (seen.shift() ?? [...tenants]).filter((tenant) => tenants.includes(tenant));
    expect(await search().lacking(rules, ['s', 't'], 'azure')).toEqual([]);
    expect(asked).toEqual(['azure s,t', 'azure t', 'azure t']);
    expect(await search().lacking(rules, ['s'], 'elsewhere')).toEqual([]);
  });

  it('given back, whoever has everything may have it; the one asked for is waited for', async () => {
    expect(await search().complete(rules, 's', undefined)).toEqual(['azure', 'gcp']);
    whole = (peer, tenants) => (peer === 'gcp' && asked.length < 3 ? [] : [...tenants]);
    asked = [];
    expect(await search().complete(rules, 's', 'gcp')).toEqual(['azure', 'gcp']);
    expect(asked).toEqual(['azure s', 'gcp s', 'azure s', 'gcp s']);
  });
});
