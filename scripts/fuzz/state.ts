/** How far a run is, kept so that the next one goes on from there. */
import { createHash } from 'node:crypto';
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Corpus } from './corpus.ts';
import type { Counts, Ran, Unit } from './units.ts';

export interface Progress { group: string; done: number; total: number; counts: Counts; slowestMs: number; idleFlips: number[]; idleCuts: number[] }
export interface State { readonly seed: number; readonly corpus: string; seconds: number; rssMiB: number; findings: number; readonly units: Record<string, Progress> }

export const corpusDigest = ({ files }: Corpus): string => {
  const hash = createHash('sha256');
  for (const { file, bytes } of files) hash.update(`${file} ${bytes.length}\n`).update(bytes);
  return hash.digest('hex');
};

export const freshState = (seed: number, corpus: string): State => ({ seed, corpus, seconds: 0, rssMiB: 0, findings: 0, units: {} });

export function progressOf(state: State, { id, group, total }: Unit): Progress {
  const known = state.units[id] ??= { group, done: 0, total, counts: {}, slowestMs: 0, idleFlips: [], idleCuts: [] };
  known.total = total;
  return known;
}

export function enter(progress: Progress, { outcome, ms, idle }: Ran): void {
  progress.done += 1;
  progress.counts[outcome] = (progress.counts[outcome] ?? 0) + 1;
  progress.slowestMs = Math.max(progress.slowestMs, ms);
  if (idle === undefined) return;
  const list = idle.kind === 'flip' ? progress.idleFlips : progress.idleCuts;
  if (!list.includes(idle.offset) && list.length < 20_000) list.push(idle.offset);
}

/** undefined: none, or of another corpus or seed. */
export async function readState(file: string, seed: number | undefined, corpus: string): Promise<State | undefined> {
  try {
    const state = JSON.parse(await readFile(file, 'utf8')) as State;
    return state.corpus === corpus && (seed === undefined || state.seed === seed) ? state : undefined;
  } catch {
    return undefined;
  }
}

/** Whole or not at all. */
export async function writeState(file: string, state: State): Promise<void> {
  await mkdir(dirname(file), { recursive: true });
  await writeFile(`${file}.new`, JSON.stringify(state));
  await rename(`${file}.new`, file);
}

/** The bytes, and beside them what happened. @returns the file of the bytes */
export async function keepFinding(folder: string, ran: Ran): Promise<string> {
  await mkdir(folder, { recursive: true });
  const name = join(folder, `${ran.outcome}-${createHash('sha256').update(ran.bytes).update(ran.what).digest('hex').slice(0, 16)}`);
  await writeFile(`${name}.bin`, ran.bytes);
  await writeFile(`${name}.txt`, `${ran.what}\n${ran.outcome}, ${ran.ms.toFixed(1)} ms\n${ran.detail ?? ''}\n`);
  return `${name}.bin`;
}
