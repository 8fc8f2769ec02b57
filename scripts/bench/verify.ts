/** A Nitro document, verified cold and warm, against one bare P-384 verification by WebCrypto. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TrustContext } from '../../attestation/adapter.ts';
import { type Bytes, randomBytes } from '../../attestation/bytes.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import type { BindingFields } from '../../attestation/evidence.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import { createDevelopmentRoot, developmentRoot, simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { load } from './machine.ts';
import { atMost, ms, ratio, type Section } from './section.ts';
import { interleaved } from './stats.ts';

const ES384 = { name: 'ECDSA', hash: 'SHA-384' } as const;
/** What a leaf signs: the size of a genuine document's Sig_structure. */
const SIGNED_BYTES = 4_600;

const binding = (): BindingFields => ({
  platform: 'aws-nitro', role: 'counter', cell: 'bench', challengeId: randomBytes(16), nonce: randomBytes(32), audience: 'bench', receivingKey: randomBytes(1216),
  signingKey: randomBytes(32), tlsSpkiSha256: new Uint8Array(0), policyDigest: randomBytes(32), configDigest: randomBytes(32), payloadDigest: new Uint8Array(32),
});

async function bareVerify(): Promise<() => Promise<void>> {
  const { publicKey, privateKey } = await crypto.subtle.generateKey({ name: 'ECDSA', namedCurve: 'P-384' }, false, ['sign', 'verify']);
  const signed: Bytes = randomBytes(SIGNED_BYTES);
  const signature = await crypto.subtle.sign(ES384, privateKey, signed);
  return async () => {
    if (!(await crypto.subtle.verify(ES384, publicKey, signature, signed))) throw new Error('a good signature does not verify');
  };
}

export async function verifying(rounds: number): Promise<Section> {
  const folder = await mkdtemp(join(tmpdir(), 'ccc-bench-'));
  try {
    const now = Math.floor(Date.now() / 1000);
    await createDevelopmentRoot(folder, { region: 'bench-1', now });
    const register = 'a'.repeat(96);
    const attester = await simulatedAttester({ folder, registers: { PCR0: register, PCR1: register, PCR2: register }, now: Date.now });
    const trust: TrustContext = { roots: [await developmentRoot(folder)], revoked: [], now };
    // Another document of the same enclave each time, as a counter that renews its session sends.
    const given = await Promise.all(Array.from({ length: 16 }, async () => {
      const fields = binding();
      return { evidence: await attester.attest({ binding: fields }), expect: { platform: 'aws-nitro' as const, binding: fields, maxAgeSeconds: 3600 } };
    }));
    let turn = 0;
    const next = () => given[turn++ % given.length] as (typeof given)[number];
    const chainCache = new ChainCache();
    const bare = await bareVerify();
    const times = await interleaved(rounds, {
      'one bare P-384 verification': bare,
      'two at once': () => Promise.all([bare(), bare()]),
      'document, cold': () => { const { evidence, expect } = next(); return awsNitro.verify(evidence, expect, trust); },
      'document, warm': () => { const { evidence, expect } = next(); return awsNitro.verify(evidence, expect, { ...trust, chainCache }); },
    }, { warmup: 60 });
    const one = times['one bare P-384 verification'];
    return {
      title: 'Verifying a Nitro document',
      about: [
        'Milliseconds from bytes to claims: CBOR, COSE, five certificates, chain, names, times, binding. Cold: the signatures of regional, zonal, instance and leaf certificate and of the document.',
        'Warm: the certificates\' are in the chain cache, the document\'s is verified each time. Simulated evidence, which has the format, the chain and the size of genuine documents. Signatures are checked side by side, so two cores help; CPU time has all of it.',
      ],
      head: ['what', 'ms, minimum', 'ms, median', 'ms, p99', 'of a bare verification (median)', 'CPU ms'],
      rows: Object.entries(times).map(([name, t]) => [name, ms(t.min), ms(t.median), ms(t.p99), ratio(t.median / one.median), ms(t.cpu)]),
      goals: [atMost('warm / bare verification', times['document, warm'].median / one.median, 2.2)],
      load: load(),
    };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
