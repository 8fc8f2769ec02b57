/** A tenant's client: one message per job, kept until the result is there; goes from cell to cell by itself. */
import type { Gateway, Refused } from './gateway.ts';
import type { Process } from './machinery.ts';
import type { SimulatedTenant } from './settings.ts';
import type { World } from './world.ts';

const ASK_MS = 2_500;
const PATIENCE_MS = 2_500;

interface Kept {
  readonly tenant: string;
  readonly job: string;
  readonly message: string;
  sent: number;
  acknowledged: boolean;
  /** Since when the cell asked has not got any further, true time. */
  since: number;
}

export class Client {
  readonly process: Process;
  readonly tenant: SimulatedTenant;
  readonly #world: World;
  #cell: string;
  open = 0;

  constructor(world: World, process: Process, tenant: SimulatedTenant) {
    this.#world = world;
    this.process = process;
    this.tenant = tenant;
    this.#cell = tenant.order[0] as string;
    process.onStart = () => {
      for (let n = 0; n < world.settings.jobs; n += 1) {
        const kept: Kept = { tenant: tenant.tenant, job: `${tenant.tenant}-${n}`, message: `picture ${n}`, sent: 0, acknowledged: false, since: 0 };
        this.open += 1;
        process.after(world.machinery.between(0, world.settings.busyMs), () => this.#submit(kept, this.#cell));
      }
    };
  }

  #next(cell: string): string {
    const { order } = this.tenant;
    return order[((order as readonly string[]).indexOf(cell) + 1) % order.length] as string;
  }

  #later(run: () => void): void {
    this.process.after(this.#world.machinery.between(150, 500), run);
  }

  #submit(kept: Kept, cell: string): void {
    const world = this.#world;
    const gateway = world.gatewayOf(cell);
    if (kept.sent > 0) world.event({ kind: 'resubmitted', at: world.now, tenant: kept.tenant, job: kept.job, cell });
    kept.sent += 1;
    world.machinery.call<{ readonly epoch: number } | Refused>(this.process, gateway.process, ASK_MS, (answer) => gateway.accept(kept, answer), (said) => {
      if (said !== undefined && 'epoch' in said) {
        world.event({ kind: 'acknowledged', at: world.now, tenant: kept.tenant, job: kept.job, cell, epoch: said.epoch });
        kept.acknowledged = true;
        kept.since = world.now;
        this.#cell = cell;
        this.#later(() => this.#poll(kept, cell));
        return;
      }
      const to = said?.need !== undefined && (this.tenant.order as readonly string[]).includes(said.need) ? said.need : this.#next(cell);
      this.#later(() => this.#submit(kept, to));
    });
  }

  #poll(kept: Kept, cell: string): void {
    const world = this.#world;
    const gateway = world.gatewayOf(cell);
    world.machinery.call<ReturnType<Gateway['status']>>(this.process, gateway.process, ASK_MS, (answer) => answer(gateway.status(kept)), (said) => {
      if (said === 'unknown') {
        if (world.settings.protections.resubmit) this.#later(() => this.#submit(kept, cell));
        return;
      }
      if (said?.result !== undefined) {
        const { epoch, cell: writer, outcome, digest } = said.result;
        world.event({ kind: 'final', at: world.now, tenant: kept.tenant, job: kept.job, cell: writer, epoch, outcome, digest });
        this.open -= 1;
        return;
      }
      const stuck = said === undefined || world.now - kept.since > PATIENCE_MS;
      if (stuck) kept.since = world.now;
      this.#later(() => this.#poll(kept, stuck ? this.#next(cell) : cell));
    });
  }
}
