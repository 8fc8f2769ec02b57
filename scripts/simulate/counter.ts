/** Counters lease, have the key released by their cell's broker, count, and complete. Both judge the epoch by promises that the gateway only carries. */
import { leaseOf } from '../../workloads/protocol/epoch.ts';
import { type Gateway, JOB_LEASE_MS, type Leased, type Proof } from './gateway.ts';
import type { Process } from './machinery.ts';
import type { JobRow } from './store.ts';
import type { World } from './world.ts';

/** The highest epoch that a process has seen of each tenant: no lower one counts any more. */
class Judge {
  #highest = new Map<string, number>();

  forget(): void {
    this.#highest = new Map();
  }

  /** @returns the epoch, or undefined where this cell has none that can be relied on now */
  judge(world: World, process: Process, tenant: string, { promises, grant }: Proof): number | undefined {
    try {
      const { epoch } = leaseOf(promises.map(({ promise }) => promise), grant, world.rules, { tenant, cell: process.cell, now: process.now });
      if (epoch < (this.#highest.get(tenant) ?? 0)) return undefined;
      this.#highest.set(tenant, epoch);
      return epoch;
    } catch {
      return undefined;
    }
  }
}

export class Broker {
  readonly process: Process;
  readonly #world: World;
  readonly #gateway: Gateway;
  readonly #judge = new Judge();
  #seq = 0;
  #last = '';

  constructor(world: World, process: Process, gateway: Gateway) {
    this.process = process;
    this.#world = world;
    this.#gateway = gateway;
    process.onStart = () => {
      this.#judge.forget();
      this.#seq = 0;
      this.#last = '';
    };
  }

  /** A receipt is stored before the key leaves. @param given called with the epoch, if it leaves */
  release(row: JobRow, proof: Proof, given: (epoch: number) => void): void {
    const { store } = this.#gateway;
    const world = this.#world;
    const judged = this.#judge.judge(world, this.process, row.tenant, proof);
    if (world.settings.protections.epochToRelease && judged === undefined) return;
    if (store.full) return;
    const instance = `${this.process.name} ${this.process.life}`;
    const hash = `${instance} ${this.#seq + 1} ${row.token ?? ''}`;
    if (!store.receipt({ instance, seq: this.#seq + 1, prev: this.#last, hash, tenant: row.tenant, job: row.job })) return;
    this.#seq += 1;
    this.#last = hash;
    given(judged ?? row.epoch);
  }
}

const IDLE_MS = 150;
const ASK_MS = 600;

export class Counter {
  readonly process: Process;
  readonly #world: World;
  readonly #gateway: Gateway;
  readonly #broker: Broker;
  readonly #judge = new Judge();

  constructor(world: World, process: Process, gateway: Gateway, broker: Broker) {
    this.process = process;
    this.#world = world;
    this.#gateway = gateway;
    this.#broker = broker;
    process.onStart = () => {
      this.#judge.forget();
      this.#loop();
    };
  }

  #loop(): void {
    const { machinery } = this.#world;
    machinery.call<Leased[]>(this.process, this.#gateway.process, ASK_MS, (answer) => answer(this.#gateway.lease(2)), (leased) => {
      for (const one of leased ?? []) this.#work(one);
      this.process.after(machinery.between(IDLE_MS / 2, IDLE_MS), () => this.#loop());
    });
  }

  #work({ row, proof }: Leased): void {
    const { machinery } = this.#world;
    let shown = proof;
    let lost = false;
    let done = false;
    machinery.call<boolean>(this.process, this.#gateway.process, ASK_MS, (answer) => this.#gateway.release(row, shown, this.#broker, answer), (released) => {
      if (released !== true) return;
      const renew = (): void => {
        if (done || lost) return;
        machinery.call<ReturnType<Gateway['heartbeat']>>(this.process, this.#gateway.process, ASK_MS, (answer) => answer(this.#gateway.heartbeat(row)), (beat) => {
          if (beat?.held === false) lost = true;
          if (beat !== undefined) shown = beat.proof;
        });
        this.process.after(JOB_LEASE_MS / 3, renew);
      };
      this.process.after(JOB_LEASE_MS / 3, renew);
      // Most pictures are quick, some are not.
      this.process.after(machinery.chance(0.1) ? machinery.between(1_000, 4_000) : machinery.between(10, 200), () => {
        done = true;
        const epoch = this.#judge.judge(this.#world, this.process, row.tenant, shown);
        if (this.#world.settings.protections.epochToRelease && epoch === undefined) return;
        if (!lost || !this.#world.settings.protections.fenceOnComplete) this.#complete(row, `${row.job} by ${row.token ?? ''}`, 3);
      });
    });
  }

  #complete(row: JobRow, digest: string, tries: number): void {
    const { machinery } = this.#world;
    machinery.call<'recorded' | 'stale' | 'refused'>(this.process, this.#gateway.process, ASK_MS, (answer) => this.#gateway.complete(row, digest, answer), (said) => {
      if ((said === undefined || said === 'refused') && tries > 1) this.process.after(machinery.between(100, 400), () => this.#complete(row, digest, tries - 1));
    });
  }
}
