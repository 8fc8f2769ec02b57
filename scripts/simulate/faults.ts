/** What goes wrong in a run, decided by its seed: each fault begins, lasts, and is undone. */
import { FORCED_STEP, signedTime } from '../../workloads/protocol/epoch.ts';
import { OUTSIDE } from './machinery.ts';
import { CELLS, type CellName } from './settings.ts';
import type { World } from './world.ts';

interface Fault {
  readonly name: string;
  /** Milliseconds that it lasts at least. */
  readonly least?: number;
  /** @returns what undoes it */
  readonly begin: (world: World, cell: CellName) => () => void;
}

const nothing = (): void => {};
const processesOf = (world: World, cell: string) => world.processes.filter((one) => one.cell === cell);

function kill(world: World, cell: CellName): () => void {
  world.event({ kind: 'hurt', at: world.now, cell, what: 'kill', failover: false });
  for (const process of processesOf(world, cell)) process.crash();
  return () => {
    for (const process of processesOf(world, cell)) process.start();
    world.event({ kind: 'healed', at: world.now, cell });
  };
}

const pause = (name: string) => (world: World, cell: CellName): (() => void) => {
  const process = processesOf(world, cell).find((one) => one.name.startsWith(name));
  if (process !== undefined) process.asleepUntil = world.now + world.machinery.between(200, 3 * world.settings.leaseMs);
  return () => { if (process !== undefined) process.asleepUntil = 0; };
};

/** @param ways which directions are cut */
const cut = (ways: (cell: CellName, other: string) => readonly string[], others: readonly string[] = CELLS) => (world: World, cell: CellName): (() => void) => {
  const links = others.filter((other) => other !== cell).flatMap((other) => ways(cell, other));
  for (const link of links) world.machinery.cut.add(link);
  return () => { for (const link of links) world.machinery.cut.delete(link); };
};

const partition = cut((cell, other) => [`${cell}>${other}`, `${other}>${cell}`]);

export const FAULTS: readonly Fault[] = [
  { name: 'kill cell', begin: kill },
  {
    name: 'restart all observers',
    begin(world) {
      for (const { process } of world.observers) {
        process.crash();
        process.start();
      }
      return nothing;
    },
  },
  {
    name: 'kill process',
    begin(world, cell) {
      const process = world.machinery.random.pick(processesOf(world, cell));
      world.note(`  ${process.name}`);
      process.crash();
      return () => process.start();
    },
  },
  {
    name: 'restart process',
    begin(world, cell) {
      const process = world.machinery.random.pick(processesOf(world, cell));
      world.note(`  ${process.name}`);
      process.crash();
      process.start();
      return nothing;
    },
  },
  {
    name: 'pause process',
    begin(world, cell) {
      const process = world.machinery.random.pick(processesOf(world, cell));
      process.asleepUntil = world.now + world.machinery.between(200, 3 * world.settings.leaseMs);
      world.note(`  ${process.name} until ${process.asleepUntil}`);
      return () => { process.asleepUntil = 0; };
    },
  },
  { name: 'pause gateway', begin: pause('gateway') },
  { name: 'pause broker', begin: pause('broker') },
  {
    name: 'pause cell',
    begin(world, cell) {
      const until = world.now + world.machinery.between(200, 3 * world.settings.leaseMs);
      for (const process of processesOf(world, cell)) process.asleepUntil = until;
      return () => { for (const process of processesOf(world, cell)) process.asleepUntil = 0; };
    },
  },
  { name: 'partition from the other cells', begin: partition },
  { name: 'nothing gets out to the other cells', begin: cut((cell, other) => [`${cell}>${other}`]) },
  { name: 'nothing comes in from the other cells', begin: cut((cell, other) => [`${other}>${cell}`]) },
  {
    name: 'partition from one cell',
    begin: (world, cell) => cut((a, b) => [`${a}>${b}`, `${b}>${a}`], [world.machinery.random.pick(CELLS.filter((other) => other !== cell))])(world, cell),
  },
  { name: 'clients do not reach it', begin: cut((cell, other) => [`${other}>${cell}`, `${cell}>${other}`], [OUTSIDE]) },
  {
    name: 'disk full',
    begin(world, cell) {
      world.gatewayOf(cell).store.full = true;
      return () => { world.gatewayOf(cell).store.full = false; };
    },
  },
  {
    name: 'observer disk full',
    begin(world, cell) {
      const observer = world.observers.find(({ process }) => process.cell === cell);
      if (observer !== undefined) observer.full = true;
      return () => { if (observer !== undefined) observer.full = false; };
    },
  },
  {
    name: 'replication lags',
    begin(world, cell) {
      for (const other of CELLS) world.lag.set(`${cell}>${other}`, world.machinery.between(200, 3_000));
      return () => { for (const other of CELLS) world.lag.delete(`${cell}>${other}`); };
    },
  },
  {
    name: 'clocks are set',
    begin(world) {
      world.setClocks(world.settings.setMs);
      return nothing;
    },
  },
  {
    name: 'clocks are set in a partition',
    begin(world, cell) {
      const heal = partition(world, cell);
      world.clockwork.at(world.now + world.machinery.between(100, world.settings.leaseMs / 2), () => world.setClocks(world.settings.setMs));
      return heal;
    },
  },
  {
    name: 'planned failover',
    begin(world, cell) {
      const { tenant, order } = world.machinery.random.pick(world.settings.tenants);
      const holder = world.holderOf(tenant);
      const gateway = world.gatewayOf(holder?.cell ?? cell);
      gateway.process.after(1, () => { if (gateway.epochOf(tenant) !== undefined) gateway.giveBack(tenant, world.machinery.random.pick(order)); });
      return nothing;
    },
  },
];

