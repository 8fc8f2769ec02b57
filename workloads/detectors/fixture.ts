/**
 * A detector that looks nothing up but a picture's digest in a file: for measuring everything around the counting. Its name is in every result that it gives, and
 * an owner's policy that lists it is refused unless it trusts development roots (workloads/protocol/owner.ts), so no production cell signs what it says.
 *
 * The file: JSON `{"counts": {"<SHA-256 of the picture, hex>": cats}}`. Its own digest is the model's.
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { FIXTURE_NAME } from '../protocol/owner.ts';
import type { CountResult } from '../protocol/messages.ts';
import { sha256Hex } from './cache.ts';

/** How the name of such a file ends. */
export const FIXTURE_ENDING = '.fixture.json';
export const FIXTURE_THRESHOLD = 0.5;

const fixtureSchema = z.strictObject({ counts: z.record(z.string().regex(/^[0-9a-f]{64}$/), z.number().int().min(0).max(100)) });

export class FixtureRefused extends Error {
  override readonly name = 'FixtureRefused';
  readonly code: 'FIXTURE_FORMAT' | 'FIXTURE_UNKNOWN';
  constructor(code: FixtureRefused['code'], message: string) {
    super(message);
    this.code = code;
  }
}

export const fixtureModel = (file: Uint8Array): CountResult['model'] => ({ name: FIXTURE_NAME, digest: sha256Hex(file), threshold: FIXTURE_THRESHOLD });

/** @throws FixtureRefused for a file of another form; for a picture that is not in it, which is no fault of the picture */
export async function loadFixture(path: string): Promise<{ readonly model: CountResult['model']; readonly atOnce: number; work(bytes: Uint8Array): Promise<CountResult> }> {
  const file = await readFile(path);
  let counts: ReadonlyMap<string, number>;
  try {
    counts = new Map(Object.entries(fixtureSchema.parse(JSON.parse(file.toString('utf8'))).counts));
  } catch {
    throw new FixtureRefused('FIXTURE_FORMAT', `${path} is no file of counts`);
  }
  const model = fixtureModel(file);
  return {
    model, atOnce: 2,
    async work(bytes) {
      const count = counts.get(sha256Hex(bytes));
      if (count === undefined) throw new FixtureRefused('FIXTURE_UNKNOWN', 'this picture is not in the file of counts');
      return { count, method: FIXTURE_NAME, model };
    },
  };
}
