/** Every pin against the genuine certificate, hashed with another implementation. */
import { createHash, X509Certificate } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { text } from '../../../attestation/bytes.ts';
import { ROOT_PURPOSES, type RootPurpose, rootsFor } from '../../../attestation/trust/purposes.ts';
import { PRODUCTION_ROOTS } from '../../../attestation/trust/roots.ts';
import { trustFromPolicy } from '../../../workloads/protocol/appraised.ts';
import { type OwnerPolicy, policySchema } from '../../../workloads/protocol/owner.ts';
import { NO_VECTORS, vector } from '../support.ts';

const FILES: readonly [file: string, ...purposes: RootPurpose[]][] = [
  ['aws-nitro/roots/aws-nitro-root-g1.der', 'aws-nitro'],
  ...(['Milan', 'Genoa', 'Turin'] as const).flatMap((g): [string, ...RootPurpose[]][] => {
    const name = g.toLowerCase();
    return [[`amd-sev-snp/roots/ask_ark_${name}${g === 'Turin' ? '_vcek' : ''}.pem`, `amd-ask/${g}`, `amd-ark/${g}`], [`amd-sev-snp/roots/ask_ark_${name}_vlek.pem`, `amd-asvk/${g}`, `amd-ark/${g}`]];
  }),
  ['intel-tdx/roots/intel-sgx-root-ca.der', 'intel-sgx'],
  ['azure-cvm/roots/azure-virtual-tpm-root-2023.pem', 'azure-vtpm'],
  ['azure-cvm/roots/microsoft-rsa-devices-root-ca-2021.pem', 'azure-vtpm'],
  ['gcp-vtpm/roots/gcp_ek_ak_ca_root.der', 'google-ek-ak'],
  ['gcp-vtpm/roots/tpm_ek_root_1.cer.der', 'google-ek-ak'],
  ['gcp-confidential-space/oak/confidential-space-root.pem', 'google-cs'],
];

const sha256 = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

function certificates(file: string): X509Certificate[] {
  const data = vector(file);
  if (data[0] === 0x30) return [new X509Certificate(data)];
  return [...text(data).matchAll(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g)].map(([pem]) => new X509Certificate(pem));
}

describe.skipIf(NO_VECTORS)('pinned fingerprints are those of the genuine certificates', () => {
  test.each(FILES)('%s', (file, ...purposes) => {
    const found = certificates(file);
    expect(found).toHaveLength(purposes.length);
    for (const [i, certificate] of found.entries()) {
      const spki = certificate.publicKey.export({ type: 'spki', format: 'der' });
      const pin = PRODUCTION_ROOTS.find((r) => r.certSha256 === sha256(certificate.raw));
      expect(pin).toMatchObject({ purpose: purposes[i], spkiSha256: sha256(spki), anchor: 'production' });
    }
  });

  test('no other pin exists but GCE-cc-tcb-root_1, whose certificate is not at hand', () => {
    const known = new Set(FILES.flatMap(([file]) => certificates(file).map((c) => sha256(c.raw))));
    expect(PRODUCTION_ROOTS.filter((r) => !known.has(r.certSha256)).map((r) => r.name)).toEqual(['GCE-cc-tcb-root_1']);
    expect(PRODUCTION_ROOTS.filter((r) => r.spkiSha256 === undefined).map((r) => r.name)).toEqual(['GCE-cc-tcb-root_1']);
  });
});

test('pins are well-formed, each once, each purpose served', () => {
  for (const { certSha256, spkiSha256, anchor } of PRODUCTION_ROOTS) {
    expect(certSha256).toMatch(/^[0-9a-f]{64}$/);
    expect(spkiSha256 ?? '0'.repeat(64)).toMatch(/^[0-9a-f]{64}$/);
    expect(anchor).toBe('production');
  }
  expect(new Set(PRODUCTION_ROOTS.map((r) => r.certSha256)).size).toBe(PRODUCTION_ROOTS.length);
  for (const purpose of ROOT_PURPOSES) expect(rootsFor({ roots: PRODUCTION_ROOTS }, purpose).length).toBeGreaterThan(0);
});

test('a root that names a platform is for that adapter only', () => {
  const [root] = rootsFor({ roots: PRODUCTION_ROOTS }, 'aws-nitro', 'aws-nitro');
  if (root === undefined) throw new Error('no root');
  const roots = [{ ...root, platform: 'other' as 'aws-nitro' }];
  expect(rootsFor({ roots }, 'aws-nitro', 'aws-nitro')).toEqual([]);
  expect(rootsFor({ roots: [{ ...root, platform: undefined } as unknown as typeof root] }, 'aws-nitro', 'aws-nitro')).toHaveLength(1);
  expect(rootsFor({ roots }, 'intel-sgx')).toEqual([]);
});

describe('development roots of an owner\'s policy', () => {
  const schema = policySchema.shape.developmentRoots;
  const root = { platform: 'aws-nitro', name: 'x', certSha256: '00'.repeat(32), spkiSha256: '11'.repeat(32) } as const;

  test('one of Nitro needs no purpose, and has that one', () => {
    expect(schema.safeParse([root]).success).toBe(true);
    const { roots } = trustFromPolicy({ developmentRoots: [root], revoked: [] } as unknown as OwnerPolicy, 0);
    expect(roots.at(-1)).toEqual({ ...root, purpose: 'aws-nitro', anchor: 'development' });
  });

  test('a stated purpose stays; an unknown one is refused', () => {
    const parsed = schema.parse([{ ...root, purpose: 'amd-ark/Genoa' }]);
    expect(trustFromPolicy({ developmentRoots: parsed, revoked: [] } as unknown as OwnerPolicy, 0).roots.at(-1)?.purpose).toBe('amd-ark/Genoa');
    expect(schema.safeParse([{ ...root, purpose: 'amd-ark/Venice' }]).success).toBe(false);
  });
});