/**
 * Two cells die, and the owner has the third go on, by a grant for each tenant that may be there. They stay dead for a while: a grant stands in for a
 * promise, so where they come back in the moment in which it takes effect, two cells may work until one hears of the other. That is the owner's risk.
 */
export const FORCED: Fault = {
  name: 'two cells dead, failover forced',
  least: 8_000,
  begin(world, cell) {
    const others = CELLS.filter((other) => other !== cell);
    const heal = others.map((other) => kill(world, other));
    const gateway = world.gatewayOf(cell);
    gateway.process.after(world.settings.leaseMs, () => {
      if (others.some((other) => world.gatewayOf(other).process.up)) return;
      for (const { tenant, order } of world.settings.tenants) {
        if (!order.includes(cell)) continue;
        const epoch = (world.holderOf(tenant)?.epoch ?? 0) + FORCED_STEP;
        gateway.grant({ deployment: world.rules.deployment, tenant, cell, epoch, iat: signedTime(gateway.process.now), exp: signedTime(gateway.process.now + 15_000) });
      }
    });
    return () => { for (const one of heal) one(); };
  },
};

/** Puts the faults of this seed on the clock. @returns when the last is undone at the latest, milliseconds from now */
export function plan(world: World): number {
  const { machinery, clockwork, settings } = world;
  const possible = settings.faults === undefined ? FAULTS : [...FAULTS, FORCED].filter(({ name }) => settings.faults?.includes(name));
  const faults = Array.from({ length: machinery.between(1, settings.maxFaults) }, () => machinery.random.pick(possible));
  let last = settings.busyMs;
  for (const { name, begin, least = 0 } of faults) {
    const cell = machinery.random.pick(CELLS);
    const from = machinery.between(500, settings.busyMs - 5_000);
    // Most are short; some outlast several leases.
    const lasts = Math.max(least, machinery.chance(0.5) ? machinery.between(50, 2_000) : machinery.between(2_000, 15_000));
    last = Math.max(last, from + lasts);
    clockwork.at(world.now + from, () => {
      world.note(`${name}: ${cell}`);
      const undo = begin(world, cell);
      clockwork.at(world.now + lasts, () => {
        world.note(`no more: ${name}: ${cell}`);
        undo();
      });
    });
  }
  return last;
}

export function calm(world: World): void {
  const { machinery } = world;
  machinery.cut.clear();
  machinery.weather = { loss: 0, double: 0, delayMs: machinery.weather.delayMs };
  for (const process of world.processes) {
    process.asleepUntil = 0;
    process.start();
  }
  world.setClocks(world.settings.skewMs);
}
