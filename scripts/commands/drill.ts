/** `ccc drill failover`: hurts a fleet of three cells on this machine and writes a signed report. */
import { cp, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { createLog } from '../../workloads/protocol/log.ts';
import { importSigningKey } from '../../workloads/protocol/jws.ts';
import type { FleetCell } from '../cell/fleet-types.ts';
import { at, readOptional, writeWhole } from '../cell/folder.ts';
import { stopSignal } from '../cli/interrupt.ts';
import { EXIT, json, note, paint, progress, say, table, UserError } from '../cli/output.ts';
import { anchor, cellsIn } from '../drill/anchor.ts';
import { type DrillRecord, runDrill } from '../drill/drill.ts';
import { page } from '../drill/page.ts';
import { judge, NOTICE, type Report, signReport } from '../drill/report.ts';
import { scenario, type ScenarioName, SCENARIOS } from '../drill/scenarios.ts';
import { UNPLAYABLE } from '../drill/small-disk.ts';

export interface DrillCommand { readonly scenario: string; readonly seed?: number; readonly rate?: number; readonly leaseSeconds?: number; readonly out?: string; readonly record?: string; readonly resume?: boolean; readonly json?: boolean }

/** The document of `--json`; the whole report is in the folder. */
const summary = (report: Report, folder: string) => ({
  ok: report.ok, scenario: report.scenario, seed: report.seed, lost: report.lost, duplicated: report.duplicated, falseReleases: report.falseReleases, rpo: { jobs: report.rpo.jobs, seconds: report.rpo.seconds, tiers: report.rpo.tiers },
  rtoSeconds: report.rtoSeconds, failbackSeconds: report.verdict.failbackSeconds, fencedWrites: report.verdict.fencedWrites, falseDenials: report.verdict.falseDenials, residencyBreaches: report.verdict.residencyBreaches,
  revocations: report.verdict.revocations, felt: report.felt, jobs: report.verdict.counts, throughput: report.throughput, violations: report.violations, violationCount: report.violationCount, missed: report.missed, historySha256: report.evidence.historySha256, simulated: true, notice: report.notice, folder,
});

/** History, report as document, signed, and as a page; its digest in the audit chains of the drill's own cells, and of those that `record` names. */
async function keep(name: ScenarioName, seed: number, drill: DrillRecord, cells: readonly FleetCell[], fleet: string, out: string, record: readonly string[]): Promise<Report> {
  const { report, series } = judge(scenario(name), seed, drill);
  const jwk = JSON.parse(await readFile(at(fleet).ownerKey, 'utf8')) as JsonWebKey;
  const jws = await signReport(report, await importSigningKey(jwk));
  const second = (mark: string): number => ((drill.marks[mark] ?? Number.NaN) - drill.began) / 1000;
  const marks = ([['hurt', 'hurt'], ['recovered', 'recovered'], ['healed', 'healed'], ['failback', 'failing back'], ['last-sent', 'load ends']] as const).map(([mark, label]) => ({ at: second(mark), label })).filter(({ at: time }) => !Number.isNaN(time));
  const [from, to] = [second('hurt'), second('healed')];
  const about = { scenario: name, ok: report.ok, jws };
  const anchors = [...await anchor(cells.map(({ folder }) => folder), about), ...await anchor(record, about)];
  await mkdir(out, { recursive: true });
  await Promise.all([
    writeFile(join(out, 'report.json'), `${JSON.stringify(report, null, 2)}\n`), writeFile(join(out, 'report.jws'), `${jws}\n`), writeFile(join(out, 'audit.json'), `${JSON.stringify(anchors, null, 2)}\n`), writeFile(join(out, 'history.jsonl'), await readFile(drill.recorder.file)),
    writeFile(join(out, 'report.html'), page({ report, series, marks, anchors, ...(Number.isNaN(to) ? {} : { shade: { from, to } }), jws, key: jwk.x ?? '' })),
  ]);
  return report;
}

function print(report: Report, folder: string): void {
  const seconds = (value: number | undefined): string => (value === undefined ? 'not seen' : `${value.toFixed(2)} s`);
  say(`${paint('bold', report.title)}  ${report.ok ? paint('green', 'bounds met') : paint('red', 'bounds missed')}  seed ${report.seed}`);
  say(table(['figure', 'measured', 'bound'], [
    ['recovery', seconds(report.rtoSeconds.total), `${report.bounds.sync.rtoSeconds} s`], ['missing jobs, tier sync', String(report.rpo.tiers.sync.jobs), '0'], ['missing jobs, tier async', `${report.rpo.tiers.async.jobs} over ${seconds(report.rpo.tiers.async.seconds)}`, `${report.bounds.async.rpoSeconds} s`],
    ['lost for good', String(report.lost), '0'], ['counted twice', String(report.duplicated), '0'], ['wrong releases', String(report.falseReleases), '0'], ['fenced writes', `${report.verdict.fencedWrites.accepted} accepted, ${report.verdict.fencedWrites.refused} refused`, '0 accepted'],
    ...report.phases.map(({ direction, phase, seconds: took }) => [`${direction}: ${phase}`, seconds(took), '']),
  ]));
  for (const { kind, what, tenant } of report.violations.slice(0, 10)) note(paint('red', `violation ${kind}: ${what}${tenant === undefined ? '' : ` (${tenant})`}`, process.stderr));
  for (const one of report.missed) note(paint('yellow', `not seen: ${one}`, process.stderr));
  say(paint('yellow', report.notice));
  say(`report: ${join(folder, 'report.html')}`);
}

/** What the processes of each cell said, for whoever asks why: ids, codes and times, by the rules of every log here. */
async function keepLogs(fleet: string, out: string): Promise<void> {
  for (const one of await readdir(fleet, { withFileTypes: true }).catch(() => [])) {
    if (one.isDirectory()) await cp(at(join(fleet, one.name)).logs, join(out, 'logs', one.name), { recursive: true }).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
  }
}

type Summary = ReturnType<typeof summary>;
/** A scenario that could not be played to its end is no success. */
interface Unfinished { readonly ok: false; readonly scenario: string; readonly seed: number; readonly error: { readonly code: string; readonly message: string; readonly next: string } }
type Run = Summary | Unfinished;
/** `all.json`: what a run of all scenarios has so far, for `--resume`. */
interface Begun { readonly v: 'ccc-drill-all/v1'; readonly settings: string; readonly runs: readonly Run[] }

async function begun(file: string, settings: string): Promise<Run[]> {
  const text = await readOptional(file);
  const known = text === undefined ? undefined : JSON.parse(text) as Begun;
  if (known?.settings !== settings) throw new UserError('NOTHING_TO_RESUME', `${file} has no runs with these settings.`, 'Call it without --resume.', EXIT.usage);
  return [...known.runs];
}

async function once(name: ScenarioName, seed: number, options: DrillCommand, folder: string, signal: AbortSignal): Promise<Run> {
  // Short paths: a Unix socket's is limited.
  const cells = await mkdtemp(join(tmpdir(), 'ccc-drill-'));
  const live = progress(name);
  let report: Report | undefined;
  try {
    const record = options.record === undefined ? [] : await cellsIn(resolve(options.record));
    await runDrill({
      scenario: scenario(name), seed, folder: cells, log: createLog('drill', { write: () => {} }), signal, onProgress: live.update, ...(options.rate === undefined ? {} : { rate: options.rate }), ...(options.leaseSeconds === undefined ? {} : { leaseSeconds: options.leaseSeconds }),
      whileUp: async (drill, all) => {
        report = await keep(name, seed, drill, all, join(cells, 'fleet'), folder, record);
        if (!report.ok) await keepLogs(join(cells, 'fleet'), folder);
      },
    });
    if (report === undefined) throw new Error('no report was written');
    live.done(`${report.evidence.seconds.toFixed(0)} s`);
    if (!options.json) print(report, folder);
    return summary(report, folder);
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    live.done(paint('red', `${error.code === UNPLAYABLE ? 'cannot be done here' : 'not finished'}: ${error.message}`, process.stderr));
    note(`  next: ${error.next}`);
    return { ok: false, scenario: name, seed, error: { code: error.code, message: error.message, next: error.next } };
  } finally {
    if (report === undefined) await keepLogs(join(cells, 'fleet'), folder);
    await rm(cells, { recursive: true, force: true });
  }
}

/** 0 bounds met; 1 missed, or not finished; 4 nothing of these, and something cannot be played on this machine. */
export const exitOf = (runs: readonly { readonly ok: boolean; readonly error?: { readonly code: string } }[]): number =>
  runs.every(({ ok }) => ok) ? EXIT.ok : runs.every((run) => run.ok || run.error?.code === UNPLAYABLE) ? EXIT.unavailable : EXIT.failed;

export async function drillFailover(options: DrillCommand): Promise<number> {
  const all = options.scenario === 'all';
  const names = all ? SCENARIOS : SCENARIOS.filter((one) => one === options.scenario);
  if (names.length === 0) throw new UserError('SCENARIO_UNKNOWN', `${options.scenario} is no scenario.`, `Scenarios are ${SCENARIOS.join(', ')} and all.`, EXIT.usage);
  if (options.resume === true && !all) throw new UserError('RESUME_ONE', 'One scenario is run from its beginning.', 'Use --resume with --scenario all.', EXIT.usage);
  const seed = options.seed ?? 1;
  const out = resolve(options.out ?? '.cache/drill');
  const file = join(out, 'all.json');
  const settings = JSON.stringify({ seed, rate: options.rate ?? null, leaseSeconds: options.leaseSeconds ?? null });
  const runs = options.resume === true ? await begun(file, settings) : [];
  const stop = stopSignal();
  const began = performance.now();
  const whole = progress('all');
  const minutes = (): string => `${((performance.now() - began) / 60_000).toFixed(1)} min`;
  const left = names.filter((name) => !runs.some((run) => run.scenario === name));
  for (const [i, name] of left.entries()) {
    if (all) whole.update(`${name}, ${runs.length + 1} of ${names.length}${i === 0 ? '' : `, ${minutes()} so far`}`);
    try {
      runs.push(await once(name, seed, options, all ? join(out, name) : out, stop));
    } catch (error) {
      if (!stop.aborted) throw error;
    }
    if (all) {
      await mkdir(out, { recursive: true });
      await writeWhole(file, `${JSON.stringify({ v: 'ccc-drill-all/v1', settings, runs } satisfies Begun, null, 2)}\n`, 0o644);
    }
    if (stop.aborted) {
      if (all) note(`interrupted after ${minutes()}; ${runs.length === 0 ? 'no scenario was finished' : `reports of ${runs.map(({ scenario: one }) => one).join(', ')} are in ${out}`}. Go on with --resume.`);
      return EXIT.interrupted;
    }
  }
  if (all) whole.done(`${runs.length} scenarios, ${runs.filter(({ ok }) => ok).length} with all bounds met, in ${minutes()}`);
  if (options.json) json(all ? { ok: runs.every(({ ok }) => ok), runs } : runs[0]);
  return exitOf(runs);
}

export async function drillRestore(options: { readonly out?: string; readonly json?: boolean }): Promise<number> {
  const { restoreDrill } = await import('../drill/restore.ts');
  const cells = await mkdtemp(join(tmpdir(), 'ccc-restore-'));
  const stop = stopSignal();
  const live = progress('restore');
  try {
    const report = await restoreDrill({ folder: cells, log: createLog('drill', { write: () => {} }), signal: stop, onProgress: live.update });
    live.done();
    if (options.out !== undefined) {
      await mkdir(options.out, { recursive: true });
      await writeFile(join(options.out, 'restore.json'), `${JSON.stringify(report, null, 2)}\n`);
    }
    if (options.json) json({ ...report, scenario: 'restore', simulated: true, notice: NOTICE });
    else {
      const { audit, backup, restore, results } = report;
      say(`${paint('bold', 'Restore into an empty cell')}  ${report.ok ? paint('green', 'all of it is there') : paint('red', 'not all of it is there')}`);
      say(table(['figure', 'measured'], [
        ['backup', `${(backup.bytes / 1e6).toFixed(1)} MB in ${backup.seconds.toFixed(2)} s, ${backup.megabytesPerSecond.toFixed(0)} MB/s, while the cell worked`], ['restore', `copied in ${restore.copySeconds.toFixed(2)} s, ${restore.megabytesPerSecond.toFixed(0)} MB/s; ready after ${restore.readySeconds.toFixed(1)} s, first result after ${restore.firstResultSeconds.toFixed(1)} s`],
        ['audit chain', `${audit.verified ? 'verified' : 'NOT verified'}, ${audit.entriesRestored} entries; entry ${audit.entriesAtBackup} ${audit.sameHeadAtBackup ? 'is' : 'is NOT'} the head at the backup`], ['results', `${results.same} of ${results.before} the same`], ['jobs since the backup, lost', String(report.lostSinceBackup)],
      ]));
      say(table(['tenant', 'key', 'expected', 'actual', 'code'], report.canaries.map(({ tenant, key, expected, actual, code = '' }) => [tenant, key, expected, actual, code])));
      for (const one of report.notes) note(paint('yellow', one, process.stderr));
      say(paint('yellow', NOTICE));
    }
    return report.ok ? EXIT.ok : EXIT.failed;
  } catch (error) {
    if (stop.aborted) return EXIT.interrupted;
    throw error;
  } finally {
    await rm(cells, { recursive: true, force: true });
  }
}
