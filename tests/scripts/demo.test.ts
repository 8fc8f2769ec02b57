/** The front door: `npm run demo -- --json`, as a newcomer or a script calls it. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { execa } from 'execa';
import { describe, expect, it } from 'vitest';
import { z } from 'zod';
import { ROOT } from '../../workloads/protocol/measure.ts';

const box = z.object({ x: z.number(), y: z.number(), w: z.number().positive(), h: z.number().positive(), score: z.number() });
const document = z.object({
  ok: z.literal(true),
  pictures: z.array(z.object({
    file: z.string(), expected: z.number().int().optional(), hard: z.literal(true).optional(), counted: z.number().int(), boxes: z.array(box),
    platform: z.literal('aws-nitro'), claimsDigest: z.string().regex(/^[0-9a-f]{64}$/), receipt: z.looseObject({ v: z.literal('ccc-receipt/v1'), simulated: z.literal(true) }), ms: z.number(),
  })),
  seconds: z.object({ install: z.number(), start: z.number(), firstCount: z.number() }),
  notice: z.literal('simulated TEE: proves nothing about hardware'),
});

describe('npm run demo -- --json', () => {
  it('prints one document: every result verified, every expected number counted; its receipts are for this owner only', async () => {
    const run = await execa('npm', ['run', 'demo', '--', '--json'], { cwd: ROOT, reject: false, env: { npm_config_loglevel: undefined } });
    expect(run.exitCode, run.stderr.slice(-2000)).toBe(0);
    const { pictures } = document.parse(JSON.parse(run.stdout));
    const known = pictures.filter((p) => p.expected !== undefined);
    expect(known.length).toBeGreaterThanOrEqual(5);
    for (const p of known) expect({ file: p.file, counted: p.counted, boxes: p.boxes.length }).toEqual({ file: p.file, counted: p.expected, boxes: p.expected });
    expect(pictures.filter((p) => p.hard).map((p) => p.expected)).toEqual([undefined]);

    // The owner's key of that cell is gone with its folder; another owner's must not do.
    const folder = await mkdtemp(join(tmpdir(), 'ccc-receipt-'));
    try {
      const path = join(folder, 'receipt.json');
      await writeFile(path, JSON.stringify(pictures[0]?.receipt));
      const verify = await execa(process.execPath, [join(ROOT, 'scripts/ccc.ts'), 'verify', path, '--owner', 'A'.repeat(43), '--json'], { reject: false });
      expect([verify.exitCode, JSON.parse(verify.stdout).error.code]).toEqual([3, 'RECEIPT_OWNER']);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  });
});
