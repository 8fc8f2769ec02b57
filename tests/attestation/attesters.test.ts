import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { decode, encode } from 'cborg';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { TrustContext } from '../../attestation/adapter.ts';
import { appraise, requireAcceptable } from '../../attestation/appraise.ts';
import { d64, ed25519Spki } from '../../attestation/binding.ts';
import { bytes, fromHex, hex } from '../../attestation/bytes.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { nitroAttester } from '../../attestation/platforms/aws-nitro/attest.ts';
import { awsNitro, verifyDocument } from '../../attestation/platforms/aws-nitro/verify.ts';
import { createDevelopmentRoot, developmentRoot, simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { DEVELOPMENT_ROOT } from '../../attestation/platforms/simulated/pki.ts';
import { adapterFor } from '../../attestation/registry.ts';
import { PRODUCTION_ROOTS } from '../../attestation/trust/roots.ts';
import { BINDING, evidence, EXPECT, filled, NOW, refused, REGISTERS, world } from './support.ts';

describe('simulated TEE', () => {
  let folder: string;
  let clock: number;
  const now = () => clock;
  beforeEach(async () => {
    folder = join(await mkdtemp(join(tmpdir(), 'ccc-root-')), 'simulated');
    clock = NOW * 1000;
    await createDevelopmentRoot(folder, { region: 'local-1', now: NOW });
  });
  afterEach(() => rm(join(folder, '..'), { recursive: true }));

  const trust = async (): Promise<TrustContext> => ({ roots: [...PRODUCTION_ROOTS, await developmentRoot(folder)], revoked: [], now: Math.floor(clock / 1000) });
  const attester = () => simulatedAttester({ folder, registers: REGISTERS, now });

  test('its evidence passes the real verifier, as of a development root', async () => {
    const claims = await awsNitro.verify(await (await attester()).attest({ binding: BINDING }), EXPECT, await trust());
    expect(claims).toMatchObject({ platform: 'aws-nitro', anchor: 'development', cloud: { region: 'local-1', origin: 'asserted' }, guest: { debug: false } });
    expect(claims.measurements.slice(0, 3).map((m) => m.value)).toEqual(Object.values(REGISTERS));
    const policy = { id: 'dev', role: 'counter' as const, references: [{ id: 'tree', platform: 'aws-nitro' as const, registers: REGISTERS }], maxAgeSeconds: 300, scopes: ['enclave' as const] };
    const allowed = await appraise(claims, { ...policy, allowDevelopment: true });
    expect(allowed.status).toBe('warning');
    await refused(async () => requireAcceptable(await appraise(claims, { ...policy, allowDevelopment: false })), 'ANCHOR_DEVELOPMENT');
  });

  test('production trust does not know it', async () => {
    const given = await (await attester()).attest({ binding: BINDING });
    await refused(awsNitro.verify(given, EXPECT, { ...(await trust()), roots: PRODUCTION_ROOTS }), 'CHAIN_ROOT_UNPINNED');
  });

  test('nor does another folder', async () => {
    const other = join(folder, '..', 'other');
    await createDevelopmentRoot(other, { region: 'local-1', now: NOW });
    const given = await (await simulatedAttester({ folder: other, registers: REGISTERS, now })).attest({ binding: BINDING });
    await refused(awsNitro.verify(given, EXPECT, await trust()), 'CHAIN_ROOT_UNPINNED');
  });

  test('the root says what it is; its key is for its owner only', async () => {
    const root = parseCertificate(bytes(await readFile(join(folder, 'root.der'))), 'root');
    expect(root.commonName).toBe(DEVELOPMENT_ROOT);
    expect(root.subjectText).toContain('DEVELOPMENT ROOT');
    expect((await stat(join(folder, 'root.key.json'))).mode & 0o777).toBe(0o600);
    expect((await stat(folder)).mode & 0o777).toBe(0o700);
    expect(await developmentRoot(folder)).toMatchObject({ anchor: 'development', platform: 'aws-nitro' });
  });

  test('a root that is there is kept, the region follows', async () => {
    const before = await developmentRoot(folder);
    await createDevelopmentRoot(folder, { region: 'local-2', now: NOW + 1000 });
    expect(await developmentRoot(folder)).toEqual(before);
    const claims = await awsNitro.verify(await (await attester()).attest({ binding: BINDING }), EXPECT, await trust());
    expect(claims.cloud.region).toBe('local-2');
    await refused(createDevelopmentRoot(folder, { region: 'Not A Region', now: NOW }), 'FMT_FIELD');
  });

  test('the chain stays for a while and is renewed before it expires, also when the clock jumps', async () => {
    const one = await attester();
    const leafAt = async (seconds: number) => {
      clock = seconds * 1000;
      const { chain } = await verifyDocument((await one.attest({ binding: BINDING })).document, await trust());
      return chain.certificates.at(-1)?.serial;
    };
    const first = await leafAt(NOW);
    expect(await leafAt(NOW + 3600)).toBe(first);
    const second = await leafAt(NOW + 2.8 * 3600);
    expect(second).not.toBe(first);
    expect(await leafAt(NOW + 40 * 86_400)).not.toBe(second);
    expect(await leafAt(NOW + 60)).not.toBe(first);
  });

  test('many at once share one chain', async () => {
    const one = await attester();
    const documents = await Promise.all(Array.from({ length: 8 }, (_, i) => one.attest({ binding: { ...BINDING, nonce: filled(32, i) } })));
    const context = await trust();
    const serials = await Promise.all(documents.map(async ({ document }) => (await verifyDocument(document, context)).chain.certificates.map((c) => c.serial).join()));
    expect(new Set(serials).size).toBe(1);
  });

  test('two processes are two instances under one root', async () => {
    const [a, b] = await Promise.all([attester(), attester()]);
    const context = await trust();
    const [x, y] = await Promise.all([a, b].map(async (p) => awsNitro.verify(await p.attest({ binding: BINDING }), EXPECT, context)));
    expect(x?.cloud.instanceId).not.toBe(y?.cloud.instanceId);
  });

  test('refuses a key of another root, registers that are none, another platform', async () => {
    const other = join(folder, '..', 'other');
    await createDevelopmentRoot(other, { region: 'local-1', now: NOW });
    await refused(simulatedAttester({ folder, registers: { ...REGISTERS, PCR1: 'aa' }, now }), 'FMT_PCR');
    await refused((await attester()).attest({ binding: { ...BINDING, platform: 'gke-tdx' as 'aws-nitro' } }), 'BINDING_PLATFORM');
    await writeFile(join(folder, 'root.key.json'), await readFile(join(other, 'root.key.json')));
    await refused(attester(), 'BINDING_KEY');
  });

  test('without a root there is no attester', async () => {
    await expect(simulatedAttester({ folder: join(folder, 'nowhere'), registers: REGISTERS, now })).rejects.toThrow('ENOENT');
  });
});

describe('Nitro Secure Module', () => {
  test('no device, no attester', async () => {
    await refused(() => nitroAttester(), 'ATTESTER_ABSENT');
  });

  test('request and response are those of the module', async () => {
    const { document } = await evidence(await world());
    let request: unknown;
    const attester = nitroAttester(async (data) => {
      request = decode(data, { useMaps: true });
      return bytes(encode({ Attestation: { document } }));
    });
    const given = await attester.attest({ binding: BINDING });
    expect(hex(given.document)).toBe(hex(document));
    expect(request).toEqual(new Map([['Attestation', new Map([['user_data', await d64(BINDING)], ['nonce', BINDING.nonce], ['public_key', ed25519Spki(BINDING.signingKey)]])]]));
    await refused(attester.attest({ binding: { ...BINDING, platform: 'other' as 'aws-nitro' } }), 'BINDING_PLATFORM');
  });

  test('an error or anything else is a refusal', async () => {
    await refused(nitroAttester(async () => bytes(encode({ Error: 'InputTooLarge' }))).attest({ binding: BINDING }), 'ATTESTER_FAILED');
    await refused(nitroAttester(async () => bytes(encode({ Attestation: { document: 'text' } }))).attest({ binding: BINDING }), 'ATTESTER_FAILED');
    await refused(nitroAttester(async () => bytes(encode('x'))).attest({ binding: BINDING }), 'ATTESTER_FAILED');
    await refused(nitroAttester(async () => fromHex('ff')).attest({ binding: BINDING }), 'FMT_CBOR');
  });
});

describe('registry', () => {
  test('knows its platforms only', async () => {
    expect(adapterFor('aws-nitro')).toBe(awsNitro);
    for (const name of ['azure-cvm-snp', '__proto__', 'constructor', 'toString', '']) await refused(() => adapterFor(name as 'aws-nitro'), 'FMT_PLATFORM');
  });
});
