/** Processes that crash, sleep and have clocks of their own, and a network that loses, delays, doubles and cuts. */
import type { Random } from '../fuzz/random.ts';
import type { Clockwork } from './clockwork.ts';

/** Where clients are. */
export const OUTSIDE = 'outside';

export class Process {
  readonly name: string;
  readonly cell: string;
  up = true;
  /** Raised by each start: what an earlier life had under way is gone. */
  life = 0;
  asleepUntil = 0;
  /** Milliseconds that its clock is ahead. */
  offset = 0;
  /** What it does when it starts, the first time and again. */
  onStart: () => void = () => {};
  readonly #world: Machinery;

  constructor(world: Machinery, name: string, cell: string) {
    this.#world = world;
    this.name = name;
    this.cell = cell;
  }

  /** Its own clock, epoch ms. */
  get now(): number {
    return this.#world.clockwork.now + this.offset;
  }

  start(): void {
    if (this.up && this.life > 0) return;
    this.up = true;
    this.life += 1;
    this.onStart();
  }

  crash(): void {
    this.up = false;
    this.asleepUntil = 0;
  }

  /** In so many milliseconds, if it still lives, and not while it sleeps. */
  after(ms: number, run: () => void): void {
    const { life } = this;
    const { clockwork } = this.#world;
    const attempt = (): void => {
      if (!this.up || this.life !== life) return;
      if (this.asleepUntil > clockwork.now) clockwork.at(this.asleepUntil, attempt);
      else run();
    };
    clockwork.at(clockwork.now + ms, attempt);
  }
}

export interface Weather { readonly loss: number; readonly double: number; readonly delayMs: number }

export class Machinery {
  readonly clockwork: Clockwork;
  readonly random: Random;
  /** `from>to`, cells. */
  readonly cut = new Set<string>();
  weather: Weather;

  constructor(clockwork: Clockwork, random: Random, weather: Weather) {
    this.clockwork = clockwork;
    this.random = random;
    this.weather = weather;
  }

  chance(p: number): boolean {
    return this.random.next() < p * 2 ** 32;
  }

  between(low: number, high: number): number {
    return low + this.random.below(high - low + 1);
  }

  reaches(from: string, to: string): boolean {
    return from === to || this.cut.size === 0 || !(this.cut.has(`${from}>${to}`) || this.cut.has(`${to}>${from}`));
  }

  #post(from: string, to: Process, deliver: () => void): void {
    if (from === to.cell) {
      to.after(this.between(0, 3), deliver);
      return;
    }
    const { loss, double, delayMs } = this.weather;
    const copies = this.chance(loss) ? 0 : this.chance(double) ? 2 : 1;
    for (let copy = 0; copy < copies; copy += 1) {
      to.after(this.between(1, delayMs), () => {
        if (this.cut.size === 0 || !this.cut.has(`${from}>${to.cell}`)) deliver();
      });
    }
  }

  /**
   * A request and its answer. The handler may run twice, or run and its answer be lost; the caller hears once: the first answer, or `undefined` when
   * none came in time.
   */
  call<T>(from: Process, to: Process, timeoutMs: number, handle: (answer: (value: T) => void) => void, heard: (value: T | undefined) => void): void {
    let done = false;
    const once = (value: T | undefined): void => {
      if (done) return;
      done = true;
      heard(value);
    };
    this.#post(from.cell, to, () => handle((value) => this.#post(to.cell, from, () => once(value))));
    from.after(timeoutMs, () => once(undefined));
  }
}
