/** All scenarios, one after the other: what an interrupted run finished is kept and taken up again. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { SCENARIOS } from '../../scripts/drill/scenarios.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'ccc-all-')); });
afterAll(() => rm(folder, { recursive: true }));

const drill = async (...args: string[]) => {
  const { exitCode, stdout } = await execa(process.execPath, [join(ROOT, 'scripts/ccc.ts'), 'drill', 'failover', '--json', '--out', folder, ...args], { reject: false });
  return [exitCode, JSON.parse(stdout) as unknown] as const;
};
const finished = (runs: readonly object[], settings: object = { seed: 7, rate: null, leaseSeconds: null }) => writeFile(join(folder, 'all.json'), JSON.stringify({ v: 'ccc-drill-all/v1', settings: JSON.stringify(settings), runs }));
const RUNS = SCENARIOS.map((scenario) => ({ ok: true, scenario, seed: 7 }));

it('there is nothing to resume without a run, of one scenario, or of other settings', async () => {
  expect(await drill('--scenario', 'all', '--resume')).toMatchObject([2, { ok: false, error: { code: 'NOTHING_TO_RESUME' } }]);
  expect(await drill('--scenario', 'kill', '--resume')).toMatchObject([2, { ok: false, error: { code: 'RESUME_ONE' } }]);
  await finished(RUNS);
  expect(await drill('--scenario', 'all', '--resume', '--seed', '8')).toMatchObject([2, { ok: false, error: { code: 'NOTHING_TO_RESUME' } }]);
}, 60_000);

it('what was finished is in the document, and decides the exit code', async () => {
  await finished(RUNS);
  expect(await drill('--scenario', 'all', '--resume', '--seed', '7')).toEqual([0, { ok: true, runs: RUNS }]);
  const missed = RUNS.with(2, { ok: false, scenario: 'partition', seed: 7 });
  await finished(missed);
  expect(await drill('--scenario', 'all', '--resume', '--seed', '7')).toEqual([1, { ok: false, runs: missed }]);
  const unplayable = RUNS.with(3, { ok: false, scenario: 'disk-full', seed: 7, error: { code: 'DRILL_UNPLAYABLE', message: 'm', next: 'n' } } as never);
  await finished(unplayable);
  expect(await drill('--scenario', 'all', '--resume', '--seed', '7')).toEqual([4, { ok: false, runs: unplayable }]);
}, 60_000);
