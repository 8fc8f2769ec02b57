/** A tenant's client: one message per job, kept until the result is there; the real core chooses the cell. */
import { afterAnswer, type CellOutcome, type CellsState, nextCell, startCells } from '../../workloads/client/cells-core.ts';
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
  #cells: CellsState;
  open = 0;

  constructor(world: World, process: Process, tenant: SimulatedTenant) {
    this.#world = world;
    this.process = process;
    this.tenant = tenant;
    this.#cells = startCells(tenant.order);
    process.onStart = () => {
      for (let n = 0; n < world.settings.jobs; n += 1) {
        const kept: Kept = { tenant: tenant.tenant, job: `${tenant.tenant}-${n}`, message: `picture ${n}`, sent: 0, acknowledged: false, since: 0 };
        this.open += 1;
        process.after(world.machinery.between(0, world.settings.busyMs), () => this.#submit(kept));
      }
    };
  }

  #heard(cell: string, outcome: CellOutcome): void {
    this.#cells = afterAnswer(this.#cells, cell, outcome, this.process.now);
  }

  #later(run: (cell: string) => void): void {
    this.process.after(this.#world.machinery.between(150, 500), () => {
      const { cell, waitMs } = nextCell(this.#cells, this.process.now);
      this.process.after(waitMs, () => run(cell));
    });
  }

  #submit(kept: Kept, cell = nextCell(this.#cells, this.process.now).cell): void {
    const world = this.#world;
    const gateway = world.gatewayOf(cell);
    if (kept.sent > 0) world.event({ kind: 'resubmitted', at: world.now, tenant: kept.tenant, job: kept.job, cell });
    kept.sent += 1;
    world.machinery.call<{ readonly epoch: number } | Refused>(this.process, gateway.process, ASK_MS, (answer) => gateway.accept(kept, answer), (said) => {
      if (said !== undefined && 'epoch' in said) {
        world.event({ kind: 'acknowledged', at: world.now, tenant: kept.tenant, job: kept.job, cell, epoch: said.epoch });
        kept.acknowledged = true;
        kept.since = world.now;
        this.#heard(cell, { kind: 'ok' });
        this.#later((next) => this.#poll(kept, next));
        return;
      }
      this.#heard(cell, said?.need === undefined ? { kind: 'down' } : { kind: 'elsewhere', cell: said.need });
      this.#later((next) => this.#submit(kept, next));
    });
  }

  #poll(kept: Kept, cell: string): void {
    const world = this.#world;
    const gateway = world.gatewayOf(cell);
    world.machinery.call<ReturnType<Gateway['status']>>(this.process, gateway.process, ASK_MS, (answer) => answer(gateway.status(kept)), (said) => {
      if (said === 'unknown') {
        if (world.settings.protections.resubmit) this.#later((next) => this.#submit(kept, next));
        return;
      }
      if (said?.result !== undefined) {
        const { epoch, cell: writer, outcome, digest } = said.result;
        world.event({ kind: 'final', at: world.now, tenant: kept.tenant, job: kept.job, cell: writer, epoch, outcome, digest });
        this.open -= 1;
        return;
      }
      const stuck = said === undefined || world.now - kept.since > PATIENCE_MS;
      if (stuck) {
        kept.since = world.now;
        this.#heard(cell, { kind: 'down' });
      }
      this.#later((next) => this.#poll(kept, next));
    });
  }
}
