/**
 * Collateral for a running verifier: what each piece of evidence needs is looked for in memory, in the cache on disk, at its vendor, in this order, and what was ever
 * needed is kept current in the background. A verifier waits for a while and no longer: an outage is a refusal (COLLATERAL_UNAVAILABLE), never a hanging request,
 * and what comes later is there for the next one. Node only.
 */
import type { Evidence } from '../evidence.ts';
import type { GceTrust } from '../hardware/gce/trust.ts';
import type { Reason } from '../refusal.ts';
import { CollateralCache } from './cache.ts';
import { type CollateralItem, collateralOf, type CollateralSupply, type Supplied } from './collateral.ts';
import { collateralPath } from './content.ts';
import { createFetcher, type FetcherOptions, type Wanted } from './fetch.ts';
import { wantedForEvidence } from './wanted.ts';

export interface SupplyOptions extends FetcherOptions {
  /** How long a verification waits for vendors. */
  readonly patienceMs?: number;
  /** How long an item is used without looking at the disk. */
  readonly memoryMs?: number;
  readonly onError?: (error: unknown) => void;
}

export interface Supply {
  readonly collect: CollateralSupply;
  /** Looks again for all that was needed, here or before a restart; what is not due is not asked for. */
  refresh(): Promise<void>;
  /** Refreshes now and then until the returned function is called. */
  keepCurrent(): () => void;
}

/** A CA names the next one: so many times. */
const ROUNDS = 4;
const REMEMBERED = 512;
const REFRESH_MS = 10 * 60_000;
const nameOf = ({ kind, key }: Wanted): string => `${kind} ${key}`;

export function createSupply(options: SupplyOptions): Supply {
  const { now, patienceMs = 3_000, memoryMs = 30_000, onError = () => {} } = options;
  const fetcher = createFetcher(options);
  const cache = new CollateralCache(options.folder);
  /** By name, the latest last. */
  const needed = new Map<string, Wanted>();
  const memory = new Map<string, { readonly item: CollateralItem; readonly at: number }>();

  function remember(wanted: Wanted): void {
    needed.delete(nameOf(wanted));
    needed.set(nameOf(wanted), wanted);
    if (needed.size <= REMEMBERED) return;
    const [oldest] = needed.keys();
    needed.delete(oldest as string);
    memory.delete(oldest as string);
  }

  async function look(wanted: readonly Wanted[]): Promise<Supplied> {
    const young = wanted.flatMap((w) => memory.get(nameOf(w)) ?? []).filter(({ at }) => Math.abs(now() - at) < memoryMs).map(({ item }) => item);
    const others = wanted.filter((w) => !young.some((i) => nameOf(i) === nameOf(w)));
    if (others.length === 0) return { items: young, reasons: [] };
    const { items, reasons } = await fetcher.collect(others);
    for (const item of items) memory.set(nameOf(item), { item, at: now() });
    return { items: [...young, ...items], reasons };
  }

  async function collectAll(evidence: Evidence, gce: GceTrust | undefined, progress: { items: CollateralItem[]; reasons: Reason[]; open: Wanted[] }): Promise<void> {
    const asked = new Set<string>();
    for (let round = 0; round < ROUNDS; round++) {
      progress.open = wantedForEvidence(evidence, collateralOf(progress.items), gce).filter((w) => !asked.has(nameOf(w)));
      if (progress.open.length === 0) return;
      for (const wanted of progress.open) {
        asked.add(nameOf(wanted));
        remember(wanted);
      }
      const { items, reasons } = await look(progress.open);
      progress.items.push(...items);
      progress.reasons.push(...reasons);
    }
    progress.open = [];
  }

  async function refresh(): Promise<void> {
    if (needed.size === 0) for (const { kind, key } of await cache.all(Math.floor(now() / 1000))) remember({ kind, key });
    memory.clear();
    await look([...needed.values()]);
  }

  return {
    refresh,
    async collect(evidence, gce) {
      const progress: { items: CollateralItem[]; reasons: Reason[]; open: Wanted[] } = { items: [], reasons: [], open: [] };
      const work = collectAll(evidence, gce, progress);
      if (await within(work, patienceMs)) return { items: progress.items, reasons: progress.reasons };
      work.catch(onError);
      const late = progress.open.map(({ kind, key }): Reason => ({ code: 'COLLATERAL_UNAVAILABLE', path: collateralPath(kind, key), have: `no answer within ${patienceMs} ms`, next: 'Try again shortly: it is being asked for.' }));
      return { items: [...progress.items], reasons: [...progress.reasons, ...late] };
    },
    keepCurrent() {
      const run = (): void => { refresh().catch(onError); };
      const timer = setInterval(run, REFRESH_MS).unref();
      run();
      return () => clearInterval(timer);
    },
  };
}

/** Whether it ended in time; its failure is the caller's. */
async function within(work: Promise<unknown>, ms: number): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<false>((resolve) => { timer = setTimeout(() => resolve(false), ms); });
  try {
    return await Promise.race([work.then(() => true), late]);
  } finally {
    clearTimeout(timer);
  }
}
