/**
 * D59: whatever is done to the bytes of a genuine document, the answer is a refusal, soon, and never another error. One document in
 * memory is changed at every offset; signatures are the cost, so their number is what is sampled.
 */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { parseCoseSign1 } from '../../attestation/formats/cose.ts';
import { parseNsmPayload } from '../../attestation/formats/nsm.ts';
import { awsNitro, verifyDocument } from '../../attestation/platforms/aws-nitro/verify.ts';
import { Refusal, type RefusalCode } from '../../attestation/refusal.ts';
import type { TrustContext } from '../../attestation/adapter.ts';
import { PRODUCTION_ROOTS } from '../../attestation/trust/roots.ts';
import { evidence, EXPECT, NO_VECTORS, vector, world } from './support.ts';
import { cpuMs } from '../cpu.ts';

/** Full verifications per document; each costs up to five signatures. */
const SAMPLE = 220;
/** Nothing that the format accepts may take more processor time. */
const SLOW_MS = 2_000;

async function codeOf(document: Bytes, trust: TrustContext): Promise<RefusalCode | 'accepted'> {
  const start = cpuMs();
  try {
    await verifyDocument(document, trust);
    return 'accepted';
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.code;
  } finally {
    expect(cpuMs() - start).toBeLessThan(SLOW_MS);
  }
}

function flipped(document: Bytes, at: number, mask: number): Bytes {
  const copy = bytes(document);
  copy[at] = (copy[at] as number) ^ mask;
  return copy;
}

/** Parsers alone, at every offset: cheap enough for all of them. */
function parses(document: Bytes): boolean {
  try {
    parseNsmPayload(parseCoseSign1(document, 'document').payload, 'document');
    return true;
  } catch (error) {
    expect(error).toBeInstanceOf(Refusal);
    return false;
  }
}

const GENUINE = ['aws-nitro/dstack/app-2025-12-25.bin', 'aws-nitro/evervault/beta-2022-10-13.bin'];
const AT: Record<string, number> = { 'aws-nitro/dstack/app-2025-12-25.bin': Date.parse('2025-12-25T16:04:19Z') / 1000, 'aws-nitro/evervault/beta-2022-10-13.bin': Date.parse('2022-10-13T08:58:02Z') / 1000 };

describe.skipIf(NO_VECTORS).each(GENUINE)('%s', (file) => {
  let document: Bytes;
  let trust: TrustContext;
  beforeAll(async () => {
    document = vector(file);
    trust = { roots: PRODUCTION_ROOTS, revoked: [], now: AT[file] as number };
    expect(await codeOf(document, trust)).toBe('accepted');
  });

  test('every truncation', async () => {
    for (let length = 0; length < document.length; length++) expect(parses(document.slice(0, length))).toBe(false);
    for (const length of [0, 1, 9, 100, document.length - 96, document.length - 1]) expect(await codeOf(document.slice(0, length), trust)).not.toBe('accepted');
  });

  test('every bit flip parses or is refused', () => {
    for (let at = 0; at < document.length; at++) for (const mask of [0x01, 0x20, 0x80]) parses(flipped(document, at, mask));
  });

  test('flips spread over the document are refused, whatever they hit', async () => {
    const step = Math.ceil(document.length / SAMPLE);
    const codes = new Set<string>();
    for (let at = 0; at < document.length; at += step) codes.add(await codeOf(flipped(document, at, 1 << (at % 8)), trust));
    expect(codes).not.toContain('accepted');
    expect(codes.size).toBeGreaterThan(3);
  });
});

test('random edits of a simulated document are refused by the whole verifier, live and replay', async () => {
  const w = await world();
  const { document } = await evidence(w);
  const edit = fc.oneof(
    fc.tuple(fc.nat(), fc.integer({ min: 1, max: 255 })).map(([at, mask]) => flipped(document, at % document.length, mask)),
    fc.tuple(fc.nat(), fc.uint8Array({ minLength: 1, maxLength: 16 })).map(([at, extra]) => bytes([...document.slice(0, at % document.length), ...extra, ...document.slice(at % document.length)])),
    fc.tuple(fc.nat(), fc.integer({ min: 1, max: 64 })).map(([at, n]) => bytes([...document.slice(0, at % document.length), ...document.slice((at % document.length) + n)])),
    fc.uint8Array({ maxLength: 600 }).map((b) => bytes(b)),
  );
  await fc.assert(fc.asyncProperty(edit, async (changed) => {
    fc.pre(Buffer.compare(changed, document) !== 0);
    const given = { platform: 'aws-nitro', document: changed } as const;
    await expect(awsNitro.verify(given, EXPECT, w.trust)).rejects.toBeInstanceOf(Refusal);
    await expect(awsNitro.verifyReplay(given, EXPECT, w.trust)).rejects.toBeInstanceOf(Refusal);
  }), { numRuns: 150 });
});
