/** A cell's gateway: the real holder core against the observers; accepts, leases and completes in the steps of the real one, each of which may be its last. */
import { Refusal } from '../../attestation/refusal.ts';
import { absorb, giveBack, held, type HolderConfig, type HolderState, IDLE, type KeptPromise, paces, plan, type Plan } from '../../workloads/gateway/epochs-core.ts';
import { consider, dismiss, forget, heirsWanted, leaveTo, name, waitsFor } from '../../workloads/gateway/epochs-heirs.ts';
import type { Answered, Asked } from '../../workloads/observer/core.ts';
import type { EpochGrant, EpochLease } from '../../workloads/protocol/epoch.ts';
import type { Broker } from './counter.ts';
import type { Process } from './machinery.ts';
import type { SimulatedTenant } from './settings.ts';
import type { JobRow, Store } from './store.ts';
import type { World } from './world.ts';

export interface Proof { readonly promises: readonly KeptPromise[]; readonly grant: EpochGrant | undefined }
export interface Leased { readonly row: JobRow; readonly proof: Proof }
export interface Refused { readonly refused: string; /** The cell to go to, where it is known. */ readonly need?: string | undefined }

export const JOB_LEASE_MS = 1_500;
const STANDBY_MS = 1_500;
const BROKER_MS = 400;
const DEGRADE_MS = 4_000;
const HEIR_MS = 500;

export class Gateway {
  readonly process: Process;
  readonly store: Store;
  readonly #world: World;
  #config: HolderConfig;
  #states = new Map<string, HolderState>();
  #taken = new Map<string, number>();
  #healthyAt = Number.NEGATIVE_INFINITY;
  #unconfirmedSince: number | undefined;
  /** By tenant, when it was last looked for an heir, true time. */
  #heirAt = new Map<string, number>();

  constructor(world: World, process: Process, store: Store) {
    this.#world = world;
    this.process = process;
    this.store = store;
    this.#config = { cell: process.cell, instance: '', rules: world.rules };
    process.onStart = () => {
      this.#config = { ...this.#config, instance: `${process.cell}-${process.life}` };
      this.#states = new Map();
      this.#taken = new Map();
      this.#heirAt = new Map();
      this.#healthyAt = process.now;
      this.#unconfirmedSince = undefined;
      this.#tick();
    };
  }

