/** Devices are of the attesters, never of a verifier. */
import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { importClosure } from '../../workloads/protocol/measure.ts';

const ATTESTATION = fileURLToPath(new URL('../../attestation/', import.meta.url));

test('no verifier reaches a device', async () => {
  for (const entry of ['registry.ts', 'examine.ts', 'corpus/registry.ts']) {
    const { files, packages } = await importClosure(`attestation/${entry}`);
    expect(files.filter((f) => f.includes('/devices/') || f.endsWith('/attest.ts')), entry).toEqual([]);
    expect(packages).not.toContain('koffi');
  }
  const users = readdirSync(ATTESTATION, { recursive: true, encoding: 'utf8' }).filter((f) => f.endsWith('.ts') && !f.startsWith('devices/') && /from '[^']*devices\//.test(readFileSync(`${ATTESTATION}${f}`, 'utf8')));
  expect(users.sort()).toEqual(['platforms/azure-cvm/attest.ts', 'platforms/gke/attest.ts']);
});
