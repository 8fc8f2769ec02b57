/** `npm run fuzz`: every byte changed, every truncation, and mutations by structure, against every verifier that a corpus has vectors for. */
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { note, progress as liveLine, say, table } from '../cli/output.ts';
import { CORPUS, loadCorpus } from './corpus.ts';
import { isFinding } from './examine.ts';
import { stayInThread } from './same-thread.ts';
import { corpusDigest, enter, freshState, keepFinding, progressOf, readState, type State, writeState } from './state.ts';
import { ranges } from './sweep.ts';
import { type Counts, type Unit, unitsOf } from './units.ts';

const USAGE = `usage: npm run fuzz -- [--seconds N] [--kind TEXT]... [--count N] [--seed N] [--resume] [--json] [--folder FOLDER]

  --seconds N     stop after so long (default: when everything is done, which takes hours)
  --kind TEXT     only what contains it: a platform, a kind, a file, or a format (cbor, der, json, tpm, quote, protobuf)
  --count N       mutations per format (default 1000000)
  --seed N        of the mutations (default 1)
  --resume        go on where the last run of this corpus stopped
  --json          one object on standard output
  --folder FOLDER a corpus with MANIFEST.json
exit: 0 nothing found, 1 findings (in .cache/fuzz/findings), 2 usage
`;
const SLICE_MS = { sweep: 30, mutation: 150 } as const;
const SAVE_EVERY_MS = 10_000;
/** What the process may hold: evidence is small, so memory that grows is kept by somebody. */
const RSS_LIMIT_MIB = 1024;

async function slice(unit: Unit, state: State, until: number, findings: string): Promise<void> {
  const progress = progressOf(state, unit);
  while (progress.done < unit.total && performance.now() < until) {
    const ran = await unit.run(progress.done);
    enter(progress, ran);
    if (!isFinding(ran.outcome, ran.kind, ran.whole)) continue;
    state.findings += 1;
    note(`${ran.outcome}: ${ran.what}: ${await keepFinding(findings, ran)}`);
  }
}

const add = (a: Counts, b: Counts): Counts => ({ ...a, ...Object.fromEntries(Object.entries(b).map(([k, n]) => [k, (a[k as keyof Counts] ?? 0) + (n ?? 0)])) });

function report(state: State): { rows: string[][]; idle: { file: string; flips: string; cuts: string }[]; cases: number } {
  const groups = Map.groupBy(Object.values(state.units), (p) => p.group);
  const rows = [...groups].sort().map(([group, list]) => {
    const counts = list.reduce((sum, p) => add(sum, p.counts), {} as Counts);
    const [done, total] = [list.reduce((n, p) => n + p.done, 0), list.reduce((n, p) => n + p.total, 0)];
    return [group, String(done), `${((100 * done) / total).toFixed(1)}%`, ...(['refused', 'same', 'less', 'other', 'error', 'slow'] as const).map((k) => String(counts[k] ?? 0)), Math.max(...list.map((p) => p.slowestMs)).toFixed(1)];
  });
  const idle = Object.entries(state.units).filter(([, p]) => p.idleFlips.length + p.idleCuts.length > 0).map(([id, p]) => ({ file: id.replace('sweep:', ''), flips: ranges(p.idleFlips), cuts: ranges(p.idleCuts) }));
  return { rows, idle, cases: Object.values(state.units).reduce((n, p) => n + p.done, 0) };
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: {
    seconds: { type: 'string' }, kind: { type: 'string', multiple: true }, count: { type: 'string' }, seed: { type: 'string' }, resume: { type: 'boolean' }, json: { type: 'boolean' }, folder: { type: 'string' }, help: { type: 'boolean' },
  } });
  const number = (text: string | undefined, otherwise: number): number => (text === undefined ? otherwise : Number(text));
  const [seconds, count] = [number(values.seconds, Infinity), number(values.count, 1_000_000)];
  const given = values.seed === undefined ? undefined : Number(values.seed);
  if (values.help === true || !(seconds > 0) || !(count > 0) || (given !== undefined && !Number.isSafeInteger(given))) {
    process.stderr.write(USAGE);
    return values.help === true ? 0 : 2;
  }
  const cache = join(ROOT, '.cache', 'fuzz');
  const [file, findings] = [join(cache, 'state.json'), join(cache, 'findings')];
  stayInThread();
  const corpus = await loadCorpus(values.folder ?? CORPUS);
  const digest = corpusDigest(corpus);
  const kept = values.resume === true ? await readState(file, given, digest) : undefined;
  if (values.resume === true && kept === undefined) note('nothing to resume: beginning');
  const state = kept ?? freshState(given ?? 1, digest);
  const units = unitsOf(corpus, { seed: state.seed, count }).filter((u) => values.kind?.some((k) => u.id.includes(k) || u.group.includes(k)) ?? true);
  if (units.length === 0) {
    note(`nothing contains ${values.kind?.join(', ')}`);
    return 2;
  }

  const [began, before] = [performance.now(), state.seconds];
  const end = began + 1000 * seconds;
  const live = liveLine('fuzz');
  let stopped = false;
  let saved = began;
  process.once('SIGINT', () => { stopped = true; });
  const left = () => {
    const all = units.filter((u) => progressOf(state, u).done < u.total);
    return all.some((u) => !u.last) ? all.filter((u) => !u.last) : all;
  };
  for (let todo = left(); todo.length > 0 && !stopped && performance.now() < end; todo = left()) {
    for (const unit of todo) {
      const now = performance.now();
      if (stopped || now >= end) break;
      await slice(unit, state, Math.min(end, now + (unit.id.startsWith('sweep:') ? SLICE_MS.sweep : SLICE_MS.mutation)), findings);
      state.seconds = before + (performance.now() - began) / 1000;
      state.rssMiB = Math.max(state.rssMiB, process.memoryUsage.rss() / 2 ** 20);
      if (process.stderr.isTTY) live.update(`${report(state).cases} cases, ${state.findings} findings; ${unit.id}`);
      if (performance.now() - saved > SAVE_EVERY_MS) {
        await writeState(file, state);
        saved = performance.now();
      }
    }
  }
  live.done();
  await writeState(file, state);
  const { rows, idle, cases } = report(state);
  const bounded = state.rssMiB <= RSS_LIMIT_MIB;
  if (values.json === true) say(JSON.stringify({ ...state, cases, units: undefined, groups: rows, idle }));
  else {
    for (const { file: name, flips, cuts } of idle) say(`${name}: same claims${flips === '' ? '' : `; bytes ${flips.length > 160 ? `${flips.slice(0, 160)}...` : flips}`}${cuts === '' ? '' : `; cut to ${cuts.length > 80 ? `${cuts.slice(0, 80)}...` : cuts}`}`);
    say('');
    say(table(['what', 'cases', 'of all', 'refused', 'same', 'less', 'other', 'error', 'slow', 'slowest ms'], rows));
    say(`${cases} cases in ${state.seconds.toFixed(0)} s, seed ${state.seed}; ${state.findings} findings; memory at most ${state.rssMiB.toFixed(0)} MiB${bounded ? '' : ' (too much)'}`);
    say('same: the claims of the untouched vector (for formats: read without complaint). less: without a fact of an event log. other: other claims, of what nothing signs by itself.');
  }
  return state.findings === 0 && bounded ? 0 : 1;
}

process.exit(await main());
