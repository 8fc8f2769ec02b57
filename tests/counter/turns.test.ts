import fc from 'fast-check';
import { expect, it } from 'vitest';
import { Turns } from '../../workloads/counter/turns.ts';

it('never more at once than the limit, nobody beside one who is alone, each kind in the order of asking, and a failure ends a turn', async () => {
  await fc.assert(fc.asyncProperty(fc.integer({ min: 1, max: 4 }), fc.array(fc.record({ alone: fc.boolean(), ticks: fc.nat(5), fails: fc.boolean() }), { maxLength: 20 }), async (limit, asks) => {
    const turns = new Turns(limit);
    const working = new Set<boolean>();
    const begun: { alone: boolean; n: number }[] = [];
    let now = 0;
    const ends = await Promise.allSettled(asks.map(({ alone, ticks, fails }, n) => turns.take(alone ? 'alone' : 'shared', async () => {
      now++;
      begun.push({ alone, n });
      working.add(alone);
      if (now > (alone || working.has(true) ? 1 : limit)) throw new Error('too many');
      for (let i = 0; i < ticks; i++) await Promise.resolve();
      now--;
      if (now === 0) working.clear();
      if (fails) throw new TypeError('fails');
      return n;
    })));
    expect(ends.map((end) => (end.status === 'fulfilled' ? end.value : (end.reason as Error).message))).toEqual(asks.map(({ fails }, n) => (fails ? 'fails' : n)));
    for (const kind of [true, false]) {
      const order = begun.filter(({ alone }) => alone === kind).map(({ n }) => n);
      expect(order).toEqual([...order].sort((a, b) => a - b));
    }
  }), { numRuns: 200 });
});
