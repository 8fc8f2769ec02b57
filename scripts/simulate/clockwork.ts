/** Virtual time: what is due next runs next; what is due at the same time, in the order in which it was put there. */
export class Clockwork {
  /** Epoch ms. */
  now = 1_800_000_000_000;
  #order = 0;
  readonly #heap: { readonly at: number; readonly order: number; readonly run: () => void }[] = [];

  at(time: number, run: () => void): void {
    const heap = this.#heap;
    const entry = { at: Math.max(this.now, Math.round(time)), order: this.#order++, run };
    let i = heap.push(entry) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!before(entry, heap[parent] as typeof entry)) break;
      heap[i] = heap[parent] as typeof entry;
      i = parent;
    }
    heap[i] = entry;
  }

  /** @returns false: nothing is left */
  step(): boolean {
    const heap = this.#heap;
    const first = heap[0];
    const last = heap.pop();
    if (first === undefined || last === undefined) return false;
    if (heap.length > 0) {
      let i = 0;
      for (;;) {
        let child = 2 * i + 1;
        if (child >= heap.length) break;
        if (child + 1 < heap.length && before(heap[child + 1] as typeof last, heap[child] as typeof last)) child += 1;
        if (!before(heap[child] as typeof last, last)) break;
        heap[i] = heap[child] as typeof last;
        i = child;
      }
      heap[i] = last;
    }
    this.now = first.at;
    first.run();
    return true;
  }
}

const before = (a: { at: number; order: number }, b: { at: number; order: number }): boolean => a.at < b.at || (a.at === b.at && a.order < b.order);
