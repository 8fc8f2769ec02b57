/** Cells and observers on a virtual network and clock: the pure cores as they are, messages lost, late and doubled by a seed. */
import { absorb, giveBack, held, type HolderConfig, type HolderState, IDLE, plan, type Plan } from '../../workloads/gateway/epochs-core.ts';
import { type Answered, type Asked, observe, type Row } from '../../workloads/observer/core.ts';
import type { EpochLease, EpochRules } from '../../workloads/protocol/epoch.ts';

/** mulberry32 */
export function random(seed: number): () => number {
  let a = seed >>> 0;
  return () => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = Math.imul(a ^ (a >>> 15), 1 | a);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
}

export const CELLS = ['aws', 'azure', 'gcp'] as const;
export const rulesOf = (options: Partial<EpochRules> = {}): EpochRules => ({
  deployment: 'test', observers: CELLS.map((cell) => ({ cell, url: `http://${cell}`, key: '' })), quorum: 2, leaseMs: 3_000, clockBoundMs: 200,
  order: () => CELLS, tier: () => 'async', cellKey: () => '', ...options,
});

interface Process { readonly config: HolderConfig; state: HolderState; until: number; readonly clock: () => number }

export interface Faults { readonly loss: number; readonly double: number; readonly delayMs: number; readonly restart: number; readonly pause: number; readonly giveBack: number }
export const CALM: Faults = { loss: 0, double: 0, delayMs: 20, restart: 0, pause: 0, giveBack: 0 };

export class World {
  readonly rules: EpochRules;
  readonly tenant = 'tenant';
  readonly processes: Process[] = [];
  /** As an observer's database has them: text. */
  readonly stored: Record<string, string | undefined> = {};
  readonly #random: () => number;
  readonly #offsets: Record<string, number> = {};
  #messages: { readonly at: number; readonly deliver: () => void }[] = [];
  #instances = 0;
  time = 1_800_000_000_000;
  /** Observers and cells that nobody reaches. */
  readonly cut = new Set<string>();
  /** Everything that was shown to a broker or counter as a lease, by cell. */
  readonly shown: { readonly cell: string; readonly lease: EpochLease }[] = [];

  constructor(seed: number, rules = rulesOf()) {
    this.rules = rules;
    this.#random = random(seed);
    for (const cell of CELLS) {
      for (const who of [`observer ${cell}`, `gateway ${cell}`]) this.#offsets[who] = this.#random() * rules.clockBoundMs;
      this.processes.push(this.#start(cell));
    }
  }

  #start(cell: string): Process {
    return { config: { cell, instance: `${cell}-${this.#instances++}`, rules: this.rules }, state: IDLE, until: 0, clock: () => this.time + (this.#offsets[`gateway ${cell}`] as number) };
  }

  /** The lease by this process's own clock. */
  lease(process: Process, now = process.clock()): EpochLease | undefined {
    try {
      return held(process.config, process.state, this.tenant, now);
    } catch {
      return undefined;
    }
  }

  step(byMs: number, faults: Faults): void {
    this.time += byMs;
    const due = this.#messages.filter(({ at }) => at <= this.time).sort((a, b) => a.at - b.at);
    this.#messages = this.#messages.filter(({ at }) => at > this.time);
    for (const { deliver } of due) deliver();
    for (const [index, process] of this.processes.entries()) {
      if (this.#random() < faults.restart) { this.processes[index] = this.#start(process.config.cell); continue; }
      if (this.#random() < faults.pause) process.until = this.time + this.#random() * 3 * this.rules.leaseMs;
      if (process.until > this.time) continue;
      const now = process.clock();
      const next = plan(process.config, process.state, this.tenant, now);
      process.state = next.state;
      this.#send(process, next.plan, faults);
      if (this.#random() < faults.giveBack && this.lease(process) !== undefined) this.giveBack(process, CELLS[Math.floor(this.#random() * 3)], faults);
      const lease = this.lease(process);
      if (lease !== undefined) this.shown.push({ cell: process.config.cell, lease });
    }
  }

  giveBack(process: Process, to: string | undefined, faults: Faults = CALM): void {
    const back = giveBack(process.config, process.state, this.tenant, to, process.clock());
    process.state = back.state;
    this.#send(process, back.plan, faults);
  }

  #send(process: Process, { ask, release, look }: Plan, faults: Faults): void {
    const { cell, instance } = process.config;
    const { tenant } = this;
    for (const { cell: observer } of this.rules.observers) {
      // A real gateway sends one request per observer; here releases travel by themselves, so that they overtake.
      const requests: Asked[] = [
        ...ask.filter((one) => one.observer === observer).map(({ epoch }) => ({ cell, instance, ask: [{ tenant, epoch }], release: [], look: [] })),
        ...release.filter((one) => one.observer === observer).map(({ epoch, to }) => ({ cell, instance, ask: [], release: [{ tenant, epoch, to }], look: [] })),
        ...look.filter((one) => one === observer).map(() => ({ cell, instance, ask: [], release: [], look: [tenant] })),
      ];
      for (const request of requests) this.#post(faults, [`${observer}`, cell], () => this.#observe(process, observer, request, faults));
    }
  }

  #observe(process: Process, observer: string, request: Asked, faults: Faults): void {
    const now = this.time + (this.#offsets[`observer ${observer}`] as number);
    const rows = new Map<string, Row>(JSON.parse(this.stored[observer] ?? '[]') as [string, Row][]);
    const { changed, answer } = observe({ name: observer, rules: this.rules }, rows, request, now);
    this.stored[observer] = JSON.stringify([...rows, ...changed]);
    this.#post(faults, [observer, request.cell], () => this.#absorb(process, observer, answer));
  }

  #absorb(process: Process, observer: string, answer: Answered): void {
    if (!this.processes.includes(process)) return;
    const promise = answer.promises[0];
    process.state = absorb(process.config, process.state, this.tenant, observer, {
      promise: promise === undefined ? undefined : { promise, jws: '' }, denied: answer.denied[0], view: answer.views[0],
    }, process.clock());
  }

  #post(faults: Faults, path: readonly string[], deliver: () => void): void {
    const copies = this.#random() < faults.loss ? 0 : this.#random() < faults.double ? 2 : 1;
    for (let i = 0; i < copies; i++) {
      this.#messages.push({ at: this.time + this.#random() * faults.delayMs, deliver: () => { if (!path.some((end) => this.cut.has(end)) || path[0] === path[1]) deliver(); } });
    }
  }
}