  #state(tenant: string): HolderState {
    return this.#states.get(tenant) ?? IDLE;
  }

  /** @throws Refusal EPOCH_... */
  #require(tenant: string): EpochLease {
    const lease = held(this.#config, this.#state(tenant), tenant, this.process.now);
    this.#world.holds(this.process.cell, tenant, lease.epoch);
    return lease;
  }

  epochOf(tenant: string): number | undefined {
    if (this.#state(tenant).promises.length === 0) return undefined;
    try {
      return this.#require(tenant).epoch;
    } catch {
      return undefined;
    }
  }

  #requireStill({ tenant, epoch }: EpochLease): void {
    if (!this.#world.settings.protections.stillBeforeAnswer) return;
    if (this.#require(tenant).epoch !== epoch) throw new Refusal({ code: 'EPOCH_EXPIRED', path: 'epoch', next: 'Repeat the request.' });
  }

  #tick(): void {
    const { leaseMs } = this.#world.rules;
    const { now } = this.process;
    if (!this.store.full) this.#healthyAt = now;
    const plans: [string, Plan][] = [];
    if (now - this.#healthyAt < leaseMs) {
      for (const { tenant, order } of this.#world.settings.tenants) {
        if (!(order as readonly string[]).includes(this.process.cell)) continue;
        const next = plan(this.#config, this.#state(tenant), tenant, now);
        this.#states.set(tenant, next.state);
        plans.push([tenant, next.plan]);
      }
      this.#send(plans);
      this.#takeOver();
      if (this.#world.settings.protections.heirsNamed) for (const tenant of this.#world.settings.tenants) this.#findHeirs(tenant);
    }
    this.#watchStandby();
    this.process.after(Math.max(20, paces(this.#world.rules).look / 4), () => this.#tick());
  }

  #takeOver(): void {
    if (this.store.full) return;
    const fresh = this.#world.settings.tenants.flatMap(({ tenant }) => {
      const epoch = this.epochOf(tenant);
      return epoch === undefined || this.#taken.get(tenant) === epoch ? [] : [{ tenant, epoch }];
    });
    if (fresh.length === 0) return;
    this.store.takeOver(fresh, this.process.now);
    for (const { tenant, epoch } of fresh) {
      this.#taken.set(tenant, epoch);
      this.#heirAt.delete(tenant);
      this.#world.tookOver(this.process.cell, tenant, epoch);
    }
  }

  #copies = (cell: string): boolean => this.#world.replicates(this.process.cell, cell);

  #findHeirs({ tenant, tier, order }: SimulatedTenant): void {
    const world = this.#world;
    if (world.now - (this.#heirAt.get(tenant) ?? 0) < HEIR_MS || this.epochOf(tenant) === undefined) return;
    const state = forget(this.#config, this.#state(tenant), tenant, this.process.now);
    this.#states.set(tenant, state);
    const wanted = heirsWanted(state, { sync: tier === 'sync', others: order.filter((cell) => cell !== this.process.cell), copies: this.#copies }, this.process.now);
    this.#heirAt.set(tenant, world.now);
    if (wanted === undefined) return;
    if (tier === 'async' || wanted.length === 0) {
      this.#states.set(tenant, name(state, wanted, state, tier === 'async'));
      return;
    }
    const found = consider(state, wanted);
    this.#states.set(tenant, found);
    this.#look(tenant, wanted, (complete) => {
      const now = this.#state(tenant);
      if (complete.length > 0) this.#states.set(tenant, name(now, complete, found));
      else this.#states.set(tenant, now.namings.length === 0 ? name(now, [], found) : dismiss(now));
    });
  }

  /** Which of these cells have every job of the tenant that is here: first what is here is read, then what is there. */
  #look(tenant: string, cells: readonly string[], then: (complete: readonly string[]) => void): void {
    const { machinery, settings } = this.#world;
    this.process.after(machinery.between(1, 20), () => {
      const mine = [...this.store.jobs.values()].filter((row) => row.tenant === tenant).map(({ job }) => `${tenant}/${job}`);
      this.process.after(machinery.between(1, 40), () => {
        then(cells.filter((cell) => !settings.protections.heirsLookedAt || (this.#copies(cell) && mine.every((job) => this.#world.gatewayOf(cell).store.jobs.has(job)))));
      });
    });
  }

  #send(plans: readonly (readonly [string, Plan])[]): void {
    const { cell, instance } = this.#config;
    for (const observer of this.#world.observers) {
      const where = observer.process.cell;
      const request: Asked = {
        cell, instance, ask: plans.flatMap(([tenant, { ask }]) => ask.filter((one) => one.observer === where).map(({ observer: _, ...one }) => ({ tenant, ...one }))),
        release: plans.flatMap(([tenant, { release }]) => release.filter((one) => one.observer === where).map(({ observer: _, ...one }) => ({ tenant, ...one }))),
        look: plans.flatMap(([tenant, { look }]) => (look.includes(where) ? [tenant] : [])),
      };
      if (request.ask.length + request.release.length + request.look.length === 0) continue;
      this.#world.machinery.call<Answered>(this.process, observer.process, Math.max(200, paces(this.#world.rules).attempt), (answer) => observer.ask(request, answer), (answer) => {
        if (answer !== undefined) this.#absorb(where, answer);
      });
    }
  }

  #absorb(observer: string, { promises, denied, views }: Answered): void {
    const put = (tenant: string, what: Parameters<typeof absorb>[4]): void => {
      this.#states.set(tenant, absorb(this.#config, this.#state(tenant), tenant, observer, what, this.process.now));
      if (what.promise !== undefined) this.epochOf(tenant);
    };
    for (const promise of promises) put(promise.tenant, { promise: { promise, jws: '' } });
    for (const one of denied) put(one.tenant, { denied: one });
    for (const view of views) put(view.tenant, { view });
  }

  /** Planned failover. */
  giveBack(tenant: string, to: string | undefined): void {
    const next = giveBack(this.#config, this.#state(tenant), tenant, to, this.process.now);
    this.#states.set(tenant, next.state);
    const found = this.#world.settings.tenants.find((one) => one.tenant === tenant);
    if (found?.tier !== 'sync' || !this.#world.settings.protections.heirsNamed) this.#send([[tenant, next.plan]]);
    // Nothing is acknowledged any more: who has everything now may have it.
    else this.#look(tenant, found.order.filter((cell) => cell !== this.process.cell), (complete) => this.#send([[tenant, complete.length === 0 ? next.plan : leaveTo(next.plan, next.state, complete)]]));
  }

  grant(grant: EpochGrant): void {
    this.#states.set(grant.tenant, { ...this.#state(grant.tenant), grant });
  }

  /** By policy, a standby that is silent for long is done without, with an alarm. */
  #watchStandby(): void {
    const { store } = this;
    const standby = this.#world.standbyOf(this.process.cell);
    if (standby === undefined) return;
    // Not the clock of the process: it may be set back.
    const { now } = this.#world;
    const behind = (store.confirmed.get(standby) ?? 0) < store.log.length;
    this.#unconfirmedSince = behind && !this.#world.replicates(this.process.cell, standby) ? (this.#unconfirmedSince ?? now) : undefined;
    // It ends when the standby has all that was acknowledged without it.
    const degraded = this.#world.mayDegrade && (store.degraded ? behind : this.#unconfirmedSince !== undefined && now - this.#unconfirmedSince >= DEGRADE_MS);
    if (degraded !== store.degraded) {
      store.degraded = degraded;
      this.#world.event({ kind: 'mode', at: this.#world.now, cell: this.process.cell, degraded, alarm: this.#world.settings.protections.alarmWhenDegraded });
    }
  }

  #write(op: 'accept' | 'complete', epoch: number, { tenant, job }: { readonly tenant: string; readonly job: string }, code?: string): void {
    const { now } = this.#world;
    this.#world.event({ kind: 'write', from: now, at: now, tenant, job, cell: this.process.cell, epoch, op, accepted: code === undefined, ...(code === undefined ? {} : { code }) });
  }

  accept(job: { readonly tenant: string; readonly job: string; readonly message: string }, answer: (value: { readonly epoch: number } | Refused) => void): void {
    const { epochToAccept } = this.#world.settings.protections;
    const { machinery } = this.#world;
    const refuse = (error: unknown, epoch?: number): void => {
      const refused = error instanceof Refusal ? (error.codes[0] ?? 'REFUSED') : 'LEDGER_UNAVAILABLE';
      if (epoch !== undefined) this.#write('accept', epoch, job, refused);
      answer({ refused, need: error instanceof Refusal && refused === 'EPOCH_FENCED' ? error.reasons[0]?.need : undefined });
    };
    // The picture arrives, is checked and stored; then the epoch is looked at.
    this.process.after(machinery.between(1, 30), () => {
      let lease: EpochLease;
      try {
        lease = epochToAccept ? this.#require(job.tenant) : { tenant: job.tenant, cell: this.process.cell, epoch: Math.max(1, this.#state(job.tenant).epoch), until: Infinity };
      } catch (error) {
        refuse(error);
        return;
      }
      this.process.after(machinery.between(1, 20), () => {
        if (this.store.full) {
          refuse(new Error('full'));
          return;
        }
        if (this.store.accept(job, lease.epoch, this.process.now) === 'conflict') throw new Error('a client made two messages of one job');
        const waits = this.#waits(job.tenant);
        this.#confirmed(waits, this.store.log.length, this.#world.now + STANDBY_MS, (there) => {
          try {
            if (!there) throw new Error('standby');
            if (epochToAccept) this.#requireStill(lease);
            // Whoever was named meanwhile must have it too.
            if (waits !== undefined && waits.length > 0 && this.#heirs(job.tenant)?.every((cell) => waits.includes(cell)) === false) throw new Error('heirs');
            this.#write('accept', lease.epoch, job);
            answer({ epoch: lease.epoch });
          } catch (error) {
            refuse(error, lease.epoch);
          }
        });
      });
    });
  }

  #heirs(tenant: string): readonly string[] | undefined {
    return waitsFor(this.#config, this.#state(tenant), tenant, this.process.now);
  }

  /** Who must have a job of the tenant before it is acknowledged; `undefined`: it may not be. */
  #waits(tenant: string): readonly string[] | undefined {
    const { waitForStandby, heirsNamed } = this.#world.settings.protections;
    const found = this.#world.settings.tenants.find((one) => one.tenant === tenant);
    if (found?.tier !== 'sync' || !waitForStandby) return [];
    const heirs = heirsNamed ? this.#heirs(tenant) : [];
    const others = found.order.filter((cell) => cell !== this.process.cell);
    return heirs?.length === 0 ? [others.find(this.#copies) ?? (others[0] as string)] : heirs;
  }

  /** Until each of them has told that it has everything up to `position`. */
  #confirmed(waits: readonly string[] | undefined, position: number, deadline: number, then: (there: boolean) => void): void {
    if (waits === undefined) then(false);
    else if (this.store.degraded || waits.every((cell) => (this.store.confirmed.get(cell) ?? 0) >= position)) then(true);
    else if (this.#world.now >= deadline) then(false);
    else this.process.after(20, () => this.#confirmed(waits, position, deadline, then));
  }

  status({ tenant, job }: { readonly tenant: string; readonly job: string }): { readonly job: JobRow; readonly result: ReturnType<Store['standing']> } | 'unknown' {
    const row = this.store.jobs.get(`${tenant}/${job}`);
    return row === undefined ? 'unknown' : { job: row, result: this.store.standing(row) };
  }

  #proof(tenant: string): Proof {
    const { promises, grant } = this.#state(tenant);
    return { promises, grant };
  }

  /** For a counter: jobs of the tenants that are held and taken over, and what proves it. */
  lease(max: number): Leased[] {
    const tenants = this.#world.settings.tenants.flatMap(({ tenant }) => {
      const epoch = this.epochOf(tenant);
      return epoch !== undefined && this.#taken.get(tenant) === epoch ? [{ tenant, epoch }] : [];
    });
    if (this.store.full || tenants.length === 0) return [];
    return this.store.lease(tenants, max, JOB_LEASE_MS, this.process.now).map((row) => ({ row, proof: this.#proof(row.tenant) }));
  }

  heartbeat(row: JobRow): { readonly held: boolean; readonly proof: Proof } {
    return { held: this.epochOf(row.tenant) !== undefined && this.store.heartbeat(row, row.token ?? '', JOB_LEASE_MS, this.process.now), proof: this.#proof(row.tenant) };
  }

  /** Passes the broker's answer on, if the epoch is still held then. */
  release(row: JobRow, proof: Proof, broker: Broker, answer: (value: boolean) => void): void {
    const world = this.#world;
    const { epochToRelease, stillBeforeAnswer } = world.settings.protections;
    let lease: EpochLease | undefined;
    try {
      if (epochToRelease) lease = this.#require(row.tenant);
    } catch {
      answer(false);
      return;
    }
    world.machinery.call<number>(this.process, broker.process, BROKER_MS, (given) => broker.release(row, proof, given), (epoch) => {
      try {
        if (lease !== undefined && stillBeforeAnswer) this.#requireStill(lease);
      } catch {
        answer(false);
        return;
      }
      if (epoch !== undefined) {
        world.event({ kind: 'write', from: world.now, at: world.now, tenant: row.tenant, job: row.job, cell: this.process.cell, epoch, op: 'release', accepted: true });
      }
      answer(epoch !== undefined);
    });
  }

  complete(row: JobRow, digest: string, answer: (value: 'recorded' | 'stale' | 'refused') => void): void {
    const fenced = this.#world.settings.protections.fenceOnComplete;
    let lease: EpochLease;
    try {
      lease = fenced ? this.#require(row.tenant) : { tenant: row.tenant, cell: this.process.cell, epoch: row.epoch, until: Infinity };
    } catch {
      answer('refused');
      return;
    }
    this.process.after(this.#world.machinery.between(1, 20), () => {
      if (this.store.full) {
        answer('refused');
        return;
      }
      const said = this.store.complete(row, row.token ?? '', digest, lease.epoch);
      try {
        if (fenced) this.#requireStill(lease);
      } catch {
        this.#write('complete', lease.epoch, row, 'EPOCH_EXPIRED');
        answer('refused');
        return;
      }
      if (said === 'recorded') this.#write('complete', lease.epoch, row);
      answer(said);
    });
  }
}
