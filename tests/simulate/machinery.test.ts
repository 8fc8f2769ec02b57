import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { randomOf } from '../../scripts/fuzz/random.ts';
import { Clockwork } from '../../scripts/simulate/clockwork.ts';
import { Machinery, Process } from '../../scripts/simulate/machinery.ts';

describe('virtual time', () => {
  it('runs by time, and in the order of arrival at one time', () => {
    fc.assert(fc.property(fc.array(fc.integer({ min: 0, max: 20 }), { maxLength: 60 }), (delays) => {
      const clockwork = new Clockwork();
      const began = clockwork.now;
      const ran: { delay: number; index: number; at: number }[] = [];
      for (const [index, delay] of delays.entries()) clockwork.at(began + delay, () => ran.push({ delay, index, at: clockwork.now - began }));
      while (clockwork.step());
      expect(ran.map(({ at }) => at)).toEqual(ran.map(({ delay }) => delay));
      expect(ran.map(({ index }) => index)).toEqual(delays.map((delay, index) => ({ delay, index })).sort((a, b) => a.delay - b.delay).map(({ index }) => index));
    }));
  });

  it('never goes back', () => {
    const clockwork = new Clockwork();
    const began = clockwork.now;
    let at = 0;
    clockwork.at(began + 10, () => clockwork.at(began, () => { at = clockwork.now - began; }));
    while (clockwork.step());
    expect(at).toBe(10);
  });
});

const made = (weather = { loss: 0, double: 0, delayMs: 5 }) => {
  const machinery = new Machinery(new Clockwork(), randomOf(1, 0), weather);
  const [a, b] = [new Process(machinery, 'a', 'aws'), new Process(machinery, 'b', 'azure')];
  a.start();
  b.start();
  const run = (): void => { while (machinery.clockwork.step()); };
  return { machinery, a, b, run, began: machinery.clockwork.now };
};

describe('processes and the network', () => {
  it('what a crashed process had under way never happens, not after its restart either', () => {
    const { a, run } = made();
    let ran = 0;
    a.after(10, () => ran++);
    a.crash();
    a.start();
    a.after(10, () => { ran += 10; });
    run();
    expect(ran).toBe(10);
  });

  it('a process that sleeps does everything when it wakes, in order', () => {
    const { machinery, a, run, began } = made();
    const ran: string[] = [];
    a.asleepUntil = began + 100;
    a.after(10, () => ran.push(`first ${machinery.clockwork.now - began}`));
    a.after(20, () => ran.push(`second ${machinery.clockwork.now - began}`));
    run();
    expect(ran).toEqual(['first 100', 'second 100']);
  });

  it.each([['a request', 'aws>azure', 0], ['an answer', 'azure>aws', 1]])('a cut link loses %s, and the caller hears so once', (_, link, handled) => {
    const { machinery, a, b, run } = made();
    machinery.cut.add(link);
    let handles = 0;
    const heard: unknown[] = [];
    machinery.call<number>(a, b, 50, (answer) => { handles += 1; answer(1); }, (value) => heard.push(value));
    run();
    expect([handles, heard]).toEqual([handled, [undefined]]);
  });

  it('a doubled request is handled twice and heard once', () => {
    const { machinery, a, b, run } = made({ loss: 0, double: 1, delayMs: 5 });
    let handles = 0;
    const heard: unknown[] = [];
    machinery.call<number>(a, b, 50, (answer) => answer(++handles), (value) => heard.push(value));
    run();
    expect([handles, heard]).toEqual([2, [1]]);
  });
});
