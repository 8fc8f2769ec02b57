/** One run: a seed decides everything; the auditor judges. */
import { audit, type Bounds, type Verdict } from '../drill/auditor.ts';
import type { HistoryEvent } from '../drill/history.ts';
import { randomOf } from '../fuzz/random.ts';
import { calm, plan } from './faults.ts';
import { SETTINGS, type Settings } from './settings.ts';
import { World } from './world.ts';

/** Times are the business of drills: virtual ones say nothing about a machine. That tier sync loses nothing is the business of both. */
export const BOUNDS: Bounds = { sync: { rtoSeconds: Infinity, rpoSeconds: 0 }, async: { rtoSeconds: Infinity, rpoSeconds: Infinity } };

export interface Run {
  readonly seed: number;
  readonly ok: boolean;
  /** Jobs whose client has no result at the end, though all was well again. */
  readonly stuck: number;
  readonly verdict: Verdict;
  readonly history: readonly HistoryEvent[];
  readonly virtualSeconds: number;
  readonly failovers: number;
}

const HEADS_MS = 5_000;
const LOOK_MS = 200;
/** Nothing may run on without time passing. */
const MAX_STEPS = 2_000_000;

/** The same seed and settings give the same history, line for line. */
export function simulate(seed: number, settings: Settings = SETTINGS, trace?: (text: string) => void): Run {
  const limit = Error.stackTraceLimit;
  // Refusals are most of what happens here, and where they come from is known.
  Error.stackTraceLimit = 0;
  try {
    return run(seed, settings, trace);
  } finally {
    Error.stackTraceLimit = limit;
  }
}

function run(seed: number, settings: Settings, trace: ((text: string) => void) | undefined): Run {
  const random = randomOf(seed, 0);
  const weather = { loss: random.pick([0, 0, 0.02, 0.15]), double: random.pick([0, 0, 0.1]), delayMs: random.pick([10, 40, 200]) };
  const world = new World(seed, random, settings, weather, trace);
  const began = world.now;
  const calmAt = began + plan(world) + 1_000;
  world.clockwork.at(calmAt, () => {
    world.note('calm');
    calm(world);
  });
  for (let at = HEADS_MS; at < settings.busyMs; at += HEADS_MS) world.clockwork.at(began + at, () => world.auditHeads());
  const open = (): number => world.clients.reduce((sum, client) => sum + client.open, 0);
  const end = calmAt + settings.settleMs;
  let done = false;
  const look = (): void => {
    done = open() === 0 && world.settled;
    world.clockwork.at(world.now + LOOK_MS, look);
  };
  world.clockwork.at(calmAt, look);
  for (let steps = 0; world.now < end && !done; steps += 1) {
    if (!world.clockwork.step() || steps > MAX_STEPS) throw new Error(`seed ${seed}: the simulation stands still at ${world.now - began} ms`);
  }
  world.readStores();
  const verdict = audit(world.history, BOUNDS);
  return { seed, ok: verdict.ok && open() === 0, stuck: open(), verdict, history: world.history, virtualSeconds: (world.now - began) / 1000, failovers: world.history.filter(({ kind }) => kind === 'fence').length };
}
