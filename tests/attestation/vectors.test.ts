/** Genuine evidence of AWS Nitro and what peers made of it: the expected verdict, for the expected reason. */
import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { ChainCache } from '../../attestation/chain-cache.ts';
import { hex, sha256 } from '../../attestation/bytes.ts';
import { parseCoseSign1, sigStructure } from '../../attestation/formats/cose.ts';
import { verifyDocument } from '../../attestation/platforms/aws-nitro/verify.ts';
import type { RefusalCode } from '../../attestation/refusal.ts';
import { rootsFor } from '../../attestation/trust/purposes.ts';
import { PRODUCTION_ROOTS } from '../../attestation/trust/roots.ts';
import { manifest, NO_VECTORS, refused, trustRoot, vector } from './support.ts';

const REASONS: Readonly<Record<string, readonly RefusalCode[]>> = {
  'base/real-2026-01-03-missing-bytes.bin': ['FMT_CBOR'],
  // Two certificates instead of five, under a root of its own
  'oyster/mock-root-2024-12-13.bin': ['CHAIN_ROOT_UNPINNED', 'CHAIN_LEN'],
  'vaportpm/nitrotpm-2026-02-03.bin': ['FMT_NITROTPM'],
  'derived/beta-2022-10-13.sig-last-bit.bin': ['SIG_INVALID'],
  'derived/beta-2022-10-13.payload-bit.bin': ['SIG_INVALID'],
  'derived/beta-2022-10-13.alg-es256.bin': ['COSE_HEADER'],
  'derived/beta-2022-10-13.sig-short.bin': ['COSE_STRUCTURE'],
  'derived/beta-2022-10-13.payload-empty.bin': ['FMT_SIZE'],
  'derived/beta-2022-10-13.trailing-byte.bin': ['FMT_CBOR_TRAILING'],
  'derived/beta-2022-10-13.truncated.bin': ['FMT_CBOR'],
  'derived/beta-2022-10-13.not-array.bin': ['FMT_CBOR'],
  // The leaf is part of the payload, so its change breaks the document's signature too
  'derived/beta-2022-10-13.leaf-cert-sig.bin': ['CHAIN_SIGNATURE', 'SIG_INVALID'],
  'derived/beta-2022-10-13.at-wrong-time.json': ['CHAIN_EXPIRED'],
  'derived/cose_sign1_01.at-wrong-time.json': ['CHAIN_NOT_YET_VALID'],
};

const KINDS = ['nitro-attestation-document', 'nitrotpm-attestation-document', 'scenario'];
const entries = manifest().filter((e) => e.platform === 'aws-nitro' && e.role === 'vector' && KINDS.includes(e.kind));

describe.skipIf(NO_VECTORS)('aws-nitro vectors', () => {
  test('all of them are here', () => {
    expect(entries.length).toBeGreaterThanOrEqual(28);
    const invalid = entries.filter((e) => e.expected === 'invalid').map((e) => e.file.replace('aws-nitro/', ''));
    expect(invalid.sort()).toEqual(Object.keys(REASONS).sort());
  });

  const cache = new ChainCache();
  test.each(entries)('$file is $expected', async ({ file, kind, expected, verified_at, facts }) => {
    const scenario = kind === 'scenario' ? (JSON.parse(new TextDecoder().decode(vector(file))) as { document: string; verify_at: string }) : undefined;
    const document = vector(scenario?.document ?? file);
    const now = Date.parse(scenario?.verify_at ?? (verified_at as string)) / 1000;
    for (const chainCache of [undefined, cache, cache]) {
      const verdict = verifyDocument(document, { roots: PRODUCTION_ROOTS, revoked: [], now, chainCache });
      if (expected === 'invalid') {
        await refused(verdict, ...(REASONS[file.replace('aws-nitro/', '')] ?? []));
        continue;
      }
      const { payload, checks } = await verdict;
      expect(payload.moduleId).toBe(facts?.['module_id']);
      expect(payload.pcrs.size).toBe(facts?.['npcr']);
      expect(payload.publicKey?.length ?? null).toBe(facts?.['public_key']);
      expect(payload.userData?.length ?? null).toBe(facts?.['user_data']);
      expect(payload.nonce?.length ?? null).toBe(facts?.['nonce']);
      expect([0, 1, 2].every((i) => payload.pcrs.get(i)?.every((b) => b === 0))).toBe(facts?.['zero012']);
      expect(checks.every((c) => c.result === 'pass')).toBe(true);
    }
  });

  test('the pinned fingerprints are those of the genuine root', async () => {
    const der = vector('aws-nitro/roots/aws-nitro-root-g1.der');
    const { certSha256, spkiSha256 } = await trustRoot(der);
    expect(rootsFor({ roots: PRODUCTION_ROOTS }, 'aws-nitro')).toEqual([expect.objectContaining({ certSha256, spkiSha256, anchor: 'production', platform: 'aws-nitro' })]);
    expect(certSha256).toBe(createHash('sha256').update(der).digest('hex'));
  });

  test('nothing verifies without roots, nor with this root pinned under another key', async () => {
    const document = vector('aws-nitro/evervault/beta-2022-10-13.bin');
    const now = Date.parse('2022-10-13T08:58:02Z') / 1000;
    const [root] = rootsFor({ roots: PRODUCTION_ROOTS }, 'aws-nitro');
    if (root === undefined) throw new Error('no root');
    await refused(verifyDocument(document, { roots: [], revoked: [], now }), 'CHAIN_ROOT_UNPINNED');
    await refused(verifyDocument(document, { roots: [{ ...root, spkiSha256: '00'.repeat(32) }], revoked: [], now }), 'CHAIN_ROOT_UNPINNED');
  });

  test('Sig_structure of RFC 9052 is the published one', async () => {
    const { protectedHeader, payload } = parseCoseSign1(vector('aws-nitro/libsignal/cose_sign1_01.bin'), 'document');
    expect(hex(await sha256(sigStructure(protectedHeader, payload)))).toBe(hex(await sha256(vector('aws-nitro/libsignal/cose_sign1_01.sig_structure.bin'))));
  });
});
