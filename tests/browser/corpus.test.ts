/**
 * The same suite in Node and in a real Chromium: verdicts, codes, claims, and each reason's words are equal, for every vector of the shared corpus and for
 * simulated evidence of every adapter, untouched and damaged. Node's own answers are compared with the manifest elsewhere; here only what differs counts.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CorpusFile, Judgement } from '../../attestation/corpus/judge.ts';
import { manifest, NO_VECTORS, vector } from '../attestation/support.ts';
import { bundle } from './bundle.ts';
import { cases } from './cases.ts';
import { hasChromium, load, type Loaded } from './chromium.ts';
import { type Corpus, judgeAll, verifyAll } from './suite.ts';
import * as verifier from './verifier.ts';
import { fromWire, toWire } from './wire.ts';

const required = process.env['REQUIRE_ENGINES'] === '1';
if (!hasChromium) it.skipIf(!required)('needs Chromium', () => expect.fail('REQUIRE_ENGINES=1, and Chromium is not installed'));

type Entry = ReturnType<typeof manifest>[number] & { readonly companions?: readonly string[] };
type Answer = Judgement & { readonly refused?: { readonly code: string }[]; readonly defect?: string; readonly unknown?: string; readonly appraisal?: { readonly status: string } };

/** Vectors, by name, and the corpus that they are of. */
function readCorpus(): { names: string[]; corpus: Corpus } {
  const entries = manifest() as Entry[];
  const listed = new Map(entries.map((e) => [e.file, e]));
  const files: CorpusFile[] = [];
  const places = new Map<string, number>();
  const place = (file: string, of: Entry): number => {
    const found = places.get(file);
    if (found !== undefined) return found;
    places.set(file, files.length);
    return files.push({ file, platform: listed.get(file)?.platform ?? of.platform, kind: listed.get(file)?.kind ?? 'unlisted', bytes: vector(file) }) - 1;
  };
  const vectors = entries.filter((e) => e.role === 'vector');
  return {
    names: vectors.map((e) => e.file),
    corpus: { vectors: vectors.map((e) => ({ file: place(e.file, e), companions: (e.companions ?? []).map((c) => place(c, e)), at: typeof e.verified_at === 'string' ? Date.parse(e.verified_at) / 1000 : null })), files },
  };
}

/** Every difference, by name; a test of equality that shows one of many is of little help. */
function differences(names: readonly string[], here: readonly string[], there: readonly string[]): Record<string, { node: unknown; browser: unknown }> {
  expect(here.length).toBe(names.length);
  expect(there.length).toBe(names.length);
  return Object.fromEntries(names.flatMap((name, i) => (here[i] === there[i] ? [] : [[name, { node: JSON.parse(here[i] as string), browser: JSON.parse(there[i] as string) }]])));
}

const defects = (names: readonly string[], answers: readonly Answer[]) => names.flatMap((name, i) => (answers[i]?.defect === undefined && answers[i]?.unknown === undefined ? [] : [`${name}: ${answers[i]?.defect ?? 'unknown kind'}`]));

describe.skipIf(!hasChromium)('in Chromium as in Node', () => {
  let chromium: Loaded;
  beforeAll(async () => {
    const [suite, shipped] = await Promise.all([bundle('suite.ts'), bundle('verifier.ts')]);
    expect([...suite.imports, ...shipped.imports], 'nothing left outside the bundles').toEqual([]);
    chromium = await load({ '/suite.js': suite.code, '/verifier.js': shipped.code });
  });
  afterAll(async () => { await chromium?.close(); });

  const judgeThere = (input: string, damage: boolean): Promise<string[]> => chromium.page.evaluate(`import('/suite.js').then((suite) => suite.judgeAll(${JSON.stringify(input)}, ${damage}))`);
  const verifyThere = (input: string): Promise<string[]> => chromium.page.evaluate(`Promise.all([import('/suite.js'), import('/verifier.js')]).then(([suite, verifier]) => suite.verifyAll(${JSON.stringify(input)}, verifier))`);

  it.skipIf(NO_VECTORS)('every vector of the corpus', async () => {
    const { names, corpus } = readCorpus();
    expect(names.length).toBeGreaterThan(150);
    const input = toWire(corpus);
    const [here, there] = await Promise.all([judgeAll(input, false), judgeThere(input, false)]);
    expect(differences(names, here, there)).toEqual({});
    const answers = there.map((text) => fromWire<Answer>(text));
    expect(defects(names, answers)).toEqual([]);
    const expected = new Map((manifest()).map((e) => [e.file, e.expected]));
    expect(answers.map((a) => a.verdict)).toEqual(names.map((n) => expected.get(n)));
    expect(answers.filter((a) => a.verdict === 'valid').every((a) => a.claims !== undefined), 'what is valid has claims to compare').toBe(true);
    expect(answers.filter((a) => a.verdict === 'invalid').every((a) => a.codes.length > 0), 'what is not has codes').toBe(true);
  });

  it.skipIf(NO_VECTORS)('every vector with one bit flipped', async () => {
    const { names, corpus } = readCorpus();
    const input = toWire(corpus);
    const [here, there] = await Promise.all([judgeAll(input, true), judgeThere(input, true)]);
    expect(differences(names, here, there)).toEqual({});
    const answers = there.map((text) => fromWire<Answer>(text));
    expect(defects(names, answers)).toEqual([]);
    expect(new Set(answers.flatMap((a) => a.codes)).size, 'refused for many reasons').toBeGreaterThan(10);
  });

  it('simulated evidence of every adapter, by the bundle that is shipped', async () => {
    const all = await cases();
    const input = toWire(all);
    const [here, there] = await Promise.all([verifyAll(input, verifier), verifyThere(input)]);
    const names = all.map((c) => c.name);
    expect(differences(names, here, there)).toEqual({});
    const answers = there.map((text) => fromWire<Answer>(text));
    expect(defects(names, answers)).toEqual([]);
    for (const [i, name] of names.entries()) {
      if (name.endsWith('as it should be')) expect(answers[i]?.claims, `${name}: ${JSON.stringify(answers[i])}`).toBeDefined();
      if (/cut short|for another|no root|ten years/.test(name)) expect(answers[i]?.refused?.length, name).toBeGreaterThan(0);
    }
    expect(answers[0]?.appraisal?.status).toBe('affirming');
  });

  it('and nothing complained', () => {
    expect(chromium.complaints).toEqual([]);
  });
});
