/**
 * A seeded part of `npm run fuzz`: some single-byte changes and truncations of each valid vector, and mutations by structure of each format. A new part each
 * day, the same all day; CCC_FUZZ_SEED brings another one back.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Corpus, CORPUS, loadCorpus } from '../../scripts/fuzz/corpus.ts';
import { isFinding } from '../../scripts/fuzz/examine.ts';
import { randomOf } from '../../scripts/fuzz/random.ts';
import { FORMATS } from '../../scripts/fuzz/seeds.ts';
import { type Unit, unitsOf } from '../../scripts/fuzz/units.ts';

const present = existsSync(join(CORPUS, 'MANIFEST.json'));
if (!present) console.warn('no shared vectors: the sample of the fuzzer is skipped');
const SEED = Number(process.env['CCC_FUZZ_SEED'] ?? Math.floor(Date.now() / 86_400_000));
/** Wall time of each part; a slow machine runs fewer cases, of which at least so many. */
const [SWEEP_MS, FORMAT_MS, AT_LEAST] = [6_000, 900, 2] as const;

test('vectors are there where they have to be', () => {
  expect(present || process.env['REQUIRE_ENGINES'] !== '1').toBe(true);
});

async function run(unit: Unit, index: number): Promise<void> {
  const ran = await unit.run(index);
  const said = isFinding(ran.outcome, ran.kind, ran.whole) ? `${ran.outcome}: ${ran.what} (CCC_FUZZ_SEED=${SEED}): ${ran.detail ?? ''}` : '';
  expect(said).toBe('');
}

describe.skipIf(!present)(`seed ${SEED}`, () => {
  let corpus: Corpus;
  let units: Unit[];
  beforeAll(async () => {
    corpus = await loadCorpus();
    units = unitsOf(corpus, { seed: SEED, count: 1_000_000 });
  });

  test('bytes changed and cut off: refused, or the very same claims', async () => {
    const sweeps = units.filter((u) => u.id.startsWith('sweep:'));
    expect(sweeps.length).toBeGreaterThan(corpus.subjects.length);
    const began = performance.now();
    for (let turn = 0; turn < AT_LEAST || performance.now() - began < SWEEP_MS; turn++) {
      for (const [i, unit] of sweeps.entries()) {
        if (turn >= AT_LEAST && performance.now() - began > SWEEP_MS) break;
        await run(unit, randomOf(SEED + i, turn).below(unit.total));
      }
    }
  });

  test.each(FORMATS)('%s mutated by structure', async (format) => {
    const unit = units.find((u) => u.id === format);
    if (unit === undefined) throw new Error(`no seeds of ${format}`);
    const began = performance.now();
    let index = 0;
    for (; index < 80 || performance.now() - began < FORMAT_MS; index++) await run(unit, index);
    expect(index).toBeGreaterThanOrEqual(80);
  });
});
