import { fileURLToPath } from 'node:url';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { line, parseHistory } from '../../scripts/drill/history.ts';
import { FAULTS, FORCED } from '../../scripts/simulate/faults.ts';
import { type Protections, PROTECTED, type Settings, SETTINGS } from '../../scripts/simulate/settings.ts';
import { type Run, simulate } from '../../scripts/simulate/simulate.ts';

const MAIN = fileURLToPath(new URL('../../scripts/simulate/main.ts', import.meta.url));
const failures = (run: Run): string[] => [...run.verdict.violations.map(({ kind }) => kind), ...(run.stuck > 0 ? ['stuck'] : [])];

describe('as designed', () => {
  it('2,000 seeds: nothing acknowledged is lost, nothing counted twice, no cell works after its fence, tier sync loses nothing, and all comes to an end', async () => {
    const { stdout, exitCode } = await execa(process.execPath, [MAIN, '--seeds', '2000', '--json'], { reject: false });
    const report = JSON.parse(stdout) as Record<string, number> & { ok: boolean; failing: { seed: number }[] };
    expect(report.failing.map(({ seed }) => seed)).toEqual([]);
    expect([exitCode, report.ok, report.seeds]).toEqual([0, true, 2_000]);
    // That nothing is found means nothing where nothing happens.
    expect(report.acknowledged).toBeGreaterThan(40_000);
    expect(report.failovers).toBeGreaterThan(1_000);
    expect(report.superseded).toBeGreaterThan(50);
    expect(report.unreplicated).toBeGreaterThan(50);
    expect(report.fencedWritesRefused).toBeGreaterThan(5);
  }, 600_000);

  it('a failover forced with two cells dead: those that come back with a majority leave it alone', () => {
    let failovers = 0;
    for (let seed = 1; seed <= 60; seed += 1) {
      const run = simulate(seed, { ...SETTINGS, faults: [FORCED.name], maxFaults: 1 });
      expect([seed, ...failures(run)]).toEqual([seed]);
      failovers += run.failovers;
    }
    expect(failovers).toBeGreaterThan(60);
  }, 60_000);

  it('tier sync with three cells, copies that lag, and cells that move tenants around: whoever takes over has everything', () => {
    let failovers = 0;
    for (let seed = 1; seed <= 200; seed += 1) {
      const run = simulate(seed, { ...SETTINGS, ...MOVING });
      expect([seed, ...failures(run)]).toEqual([seed]);
      failovers += run.failovers;
    }
    expect(failovers).toBeGreaterThan(200);
  }, 120_000);

  it('the same seed is the same history, line for line, and each line is one that a drill could have written', () => {
    const [once, again, other] = [7, 7, 8].map((seed) => simulate(seed).history.map(line).join(''));
    expect(again).toBe(once);
    expect(other).not.toBe(once);
    expect(parseHistory(once as string)).toHaveLength((once as string).trimEnd().split('\n').length);
  });

  it('each fault happens', () => {
    const seen = new Set<string>();
    for (let seed = 1; seed <= 60; seed += 1) simulate(seed, undefined, (text) => void seen.add(text.replace(/^\d+ /, '').replace(/: (aws|azure|gcp)$/, '')));
    expect(FAULTS.map(({ name }) => name).filter((name) => !seen.has(name))).toEqual([]);
  }, 60_000);
});

const off = (...names: (keyof Protections)[]): Partial<Settings> => ({ protections: { ...PROTECTED, ...Object.fromEntries(names.map((name) => [name, false])) } });
const CLOCKS = { faults: ['clocks are set in a partition'], maxFaults: 8, jobs: 30 };

/** Every tenant of tier sync and three cells, and what makes another one than the first standby take over, with copies that lag. */
const MOVING: Partial<Settings> = {
  tenants: SETTINGS.tenants.map((one) => ({ ...one, tier: 'sync', order: one.order.length === 3 ? one.order : ['gcp', 'aws', 'azure'] })),
  faults: ['planned failover', 'replication lags', 'kill process', 'kill cell', 'partition from one cell'], maxFaults: 8, jobs: 16,
};

/** One protection less, faults that go for it, and what the auditor must say within so many seeds. */
const CONTROLS: readonly (readonly [what: string, change: Partial<Settings>, kind: string])[] = [
  ['a gateway accepts without an epoch', off('epochToAccept'), 'fenced-write'],
  ['a gateway that slept acknowledges', { ...off('stillBeforeAnswer'), faults: ['pause gateway', 'planned failover'], maxFaults: 8 }, 'fenced-write'],
  ['completion without token and epoch', { ...off('fenceOnComplete'), faults: ['pause gateway', 'pause cell', 'partition from the other cells'], maxFaults: 8 }, 'fenced-write'],
  ['keys released without an epoch', { ...off('epochToRelease'), faults: ['pause broker', 'pause gateway', 'planned failover'], maxFaults: 8 }, 'fenced-write'],
  ['observers that forget when they restart', { ...off('durablePromises'), faults: ['restart all observers', 'partition from the other cells', 'nothing comes in from the other cells'], maxFaults: 8 }, 'fenced-write'],
  ['one observer is a majority', { quorum: 1 }, 'fenced-write'],
  ['no clock bound, and clocks that are set', { ...CLOCKS, clockBoundMs: 0, skewMs: 0, setMs: 3_000 }, 'fenced-write'],
  ['clocks beyond the bound', { ...CLOCKS, setMs: 3_000 }, 'fenced-write'],
  ['tier sync acknowledged like async', off('waitForStandby'), 'rpo'],
  ['any cell of the order may take over, though only one was waited for', { ...off('heirsNamed'), ...MOVING }, 'rpo'],
  ['an heir is named that nobody looked at', { ...off('heirsLookedAt'), ...MOVING, faults: ['planned failover', 'replication lags'] }, 'rpo'],
  ['a job accepted twice is two', off('idempotentAccept'), 'duplicated'],
  ['the row that comes last stands', off('rankedMerge'), 'diverged'],
  ['a client that throws its message away', { ...off('resubmit'), faults: ['replication lags', 'kill cell', 'planned failover'], maxFaults: 8 }, 'stuck'],
  ['a standby done without in silence', off('alarmWhenDegraded'), 'silent-degrade'],
];
const WITHIN = 400;

describe('without one protection the auditor finds it', () => {
  it.each(CONTROLS)('%s', (_, change, kind) => {
    let seed = 1;
    let found: string[] = [];
    for (; seed <= WITHIN && !found.includes(kind); seed += 1) found = failures(simulate(seed, { ...SETTINGS, ...change }));
    expect(found).toContain(kind);
  }, 120_000);

  it('each protection has a control', () => {
    const without = new Set(CONTROLS.flatMap(([, { protections }]) => Object.entries(protections ?? {}).filter(([, on]) => !on).map(([name]) => name)));
    expect([...without].sort()).toEqual(Object.keys(PROTECTED).sort());
  });
});

describe('the command', () => {
  it('runs one seed, prints its history, and refuses what it does not understand', async () => {
    const one = await execa(process.execPath, [MAIN, '--seed', '7', '--history']);
    expect(parseHistory(one.stdout).at(-1)?.kind).toBe('end');
    expect(one.stderr).toMatch(/^1 seeds \(7 to 7\), 0 failing/);
    const wrong = await execa(process.execPath, [MAIN, '--seeds', 'many'], { reject: false });
    expect([wrong.exitCode, wrong.stdout]).toEqual([2, '']);
    expect(wrong.stderr).toMatch(/^usage:/);
  }, 60_000);
});
