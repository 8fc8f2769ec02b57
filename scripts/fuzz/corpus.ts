/** What is fuzzed: the vectors of a corpus that its manifest calls valid, each with its companions. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { bytes } from '../../attestation/bytes.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import { canonicalJson } from '../../attestation/canonical.ts';
import type { CorpusFile, Judge, Judgement, Vector } from '../../attestation/corpus/judge.ts';
import { judgeFor } from '../../attestation/corpus/registry.ts';
import { inside, readManifest } from '../commands/vectors.ts';

export const CORPUS = fileURLToPath(new URL('../../../shared/vectors', import.meta.url));

export interface Subject {
  readonly vector: Vector;
  readonly judge: Judge;
  /** What the untouched vector gives, canonical: everything of the judgement that a caller sees. */
  readonly claims: string;
}

export const seen = ({ verdict, verdictWithCollateral, claims }: Judgement): string => canonicalJson(JSON.parse(JSON.stringify({ verdict, verdictWithCollateral, claims })));

export interface Corpus { readonly subjects: readonly Subject[]; /** Every file of it, once. */ readonly files: readonly CorpusFile[] }

/** @throws when the folder is absent, a kind is unknown, or a valid vector is refused */
export async function loadCorpus(folder = CORPUS): Promise<Corpus> {
  const entries = await readManifest(folder);
  const files = new Map<string, CorpusFile>();
  for (const { file, platform, kind } of entries) files.set(file, { file, platform, kind, bytes: bytes(await readFile(inside(join(folder), file))) });
  const subjects: Subject[] = [];
  // Warm, as whoever verifies many is
  const chainCache = new ChainCache();
  for (const entry of entries.filter((e) => e.role === 'vector' && e.expected === 'valid')) {
    const judge = judgeFor(entry.platform, entry.kind);
    const file = files.get(entry.file);
    if (judge === undefined || file === undefined) throw new Error(`${entry.file}: nothing judges ${entry.platform}/${entry.kind}`);
    const companions = (entry.companions ?? []).flatMap((name) => files.get(name) ?? []);
    const vector = { ...file, companions, at: typeof entry.verified_at === 'string' ? Date.parse(entry.verified_at) / 1000 : null, chainCache };
    const judgement = await judge(vector);
    if (judgement.verdict !== 'valid') throw new Error(`${entry.file}: refused untouched (${judgement.codes.join(' ')})`);
    subjects.push({ vector, judge, claims: seen(judgement) });
  }
  return { subjects, files: [...files.values()] };
}
