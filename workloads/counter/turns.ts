/** Who may work: several at once, or one alone. In the order of asking, except that those who must be alone go before the others that wait. */

interface Waiting { readonly alone: boolean; begin(): void }

export class Turns {
  readonly #limit: number;
  readonly #waiting: Waiting[] = [];
  #working = 0;
  #alone = false;

  constructor(limit: number) {
    this.#limit = limit;
  }

  async take<T>(how: 'shared' | 'alone', work: () => Promise<T>): Promise<T> {
    await new Promise<void>((begin) => {
      const alone = how === 'alone';
      const shared = alone ? this.#waiting.findIndex((waiting) => !waiting.alone) : -1;
      this.#waiting.splice(shared < 0 ? this.#waiting.length : shared, 0, { alone, begin });
      this.#next();
    });
    try {
      return await work();
    } finally {
      this.#working--;
      this.#alone = false;
      this.#next();
    }
  }

  #next(): void {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      if (this.#alone || this.#working >= (first.alone ? 1 : this.#limit)) return;
      this.#waiting.shift();
      this.#working++;
      this.#alone = first.alone;
      first.begin();
    }
  }
}
