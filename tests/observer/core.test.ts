/** The observer's rules, one by one. */
import { describe, expect, it } from 'vitest';
import { absorb, giveBack, held, IDLE, paces, plan } from '../../workloads/gateway/epochs-core.ts';
import { type Asked, observe, type Row } from '../../workloads/observer/core.ts';
import { rulesOf } from './world.ts';

const NOW = 1_800_000_000_000;
const config = { name: 'gcp', rules: rulesOf() };
const { leaseMs, clockBoundMs } = config.rules;

function observer() {
  const rows = new Map<string, Row>();
  return (now: number, cell: string, epoch: number | undefined, more: Partial<Asked> = {}) => {
    const { changed, answer } = observe(config, rows, { cell, instance: `${cell}-1`, ask: epoch === undefined ? [] : [{ tenant: 't', epoch }], release: [], look: ['t'], ...more }, now);
    for (const [tenant, row] of changed) rows.set(tenant, row);
    return { code: answer.denied[0]?.code, promised: answer.promises[0]?.epoch, view: answer.views[0] };
  };
}

describe('an observer', () => {
  it('EPOCH_HELD until one clock bound after the last promise, then a higher epoch to another cell, EPOCH_LOW for the same or a lower one', () => {
    const ask = observer();
    expect(ask(NOW, 'aws', 5).promised).toBe(5);
    expect(ask(NOW + leaseMs + clockBoundMs - 1, 'azure', 6).code).toBe('EPOCH_HELD');
    expect(ask(NOW + leaseMs + clockBoundMs, 'azure', 5).code).toBe('EPOCH_LOW');
    expect(ask(NOW + leaseMs + clockBoundMs, 'azure', 6).promised).toBe(6);
    expect(ask(NOW + 3 * leaseMs, 'aws', 5).code).toBe('EPOCH_LOW');
    expect(ask(NOW + 3 * leaseMs, 'azure', 5).code).toBe('EPOCH_LOW');
  });

  it('renews the same epoch, and lets a cell raise its own at once', () => {
    const ask = observer();
    ask(NOW, 'aws', 5);
    expect(ask(NOW + 1_000, 'aws', 5).promised).toBe(5);
    expect(ask(NOW + 1_001, 'aws', 7).promised).toBe(7);
    // The promise of 5 that was renewed lasts as long as the one of 7.
    expect(ask(NOW + 1_001 + leaseMs + clockBoundMs - 1, 'azure', 8).code).toBe('EPOCH_HELD');
  });

  it('EPOCH_CELL: promises only to cells of the tenant\'s order', () => {
    expect(observe({ ...config, rules: rulesOf({ order: () => ['aws'] }) }, new Map(), { cell: 'gcp', instance: 'i', ask: [{ tenant: 't', epoch: 1 }], release: [], look: [] }, NOW).answer.denied[0]?.code).toBe('EPOCH_CELL');
  });

  it('EPOCH_CLOCK when its own clock went back by more than the bound', () => {
    const ask = observer();
    ask(NOW, 'aws', 5);
    expect(ask(NOW - clockBoundMs - 1, 'aws', 5).code).toBe('EPOCH_CLOCK');
    expect(ask(NOW - clockBoundMs, 'aws', 5).promised).toBe(5);
    // The longer promise counts.
    expect(ask(NOW + leaseMs + clockBoundMs - 1, 'azure', 6).code).toBe('EPOCH_HELD');
  });

  it('a release ends only what the same process was promised, and that epoch for good', () => {
    const ask = observer();
    ask(NOW, 'aws', 5);
    ask(NOW + 10, 'aws', 5, { instance: 'aws-2' });
    ask(NOW + 20, 'aws', undefined, { release: [{ tenant: 't', epoch: 5, to: 'gcp' }] });
    expect(ask(NOW + 30, 'azure', 6).code).toBe('EPOCH_HELD');
    // Of another epoch, another cell: nothing.
    ask(NOW + 30, 'aws', undefined, { instance: 'aws-2', release: [{ tenant: 't', epoch: 4 }] });
    ask(NOW + 30, 'azure', undefined, { instance: 'aws-2', release: [{ tenant: 't', epoch: 5 }] });
    expect(ask(NOW + 40, 'azure', 6).code).toBe('EPOCH_HELD');
    expect(ask(NOW + 40, 'aws', 5).code).toBe('EPOCH_LOW');
    const { view } = ask(NOW + 50, 'aws', undefined, { instance: 'aws-2', release: [{ tenant: 't', epoch: 5, to: 'azure' }] });
    expect(view).toEqual({ tenant: 't', epoch: 5, cell: 'aws', leftMs: 0, released: true, to: 'azure' });
    expect(ask(NOW + 60, 'azure', 6).promised).toBe(6);
  });

  it('EPOCH_INSTANCES: a cell\'s processes are bounded', () => {
    const ask = observer();
    for (let i = 0; i < 32; i++) expect(ask(NOW, 'aws', 5, { instance: `p${i}` }).promised).toBe(5);
    expect(ask(NOW, 'aws', 5, { instance: 'one-more' }).code).toBe('EPOCH_INSTANCES');
    expect(ask(NOW, 'aws', 5, { instance: 'p31' }).promised).toBe(5);
    expect(ask(NOW + leaseMs + clockBoundMs, 'aws', 5, { instance: 'one-more' }).promised).toBe(5);
  });
});

