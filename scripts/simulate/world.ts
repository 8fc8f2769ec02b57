/** All of it together: three cells, each with gateway, broker, two counters, observer and store, and a client per tenant. Writes the history as it goes. */
import type { EpochRules } from '../../workloads/protocol/epoch.ts';
import type { HistoryEvent } from '../drill/history.ts';
import type { Random } from '../fuzz/random.ts';
import { Client } from './client.ts';
import { Clockwork } from './clockwork.ts';
import { Broker, Counter } from './counter.ts';
import { Gateway } from './gateway.ts';
import { Machinery, OUTSIDE, Process, type Weather } from './machinery.ts';
import { Observer } from './observer.ts';
import { CELLS, type Settings } from './settings.ts';
import { Store } from './store.ts';

const REPLICATE_MS = 100;
const BATCH_MS = 80;

export class World {
  readonly settings: Settings;
  readonly rules: EpochRules;
  readonly clockwork = new Clockwork();
  readonly machinery: Machinery;
  readonly history: HistoryEvent[] = [];
  readonly observers: readonly Observer[];
  readonly clients: readonly Client[];
  readonly processes: readonly Process[];
  readonly mayDegrade: boolean;
  /** Milliseconds that each peer's copy lags, by `from>to`. */
  readonly lag = new Map<string, number>();
  readonly #gateways: ReadonlyMap<string, Gateway>;
  readonly #holder = new Map<string, { readonly cell: string; readonly epoch: number }>();
  readonly #seenHeld = new Set<string>();
  readonly #trace: ((text: string) => void) | undefined;
  #fences = 0;

  constructor(seed: number, random: Random, settings: Settings, weather: Weather, trace?: (text: string) => void) {
    this.settings = settings;
    this.#trace = trace;
    this.machinery = new Machinery(this.clockwork, random, weather);
    this.mayDegrade = this.machinery.chance(0.5);
    this.rules = {
      deployment: 'simulation', observers: CELLS.map((cell) => ({ cell, url: '', key: '' })), quorum: settings.quorum, leaseMs: settings.leaseMs, clockBoundMs: settings.clockBoundMs,
      order: (tenant) => settings.tenants.find((one) => one.tenant === tenant)?.order ?? [], tier: (tenant) => settings.tenants.find((one) => one.tenant === tenant)?.tier ?? 'async', cellKey: () => undefined,
    };
    const processes: Process[] = [];
    const process = (name: string, cell: string): Process => {
      const made = new Process(this.machinery, `${name} ${cell}`, cell);
      processes.push(made);
      return made;
    };
    this.observers = CELLS.map((cell) => new Observer(this, process('observer', cell)));
    this.#gateways = new Map(CELLS.map((cell) => [cell, new Gateway(this, process('gateway', cell), new Store(cell, settings.protections))]));
    for (const gateway of this.#gateways.values()) {
      const { cell } = gateway.process;
      const broker = new Broker(this, process('broker', cell), gateway);
      for (let n = 0; n < 2; n += 1) new Counter(this, process(`counter${n}`, cell), gateway, broker);
    }
    this.processes = processes;
    this.clients = settings.tenants.map((tenant) => new Client(this, new Process(this.machinery, `client ${tenant.tenant}`, OUTSIDE), tenant));

    this.event({ kind: 'run', at: this.now, scenario: 'random', seed, source: 'simulation', simulatedTees: true });
    for (const cell of CELLS) this.event({ kind: 'cell', cell, cloud: cell, region: cell });
    for (const { tenant, tier, order } of settings.tenants) this.event({ kind: 'tenant', tenant, tier, cells: [...order] });
    this.setClocks(settings.skewMs);
    for (const one of processes) one.start();
    for (const client of this.clients) client.process.start();
    for (const from of CELLS) for (const to of CELLS) if (from !== to) this.#replicate(from, to);
  }

  get now(): number {
    return this.clockwork.now;
  }

