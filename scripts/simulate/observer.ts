/** An observer's process: the real core, its rows on its own disk. */
import { type Answered, type Asked, observe, type Row } from '../../workloads/observer/core.ts';
import type { Process } from './machinery.ts';
import type { World } from './world.ts';

export class Observer {
  readonly process: Process;
  readonly #world: World;
  #rows: ReadonlyMap<string, Row> = new Map();
  full = false;

  constructor(world: World, process: Process) {
    this.#world = world;
    this.process = process;
    process.onStart = () => {
      if (!world.settings.protections.durablePromises) this.#rows = new Map();
    };
  }

  ask(request: Asked, answer: (value: Answered) => void): void {
    const { changed, answer: promised } = observe({ name: this.process.cell, rules: this.#world.rules }, this.#rows, request, this.process.now);
    if (changed.size > 0) {
      if (this.full) return;
      this.#rows = new Map([...this.#rows, ...changed]);
    }
    // It may die or sleep between its disk and its answer.
    this.process.after(this.#world.machinery.between(0, 10), () => answer(promised));
  }
}
