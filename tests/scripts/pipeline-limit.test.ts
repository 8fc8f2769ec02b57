import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { coresFor, leastOf, limit } from '../../scripts/bench/pipeline.ts';
import { cpuMs } from '../../scripts/bench/processes.ts';

describe('the most that a cell can reach of bare counting loops', () => {
  it.each([
    // cores, counters, ms to count, ms a job in all
    [2, 1, 25, 50, 1], // one core counts, the other does the rest
    [2, 1, 25, 60, 5 / 6], // the rest is more than a core
    [2, 2, 25, 50, 1 / 2], // all of the rest is taken from counting
    [2, 2, 27, 30, 9 / 10], // a ninth of counting around a job
    [4, 2, 25, 50, 1],
    [1, 2, 25, 50, 1 / 2], // bare loops that share a core
  ])('%d cores, %d counters, %d ms to count, %d ms a job: %d', (cores, counters, count, job, most) => {
    expect(limit(cores, counters, count, job)).toBeCloseTo(most, 10);
  });
});

describe('cores for a share', () => {
  it.each([[2, 25, 50], [1, 25, 60], [4, 27, 40]])('%d counters, %d ms to count, %d ms a job: on these the limit is the share', (counters, count, job) => {
    const cores = coresFor(0.9, counters, count, job);
    expect(cores).toBeGreaterThan(counters);
    expect(limit(cores, counters, count, job)).toBeCloseTo(0.9, 10);
    expect(limit(cores - 0.1, counters, count, job)).toBeLessThan(0.9);
  });
});

describe('what a job costs', () => {
  it('is the round that took least in all, whole and not the best of each', () => {
    const round = (sandboxes: number, gateway: number) => ({ sandboxes, counters: 1, gateway, broker: 1, PostgreSQL: 1, 'this process': 1 });
    const rounds = [round(25, 9), round(26, 6), round(24, 10)];
    expect(leastOf(rounds)).toEqual({ round: rounds[1], job: 36 });
  });
});

describe.skipIf(process.platform !== 'linux')('processor time of processes', () => {
  it('of a child that ended is still counted below its parent', async () => {
    const busy = 'const until = process.cpuUsage().user + 60_000; while (process.cpuUsage().user < until);';
    const parent = execa(process.execPath, ['-e', `require('child_process').execFileSync(process.execPath, ['-e', ${JSON.stringify(busy)}]); console.log('done'); setInterval(() => {}, 1000)`]);
    try {
      await new Promise((done) => { parent.stdout.once('data', done); });
      expect((await cpuMs(parent.pid as number)).below).toBeGreaterThanOrEqual(50);
    } finally {
      parent.kill('SIGKILL');
      await parent.catch(() => {});
    }
  });
});