  get gateways(): readonly Gateway[] {
    return [...this.#gateways.values()];
  }

  gatewayOf(cell: string): Gateway {
    return this.#gateways.get(cell) as Gateway;
  }

  event(one: HistoryEvent): void {
    this.history.push(one);
    this.#trace?.(JSON.stringify(one));
  }

  note(text: string): void {
    this.#trace?.(`${this.now} ${text}`);
  }

  /** Every machine's clock anew, none further from another than so many milliseconds. */
  setClocks(skewMs: number): void {
    for (const process of this.processes) process.offset = this.machinery.between(0, skewMs);
  }

  holds(cell: string, tenant: string, epoch: number): void {
    const key = `${tenant} ${cell} ${epoch}`;
    if (this.#seenHeld.has(key)) return;
    this.#seenHeld.add(key);
    this.event({ kind: 'held', at: this.now, tenant, cell, epoch });
  }

  /** What this cell lacks of the tenant's jobs now, it lacks. */
  tookOver(cell: string, tenant: string, epoch: number): void {
    const before = this.#holder.get(tenant);
    if (before !== undefined && before.epoch >= epoch) return;
    this.#holder.set(tenant, { cell, epoch });
    if (before === undefined || before.cell === cell) return;
    const fence = `f${this.#fences++}`;
    this.event({ kind: 'fence', at: this.now, fence, source: before.cell, cell, tenants: [tenant] });
    this.event({ kind: 'stored', fence, tenant, jobs: [...this.gatewayOf(cell).store.jobs.values()].filter((row) => row.tenant === tenant).map(({ job }) => job) });
  }

  holderOf(tenant: string): { readonly cell: string; readonly epoch: number } | undefined {
    return this.#holder.get(tenant);
  }

  /** The standby of this cell's tenants of tier sync. */
  standbyOf(cell: string): string | undefined {
    return this.settings.tenants.find(({ tier, order }) => tier === 'sync' && (order as readonly string[]).includes(cell))?.order.find((one) => one !== cell);
  }

  #storeUp(cell: string): boolean {
    return this.gatewayOf(cell).process.up;
  }

  replicates(from: string, to: string): boolean {
    return this.#storeUp(from) && this.#storeUp(to) && this.machinery.reaches(from, to) && !this.gatewayOf(to).store.full;
  }

  /** A subscription: in order, each batch once, resumed where it was. */
  #replicate(from: string, to: string): void {
    const [source, target] = [this.gatewayOf(from).store, this.gatewayOf(to).store];
    const { clockwork, machinery } = this;
    const position = target.applied.get(from) ?? 0;
    const again = (ms: number): void => clockwork.at(this.now + ms, () => this.#replicate(from, to));
    if (!this.replicates(from, to) || position >= source.log.length) {
      again(position >= source.log.length ? machinery.between(BATCH_MS / 2, BATCH_MS) : REPLICATE_MS);
      // The peer says again what it has: its last word may have been lost.
      if (this.replicates(from, to)) source.confirmed.set(to, position);
      return;
    }
    const batch = source.log.slice(position);
    clockwork.at(this.now + machinery.between(1, machinery.weather.delayMs) + (this.lag.get(`${from}>${to}`) ?? 0), () => {
      if (this.replicates(from, to)) {
        target.apply(from, batch, position);
        const there = target.applied.get(from) ?? 0;
        clockwork.at(this.now + machinery.between(1, machinery.weather.delayMs), () => {
          if (this.replicates(from, to)) source.confirmed.set(to, Math.max(there, source.confirmed.get(to) ?? 0));
        });
      }
      again(machinery.between(5, BATCH_MS));
    });
  }

  /** Everybody has everything. */
  get settled(): boolean {
    return CELLS.every((from) => CELLS.every((to) => from === to || (this.gatewayOf(to).store.applied.get(from) ?? 0) >= this.gatewayOf(from).store.log.length));
  }

  auditHeads(): void {
    for (const { store } of this.#gateways.values()) {
      if (store.head.seq > 0) this.event({ kind: 'audit-head', at: this.now, chain: store.cell, store: store.cell, size: store.head.seq, head: store.head.hash });
    }
  }

  /** What is in the stores at the end. */
  readStores(): void {
    this.auditHeads();
    for (const { store } of this.#gateways.values()) {
      for (const row of store.jobs.values()) {
        const { tenant, job, state, epoch, writer } = row;
        this.event({ kind: 'job-row', store: store.cell, tenant, job, state, epoch, cell: writer });
      }
      for (const { tenant, job, epoch, cell, outcome, digest } of store.results.values()) {
        const row = store.jobs.get(`${tenant}/${job}`);
        this.event({ kind: 'result-row', store: store.cell, tenant, job, epoch, cell, outcome, digest, standing: row?.epoch === epoch && row.writer === cell });
      }
      for (const usage of store.usage) this.event({ kind: 'usage-row', store: store.cell, ...usage });
      for (const receipt of store.receipts.values()) this.event({ kind: 'receipt', store: store.cell, ...receipt });
      for (const entry of store.audits.values()) this.event({ kind: 'audit-entry', store: store.cell, ...entry });
    }
    this.event({ kind: 'end', at: this.now });
  }
}
