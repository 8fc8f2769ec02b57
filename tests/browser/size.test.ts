/** The verifier as browsers load it: every platform, appraisal, binding and roots in at most 60 KB of gzip; what reads policies (zod) and tokens (jose) is no part of it. */
import { gzipSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { bundle } from './bundle.ts';

const LIMIT = 60 * 1024;

test('the bundle of the verifier', async () => {
  const { code, parts, imports } = await bundle('verifier.ts');
  const size = gzipSync(code, { level: 9 }).length;
  console.log([`${size} bytes of gzip, ${Buffer.byteLength(code)} minified; of at most ${LIMIT}. Before minifying:`, ...[...parts].map(([name, bytes]) => `${String(bytes).padStart(8)}  ${name}`)].join('\n'));
  expect(imports, 'nothing left to load').toEqual([]);
  for (const adapter of ['aws-nitro', 'azure-cvm', 'gke']) expect(parts.get(`attestation/platforms/${adapter}/verify.ts`), adapter).toBeGreaterThan(1000);
  expect([...parts.keys()].filter((name) => !name.startsWith('attestation/') && !name.startsWith('tests/browser/') && !name.startsWith('\0')), 'packages').toEqual([]);
  expect([...parts.keys()].filter((name) => /\/(?:corpus|simulated)\//.test(name))).toEqual([]);
  expect(size).toBeLessThanOrEqual(LIMIT);
});
