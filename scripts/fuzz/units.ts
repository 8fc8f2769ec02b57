/** What there is to run: one sweep per vector, one of what is beside it, one stream of mutations per format. A unit knows how far it is and what came out. */
import type { Bytes } from '../../attestation/bytes.ts';
import type { CorpusFile } from '../../attestation/corpus/judge.ts';
import type { Corpus, Subject } from './corpus.ts';
import { examineReader, examineVector, type Outcome, type Result } from './examine.ts';
import { mutate } from './mutate.ts';
import { randomOf } from './random.ts';
import { FORMATS, type Format, type Seed, seedsOf } from './seeds.ts';
import { stride, sweepCase, sweepSize } from './sweep.ts';
import { write } from './tree.ts';

/** Every so many mutations of a vector go through its whole verifier. */
export const JUDGED_EVERY = 40;

export interface Ran extends Result { readonly what: string; readonly bytes: Bytes; readonly kind: string; /** By structure. */ readonly whole: boolean; /** Bytes that make no difference. */ readonly idle?: { readonly kind: 'flip' | 'truncation'; readonly offset: number } }

export interface Unit {
  /** `sweep:FILE` or a format. */
  readonly id: string;
  /** What the counts of the report go by. */
  readonly group: string;
  readonly total: number;
  /** What is beside the vectors comes when nothing else is left. */
  readonly last: boolean;
  run(index: number): Promise<Ran>;
}

function sweepUnit(subject: Subject): Unit {
  const { file, platform, kind, bytes } = subject.vector;
  return {
    id: `sweep:${file}`, group: `${platform}/${kind}`, total: sweepSize(bytes.length), last: false,
    async run(index) {
      const made = sweepCase(bytes, index);
      const result = await examineVector(subject, made.bytes);
      return { ...result, what: `${file}: ${made.what}`, bytes: made.bytes, kind, whole: false, ...(result.outcome === 'same' ? { idle: { kind: made.kind, offset: made.offset } } : {}) };
    },
  };
}

/** The vector as it is, one byte of what is beside it changed. */
function companionUnit(subject: Subject): Unit {
  const { file, platform, kind, bytes, companions } = subject.vector;
  const sizes = companions.map((c) => sweepSize(c.bytes.length));
  const total = sizes.reduce((n, size) => n + size, 0);
  const step = BigInt(stride(Math.max(1, total)));
  return {
    id: `sweep:${file} companions`, group: `${platform}, companions`, total, last: true,
    async run(index) {
      let turn = Number((BigInt(index) * step) % BigInt(total));
      const which = sizes.findIndex((size) => turn < size || ((turn -= size), false));
      const made = sweepCase((companions[which] as CorpusFile).bytes, turn);
      const result = await examineVector(subject, bytes, companions.map((c, i) => (i === which ? { ...c, bytes: made.bytes } : c)));
      return { ...result, what: `${file} with ${companions[which]?.file}: ${made.what}`, bytes: made.bytes, kind, whole: false };
    },
  };
}

function mutationUnit(format: Format, seeds: readonly Seed[], total: number, seed: number): Unit {
  return {
    id: format, group: format, total, last: false,
    async run(index) {
      const random = randomOf(seed, index);
      const { name, tree, read, subject } = random.pick(seeds);
      const bytes = write(mutate(tree, random));
      const about = { what: `${name}: mutation ${index} of seed ${seed}`, bytes, whole: true };
      const first = await examineReader(read, bytes);
      if (subject === undefined || first.outcome === 'error' || first.outcome === 'slow' || index % JUDGED_EVERY !== 0) return { ...first, ...about, kind: format };
      return { ...await examineVector(subject, bytes), ...about, kind: subject.vector.kind };
    },
  };
}

/** @param count mutations per format */
export function unitsOf(corpus: Corpus, { seed, count }: { seed: number; count: number }): Unit[] {
  const seeds = seedsOf(corpus);
  return [...corpus.subjects.map(sweepUnit), ...FORMATS.filter((format) => seeds[format].length > 0).map((format) => mutationUnit(format, seeds[format], count, seed)), ...corpus.subjects.filter(({ vector }) => vector.companions.length > 0).map(companionUnit)];
}

export type Counts = Partial<Record<Outcome, number>>;
