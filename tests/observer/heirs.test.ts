/** Whom a holder leaves a tenant to: what observers keep of it, and what a holder waits for. */
import { describe, expect, it } from 'vitest';
import { absorb, giveBack, held, type HolderState, IDLE, plan, type Plan } from '../../workloads/gateway/epochs-core.ts';
import { consider, dismiss, forget, heirsWanted, leaveTo, name, waitsFor } from '../../workloads/gateway/epochs-heirs.ts';
import { type Asked, MAX_STEP, observe, type Row } from '../../workloads/observer/core.ts';
import { CELLS, rulesOf } from './world.ts';

const NOW = 1_800_000_000_000;
const rules = rulesOf({ tier: () => 'sync' });
const { leaseMs, clockBoundMs } = rules;
const OVER = leaseMs + clockBoundMs;

function observer(rows = new Map<string, Row>()) {
  const request = (now: number, cell: string, more: Partial<Asked>) => {
    const { changed, answer } = observe({ name: 'gcp', rules }, rows, { cell, instance: `${cell}-1`, ask: [], release: [], look: ['t'], ...more }, now);
    // As its database has it.
    for (const [tenant, row] of changed) rows.set(tenant, JSON.parse(JSON.stringify(row)) as Row);
    return { code: answer.denied[0]?.code, heirs: answer.promises[0]?.heirs, promised: answer.promises[0]?.epoch, view: answer.views[0]?.heirs };
  };
  const ask = (now: number, cell: string, epoch: number, heirs?: Asked['ask'][number]['heirs'], instance = `${cell}-1`) => request(now, cell, { instance, ask: [{ tenant: 't', epoch, ...(heirs === undefined ? {} : { heirs }) }] });
  return { ask, request, rows };
}

describe('an observer that was told the heirs', () => {
  it('EPOCH_HEIR: promises nobody else a higher epoch, and says so', () => {
    const { ask } = observer();
    expect(ask(NOW, 'aws', 1)).toMatchObject({ promised: 1, heirs: undefined, view: undefined });
    expect(ask(NOW + 1, 'aws', 1, { n: 1, cells: ['azure'], since: 0 })).toMatchObject({ heirs: { n: 1, cells: ['azure'] }, view: ['aws', 'azure'] });
    expect(ask(NOW + 1 + OVER, 'gcp', 2).code).toBe('EPOCH_HEIR');
    expect(ask(NOW + 1 + OVER, 'azure', 2)).toMatchObject({ promised: 2, heirs: { n: 0, cells: ['azure'] } });
  });

  it('a candidate that comes to nothing changes nothing of it; one that had a lease names anew, even where it was no heir', () => {
    const { ask, request } = observer();
    ask(NOW, 'aws', 1, { n: 1, cells: ['azure'], since: 0 });
    ask(NOW + OVER, 'azure', 2);
    request(NOW + OVER + 1, 'azure', { release: [{ tenant: 't', epoch: 2 }] });
    expect(ask(NOW + OVER + 2, 'gcp', 3).code).toBe('EPOCH_HEIR');
    expect(ask(NOW + OVER + 2, 'aws', 3).promised).toBe(3);
    expect(ask(NOW + 3 * OVER, 'gcp', 4, { n: 1, cells: ['aws'], since: 0 })).toMatchObject({ promised: 4, heirs: { n: 1, cells: ['aws'] } });
    expect(ask(NOW + 5 * OVER, 'azure', 5).code).toBe('EPOCH_HEIR');
  });

  it('a naming that comes late changes nothing; a renewal without one keeps it', () => {
    const { ask } = observer();
    ask(NOW, 'aws', 1, { n: 2, cells: ['gcp'], since: 0 });
    expect(ask(NOW + 1, 'aws', 1, { n: 1, cells: ['azure'], since: 0 }).heirs).toEqual({ n: 2, cells: ['gcp'] });
    expect(ask(NOW + 2, 'aws', 1).heirs).toEqual({ n: 2, cells: ['gcp'] });
  });

  it('two processes of a cell leave the tenant to whom both named, also when one has ended, until the other has looked again since', () => {
    const { ask } = observer();
    ask(NOW, 'aws', 1, { n: 1, cells: ['azure'], since: 0 });
    expect(ask(NOW + 1, 'aws', 1, undefined, 'aws-2').heirs).toEqual({ n: 0, cells: ['azure'] });
    expect(ask(NOW + 2, 'aws', 1, { n: 1, cells: ['gcp'], since: (NOW + 1) / 1000 }, 'aws-2').heirs).toEqual({ n: 1, cells: [] });
    // The first has ended: what it acknowledged only azure is known to have.
    for (const since of [0, (NOW + leaseMs) / 1000]) expect(ask(NOW + OVER, 'aws', 1, { n: 2, cells: ['gcp'], since }, 'aws-2').heirs).toEqual({ n: 2, cells: [] });
    expect(ask(NOW + OVER + 1, 'aws', 1, { n: 3, cells: ['gcp'], since: (NOW + leaseMs + 1) / 1000 }, 'aws-2').heirs).toEqual({ n: 3, cells: ['gcp'] });
    expect(ask(NOW + 3 * OVER, 'azure', 2).code).toBe('EPOCH_HEIR');
    expect(ask(NOW + 3 * OVER, 'gcp', 2).promised).toBe(2);
  });

  it('keeps no more of processes that ended than what they named', () => {
    const { ask, rows } = observer();
    for (let i = 0; i < 40; i++) ask(NOW + i * OVER, 'aws', 1, { n: 1, cells: [i % 2 === 0 ? 'azure' : 'gcp'], since: 0 }, `aws-${i}`);
    expect(Object.keys(rows.get('t')?.named?.by ?? {}).length).toBeLessThanOrEqual(4);
    expect(ask(NOW + 60 * OVER, 'gcp', 2).code).toBe('EPOCH_HEIR');
  });

  it('with a release, whom the last jobs have reached', () => {
    const { ask, request } = observer();
    ask(NOW, 'aws', 1, { n: 1, cells: ['azure'], since: 0 });
    request(NOW + 1, 'aws', { release: [{ tenant: 't', epoch: 1, to: 'gcp', heirs: { n: 2, cells: ['gcp'] } }] });
    expect(ask(NOW + 2, 'azure', 2).code).toBe('EPOCH_HEIR');
    expect(ask(NOW + 2, 'gcp', 2).promised).toBe(2);
  });

  it('EPOCH_STEP: one request cannot use up the numbers, however often it asks', () => {
    const { ask, request } = observer();
    expect(ask(NOW, 'aws', 5).promised).toBe(5);
    expect(ask(NOW, 'aws', 5 + MAX_STEP + 1).code).toBe('EPOCH_STEP');
    const { view } = request(NOW, 'aws', { ask: [1, 2, 3].map((n) => ({ tenant: 't', epoch: 5 + n * MAX_STEP })) });
    expect(view).toBeUndefined();
    expect(ask(NOW, 'aws', 5 + 2 * MAX_STEP).promised).toBe(5 + 2 * MAX_STEP);
    expect(ask(NOW, 'aws', 5 + MAX_STEP).code).toBe('EPOCH_LOW');
  });
});

