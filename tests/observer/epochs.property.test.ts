/** What epochs are for, under lost, late and doubled messages, skewed clocks, pauses and restarts. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { CALM, type Faults, rulesOf, World } from './world.ts';

const faultsOf = fc.record({
  loss: fc.constantFrom(0, 0.05, 0.4), double: fc.constantFrom(0, 0.3), delayMs: fc.constantFrom(1, 1, 30, 30, 300, 6_000),
  restart: fc.constantFrom(0, 0.002), pause: fc.constantFrom(0, 0.02), giveBack: fc.constantFrom(0, 0.01),
});

/** By the slowest clock that the bound allows, at each step. */
function run(seed: number, faults: Faults, steps: number, look: (world: World, holders: { cell: string; epoch: number }[]) => void): World {
  const world = new World(seed, rulesOf({ clockBoundMs: 750 }));
  for (let i = 0; i < steps; i++) {
    world.step(10 + ((seed + i * 37) % 90), faults);
    look(world, world.processes.flatMap((process) => {
      const lease = world.lease(process, world.time);
      return lease === undefined ? [] : [{ cell: process.config.cell, epoch: lease.epoch }];
    }));
  }
  return world;
}

describe('epochs', () => {
  it('no two cells hold a tenant at one time, and epochs never go down', () => {
    let leases = 0;
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), faultsOf, (seed, faults) => {
      let last = { cell: '', epoch: 0 };
      run(seed, faults, 300, (_, holders) => {
        expect(new Set(holders.map(({ cell }) => cell)).size).toBeLessThan(2);
        for (const holder of holders) {
          expect(holder.epoch).toBeGreaterThanOrEqual(last.epoch);
          if (holder.epoch === last.epoch) expect(holder.cell).toBe(last.cell);
          last = holder;
          leases++;
        }
      });
    }), { numRuns: 150 });
    expect(leases).toBeGreaterThan(1_000);
  });

  it('what was shown as a lease stays exclusive, whoever kept it, while nobody gives back', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), faultsOf, (seed, faults) => {
      const kept = new Map<string, number>();
      run(seed, { ...faults, giveBack: 0 }, 200, (world) => {
        for (const { cell, lease } of world.shown.splice(0)) kept.set(cell, Math.max(kept.get(cell) ?? 0, lease.until));
        // Any broker or counter of any cell, by the slowest clock there may be.
        expect([...kept].filter(([, until]) => until > world.time).length).toBeLessThan(2);
      });
    }), { numRuns: 60 });
  });

  it('when the network heals, one cell holds', () => {
    fc.assert(fc.property(fc.integer({ min: 0, max: 2 ** 31 }), faultsOf, (seed, faults) => {
      const world = run(seed, faults, 100, () => {});
      for (let i = 0; i < 600; i++) world.step(50, CALM);
      expect(world.processes.filter((process) => world.lease(process) !== undefined).length).toBe(1);
    }), { numRuns: 60 });
  });
});

describe('failover', () => {
  const settle = (world: World, ms: number) => { for (let i = 0; i < ms / 20; i++) world.step(20, CALM); };
  const holder = (world: World) => world.processes.filter((process) => world.lease(process) !== undefined).map(({ config }) => config.cell);

  it('the first of the order has it, and keeps one epoch', () => {
    const world = new World(1);
    settle(world, 1_000);
    expect(holder(world)).toEqual(['aws']);
    settle(world, 30_000);
    expect(new Set(world.shown.map(({ cell, lease }) => `${cell} ${lease.epoch}`))).toEqual(new Set(['aws 1']));
  });

  it('a cell that is cut off stops by itself, and the next one starts after it; it does not take it back', () => {
    const world = new World(2);
    settle(world, 1_000);
    world.cut.add('aws');
    settle(world, world.rules.leaseMs + 2 * world.rules.clockBoundMs + 500);
    expect(holder(world)).toEqual(['azure']);
    world.cut.clear();
    settle(world, 20_000);
    expect(holder(world)).toEqual(['azure']);
    expect(world.shown.at(-1)?.lease.epoch).toBe(2);
  });

  it('with two cells lost nothing is promoted', () => {
    const world = new World(3);
    settle(world, 1_000);
    world.cut.add('aws').add('azure');
    settle(world, 20_000);
    expect(holder(world)).toEqual([]);
  });

  it('given back for another cell, that one has it within a second', () => {
    const world = new World(4);
    settle(world, 1_000);
    world.giveBack(world.processes[0] as never, 'gcp');
    expect(holder(world)).toEqual([]);
    settle(world, 1_000);
    expect(holder(world)).toEqual(['gcp']);
    settle(world, 20_000);
    expect(holder(world)).toEqual(['gcp']);
  });

  it('a restarted process of the cell goes on in the same epoch', () => {
    const world = new World(5);
    settle(world, 1_000);
    world.step(20, { ...CALM, restart: 1 });
    settle(world, 2_000);
    expect(holder(world)).toEqual(['aws']);
    expect(world.shown.at(-1)?.lease.epoch).toBe(1);
  });
});