describe('a holder', () => {
  const cell = { cell: 'aws', instance: 'i', rules: rulesOf() };
  const promise = (observer: string, change = {}) => ({ promise: { promise: { tenant: 't', cell: 'aws', epoch: 1, instance: 'i', observer, iat: NOW / 1000, exp: (NOW + leaseMs) / 1000, ...change }, jws: '' } });
  const view = (cell_?: string, epoch = 0) => ({ view: { tenant: 't', epoch, leftMs: 0, released: false, ...(cell_ === undefined ? {} : { cell: cell_ }) } });
  const asking = () => {
    let state = plan(cell, IDLE, 't', NOW).state;
    for (const observer of ['aws', 'azure', 'gcp']) state = absorb(cell, state, 't', observer, view(), NOW);
    const next = plan(cell, state, 't', NOW);
    expect(next.plan.ask.map(({ epoch }) => epoch)).toEqual([1, 1, 1]);
    return next.state;
  };

  it('takes no promise of another process, tenant, cell, observer or epoch, none that is too long or from the future', () => {
    const good = (state = asking()) => absorb(cell, absorb(cell, state, 't', 'aws', promise('aws'), NOW), 't', 'gcp', promise('gcp'), NOW);
    expect(held(cell, good(), 't', NOW).epoch).toBe(1);
    for (const change of [{ instance: 'other' }, { tenant: 'u' }, { cell: 'gcp' }, { observer: 'azure' }, { epoch: 2 }, { exp: (NOW + leaseMs) / 1000 + 1 }, { iat: NOW / 1000 + 1, exp: NOW / 1000 + 2 }]) {
      const state = absorb(cell, absorb(cell, asking(), 't', 'aws', promise('aws'), NOW), 't', 'gcp', promise('gcp', change), NOW);
      expect(() => held(cell, state, 't', NOW)).toThrow(/EPOCH_QUORUM/);
    }
  });

  it('stops at the end less the bound, and says who has it', () => {
    let state = absorb(cell, absorb(cell, asking(), 't', 'aws', promise('aws'), NOW), 't', 'gcp', promise('gcp'), NOW);
    expect(held(cell, state, 't', NOW + leaseMs - clockBoundMs - 1).epoch).toBe(1);
    expect(() => held(cell, state, 't', NOW + leaseMs - clockBoundMs)).toThrow(/EPOCH_EXPIRED/);
    state = absorb(cell, state, 't', 'gcp', { denied: { tenant: 't', epoch: 2, cell: 'azure', leftMs: 3_000, released: false } }, NOW + 2 * leaseMs);
    expect(() => held(cell, state, 't', NOW + 2 * leaseMs)).toThrow(/EPOCH_FENCED.*need azure/);
  });

  it('serves nothing more once it gave back, whatever comes in late', () => {
    const back = giveBack(cell, absorb(cell, absorb(cell, asking(), 't', 'aws', promise('aws'), NOW), 't', 'gcp', promise('gcp'), NOW), 't', 'azure', NOW);
    expect(back.plan.release).toHaveLength(3);
    const late = absorb(cell, back.state, 't', 'azure', promise('azure'), NOW);
    expect(() => held(cell, absorb(cell, late, 't', 'gcp', promise('gcp'), NOW), 't', NOW)).toThrow(/EPOCH_ABSENT/);
  });

  it('names the cell whose promise lasts, where another observer promised the same epoch to a cell that came to nothing', () => {
    let state = absorb(cell, IDLE, 't', 'aws', view('azure', 2), NOW);
    state = absorb(cell, state, 't', 'gcp', { view: { ...view('gcp', 2).view, leftMs: 2_000 } }, NOW);
    expect(() => held(cell, state, 't', NOW)).toThrow(/EPOCH_FENCED.*need gcp/);
  });

  it('who has just started hears every observer, for a moment', () => {
    let state = plan(cell, IDLE, 't', NOW).state;
    for (const observer of ['aws', 'azure']) state = absorb(cell, state, 't', observer, view(), NOW);
    const next = plan(cell, state, 't', NOW);
    expect(next.plan.ask).toEqual([]);
    expect(plan(cell, next.state, 't', NOW + paces({ leaseMs }).look).plan.ask).toHaveLength(3);
  });

  it('leaves alone what the owner forced elsewhere, though a majority is free, and stops when it hears of it', () => {
    const forced = { ...view('gcp', 1_001).view, leftMs: 2_000 };
    let state = plan(cell, IDLE, 't', NOW).state;
    for (const observer of ['aws', 'azure']) state = absorb(cell, state, 't', observer, view('gcp', 1), NOW);
    expect(plan(cell, absorb(cell, state, 't', 'gcp', view('gcp', 1), NOW), 't', NOW).plan.ask).toHaveLength(3);
    state = absorb(cell, state, 't', 'gcp', { view: forced }, NOW);
    for (let at = NOW; at < NOW + 1_000; at += 100) expect(plan(cell, state, 't', at).plan.ask).toEqual([]);

    const holding = absorb(cell, absorb(cell, asking(), 't', 'aws', promise('aws'), NOW), 't', 'azure', promise('azure'), NOW);
    expect(held(cell, plan(cell, holding, 't', NOW).state, 't', NOW).epoch).toBe(1);
    const stopped = plan(cell, absorb(cell, holding, 't', 'gcp', { denied: forced }, NOW), 't', NOW);
    expect(() => held(cell, stopped.state, 't', NOW)).toThrow(/EPOCH_FENCED.*need gcp/);
    expect(stopped.plan.release).toHaveLength(3);
  });

  it('with an owner\'s grant one observer is enough, for the epoch granted', () => {
    const grant = { deployment: 'test', tenant: 't', cell: 'aws', epoch: 1_001, iat: NOW / 1000, exp: NOW / 1000 + 600 };
    let state = plan(cell, { ...IDLE, grant }, 't', NOW).state;
    state = absorb(cell, state, 't', 'aws', view('gcp', 1), NOW);
    const next = plan(cell, state, 't', NOW);
    expect(next.plan.ask.every(({ epoch }) => epoch === 1_001)).toBe(true);
    expect(held(cell, absorb(cell, next.state, 't', 'aws', promise('aws', { epoch: 1_001 }), NOW), 't', NOW).epoch).toBe(1_001);
    // Without it, one is none.
    expect(plan(cell, { ...state, grant: undefined }, 't', NOW).plan.ask).toEqual([]);
  });
});