describe('a holder', () => {
  const config = { cell: 'aws', instance: 'i', rules };
  const take = (state: HolderState, observers: readonly string[], { ask }: Plan, now: number, n?: number): HolderState => observers.reduce((sum, one) => {
    const mine = ask.find(({ observer: to }) => to === one);
    if (mine === undefined) return sum;
    const { epoch, heirs } = mine;
    const told = heirs ?? (n === undefined ? undefined : { n, cells: [] });
    return absorb(config, sum, 't', one, { promise: { promise: { tenant: 't', cell: 'aws', epoch, instance: 'i', observer: one, iat: now / 1000, exp: (now + leaseMs) / 1000, ...(told === undefined ? {} : { heirs: { n: told.n, cells: told.cells } }) }, jws: '' } }, now);
  }, state);
  const holding = (): HolderState => {
    let state = plan(config, IDLE, 't', NOW).state;
    for (const one of CELLS) state = absorb(config, state, 't', one, { view: { tenant: 't', epoch: 0, leftMs: 0, released: false } }, NOW);
    const next = plan(config, state, 't', NOW);
    expect(next.plan.ask.every(({ heirs }) => heirs === undefined)).toBe(true);
    return take(next.state, CELLS, next.plan, NOW);
  };
  const told = (state: HolderState, observers: readonly string[], now = NOW): HolderState => {
    const next = plan(config, state, 't', now);
    return take(next.state, observers, next.plan, now);
  };

  it('acknowledges nothing before a majority knows its first naming', () => {
    const state = holding();
    expect(held(config, state, 't', NOW).epoch).toBe(1);
    expect(waitsFor(config, state, 't', NOW)).toBeUndefined();
    const named = name(state, [], state);
    expect(waitsFor(config, told(named, ['aws']), 't', NOW)).toBeUndefined();
    expect(waitsFor(config, told(named, ['aws', 'gcp']), 't', NOW)).toEqual([]);
    // And no longer than their promises.
    expect(waitsFor(config, told(named, ['aws', 'gcp']), 't', NOW + leaseMs)).toBeUndefined();
  });

  it('waits for the new heir from before the look until long after, and for the old one until a majority knows the new', () => {
    const first = told(((state) => name(state, ['azure'], state))(holding()), CELLS);
    const looking = consider(first, ['gcp']);
    expect(waitsFor(config, looking, 't', NOW)).toEqual(['azure', 'gcp']);
    expect(waitsFor(config, dismiss(looking), 't', NOW)).toEqual(['azure']);
    const named = name(looking, ['gcp'], looking);
    expect(waitsFor(config, named, 't', NOW)).toEqual(['azure', 'gcp']);
    expect(waitsFor(config, told(named, ['gcp']), 't', NOW)).toEqual(['azure', 'gcp']);
    const known = forget(config, told(named, ['gcp', 'azure']), 't', NOW);
    expect([waitsFor(config, known, 't', NOW), known.namings.map(({ n }) => n)]).toEqual([['gcp'], [2]]);
    expect(plan(config, told(named, ['gcp', 'azure']), 't', NOW + leaseMs).plan.ask.map(({ heirs }) => heirs?.n)).not.toContain(1);
  });

  it('names nobody by a look that began before it lost the epoch', () => {
    const looking = consider(holding(), ['azure']);
    const lost = absorb(config, { ...looking, promises: [] }, 't', 'gcp', { denied: { tenant: 't', epoch: 2, cell: 'azure', leftMs: 9, released: false } }, NOW);
    expect(name({ ...lost, epoch: 3 }, ['azure'], looking).namings).toEqual([]);
  });

  it('does not ask while the observers would not let it, and asks when they would', () => {
    const views = (heirs: readonly string[]) => CELLS.reduce((state, one) => absorb(config, state, 't', one, { view: { tenant: 't', epoch: 4, cell: 'gcp', leftMs: 0, released: false, heirs: [...heirs] } }, NOW), plan(config, IDLE, 't', NOW).state);
    const asks = (state: HolderState) => [0, 100, 200].flatMap((ms) => plan(config, { ...state, freeSince: state.freeSince ?? NOW }, 't', NOW + ms).plan.ask);
    expect(asks(views(['gcp', 'azure']))).toEqual([]);
    expect(asks(views(['gcp', 'aws']))).not.toEqual([]);
  });

  it('whom the owner has go on is let, leaves the tenant to nobody, and acknowledges with one observer', () => {
    const grant = { deployment: 'test', tenant: 't', cell: 'aws', epoch: 1_001, iat: NOW / 1000, exp: NOW / 1000 + 600 };
    const state = absorb(config, plan(config, { ...IDLE, grant }, 't', NOW).state, 't', 'aws', { view: { tenant: 't', epoch: 1, cell: 'gcp', leftMs: 0, released: false, heirs: ['gcp', 'azure'] } }, NOW);
    const free = { ...state, views: { ...state.views, aws: { view: { tenant: 't', epoch: 1, leftMs: 0, released: false }, at: NOW } } };
    const next = plan(config, free, 't', NOW);
    expect(next.plan.ask.map(({ heirs }) => heirs?.cells)).toEqual([[], [], []]);
    expect(waitsFor(config, take(next.state, ['aws'], next.plan, NOW), 't', NOW)).toEqual([]);
  });

  it('gives back with those that have everything, in a naming of its own', () => {
    const state = told(((one) => name(one, ['azure'], one))(holding()), CELLS);
    const back = giveBack(config, state, 't', 'gcp', NOW);
    expect(leaveTo(back.plan, back.state, ['gcp']).release.map(({ heirs }) => heirs)).toEqual(CELLS.map(() => ({ n: 2, cells: ['gcp'] })));
    expect(back.state.lastNaming).toBe(2);
  });

  it('wants the first that copies, keeps one that does, looks again where another process stands in the way; of tier async, everybody', () => {
    const sync = { sync: true, others: ['azure', 'gcp'] };
    const state = holding();
    expect(heirsWanted(state, { ...sync, copies: () => true }, NOW)).toEqual(['azure']);
    expect(heirsWanted(state, { ...sync, copies: (cell) => cell === 'gcp' }, NOW)).toEqual(['gcp']);
    expect(heirsWanted(state, { ...sync, copies: () => false }, NOW)).toEqual([]);
    const named = told(name(state, ['gcp'], state), CELLS);
    expect(heirsWanted(named, { ...sync, copies: () => true }, NOW)).toBeUndefined();
    expect(heirsWanted(named, { ...sync, copies: () => false }, NOW)).toBeUndefined();
    expect(heirsWanted(named, { ...sync, copies: (cell) => cell === 'azure' }, NOW)).toEqual(['azure']);
    const hindered = { ...named, promises: named.promises.map((one) => ({ ...one, promise: { ...one.promise, heirs: { n: 1, cells: [] } } })) };
    expect(heirsWanted(hindered, { ...sync, copies: () => true }, NOW)).toEqual(['gcp']);
    const async = { sync: false, others: ['azure', 'gcp'], copies: () => true };
    expect(heirsWanted(state, async, NOW)).toBeUndefined();
    expect(heirsWanted(named, async, NOW)).toEqual(['azure', 'gcp']);
    const open = told(name(named, ['azure', 'gcp'], named, true), CELLS);
    expect(heirsWanted(open, async, NOW)).toBeUndefined();
    // Of tier sync again: nobody ever looked at those.
    expect(heirsWanted(open, { ...sync, copies: () => true }, NOW)).toEqual(['azure']);
  });
});
