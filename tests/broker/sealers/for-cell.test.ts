/** Which sealer a cell's broker gets: on hardware the one of its cloud, or none at all; what cell.json names is what the stacks deploy. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { utf8 } from '../../../attestation/bytes.ts';
import { cellFile } from '../../../modules/cell-config.ts';
import { CLOUDS, ENVIRONMENT_NAMES, ENVIRONMENTS } from '../../../modules/environments.ts';
import { sealerFor } from '../../../workloads/broker/sealers/for-cell.ts';
import { surroundings } from '../../../workloads/broker/sealers/call.ts';
import { type CellConfig, cellSchema } from '../../../workloads/protocol/cell.ts';
import { at, resources, strings, templates } from '../../rules/stacks/template.ts';

let folder: string;
beforeAll(async () => { folder = await mkdtemp(join(tmpdir(), 'ccc-sealer-')); });
afterAll(() => rm(folder, { recursive: true, force: true }));

const here = { host: '127.0.0.1', port: 1 };
const deployed = (cloud: (typeof CLOUDS)[number]): CellConfig => cellSchema.parse(JSON.parse(cellFile(ENVIRONMENTS.prod, cloud).json));
const simulated: CellConfig = { cell: 'a', cloud: 'local', region: 'r', epoch: 1, platform: 'aws-nitro', simulated: true, ownerKey: 'A'.repeat(43), gateway: { public: here, internal: here }, broker: here };
const open = (cell: CellConfig, env: Record<string, string> = {}) => sealerFor({ cell, env, around: surroundings(), file: join(folder, 'broker', 'sealer.key'), nothingSealed: async () => true, proveSelf: async () => [] });
const absent = (path: string) => expect.objectContaining({ code: 'KEY_SEALER_ABSENT', reasons: [expect.objectContaining({ path, next: expect.stringMatching(/\w/) })] });

test('a simulated cell seals by a file', async () => {
  const sealer = await open(simulated);
  expect(sealer.describe().backend).toBe('local-file');
  expect(await sealer.open(utf8('a'), await sealer.seal(utf8('a'), utf8('b')))).toEqual(utf8('b'));
});

describe('refused', () => {
  test.each(CLOUDS)('%s: hardware without a sealer, and no file in its stead', async (cloud) => {
    const { sealer: _, ...cell } = deployed(cloud);
    await expect(open(cell)).rejects.toEqual(absent('cell.sealer'));
  });
  test('a simulated cell with a key service', async () => {
    await expect(open({ ...simulated, sealer: deployed('aws').sealer as never })).rejects.toEqual(absent('cell.sealer'));
  });
  test.each(CLOUDS)('%s: the sealer of another cloud', async (cloud) => {
    for (const other of CLOUDS) if (other !== cloud) await expect(open({ ...deployed(cloud), sealer: deployed(other).sealer as never })).rejects.toEqual(absent('cell.sealer.kind'));
  });
  test('a broker on a GKE node: its evidence names no workload', async () => {
    const { brokerPlatform: _, ...cell } = deployed('gcp');
    await expect(open(cell)).rejects.toEqual(absent('cell.sealer.kind'));
  });
  test.each([['aws', '/dev/nsm'], ['azure', '/dev/tpmrm0']] as const)('%s without its hardware', async (cloud, path) => {
    await expect(open(deployed(cloud), { CCC_KEY_URI: 'https://x.vault.azure.net/keys/x' })).rejects.toEqual(expect.objectContaining({ code: 'ATTESTER_ABSENT', reasons: [expect.objectContaining({ path })] }));
  });
});

test('Google\'s opens without asking anybody; the launcher that is not there is said when a key is needed', async () => {
  const sealer = await open(deployed('gcp'));
  expect(sealer.describe()).toMatchObject({ backend: 'gcp-kms', location: expect.stringContaining('cloudkms.googleapis.com') });
  await expect(sealer.seal(utf8('{"cell":"a"}'), utf8('b'))).rejects.toMatchObject({ code: 'ATTESTER_FAILED' });
});

describe.each(ENVIRONMENT_NAMES)('%s: what cell.json names is what is deployed', (environment) => {
  const stack = (cloud: string) => templates().find((t) => t.stack === `ccc-${cloud}-${environment}`) ?? (() => { throw new Error(cloud); })();
  const sealer = <K extends string>(cloud: (typeof CLOUDS)[number], kind: K) => {
    const found = cellSchema.parse(JSON.parse(cellFile(ENVIRONMENTS[environment], cloud).json)).sealer;
    if (found?.kind !== kind) throw new Error(`${cloud}: ${found?.kind}`);
    return found as Extract<NonNullable<CellConfig['sealer']>, { kind: K }>;
  };
  test('aws', () => {
    const aliases = resources(stack('aws'), 'aws_kms_alias').filter(({ body }) => String(body['target_key_id']).includes('data')).map(({ body }) => String(body['name']));
    const { account, region } = ENVIRONMENTS[environment].aws;
    expect(new Set(aliases.map((alias) => `arn:aws:kms:${region}:${account}:${alias}`))).toEqual(new Set([sealer('aws', 'aws-kms').key]));
  });
  test('azure', () => {
    const { vault, attestation } = sealer('azure', 'azure-skr');
    const t = stack('azure');
    expect(resources(t, 'azurerm_key_vault').map(({ body }) => `https://${String(body['name'])}.vault.azure.net`)).toContain(vault);
    const keys = resources(t, 'azapi_resource').filter((b) => /^Microsoft\.KeyVault\/vaults\/keys@/.test(String(b.body['type'])) && !/disk/.test(b.name));
    for (const key of keys) {
      const policy = JSON.parse(Buffer.from(String(at(key.body, 'body', 'properties', 'release_policy', 'data')), 'base64url').toString()) as { anyOf: { authority: string }[] };
      expect([...new Set(policy.anyOf.map(({ authority }) => authority))]).toEqual([attestation]);
      // As the broker's unit gets it, and of the form that the sealer takes
      const brokers = [...strings(t.json)].filter(({ path }) => path.endsWith('.custom_data')).map(({ text }) => Buffer.from(text, 'base64').toString('utf8')).filter((text) => text.includes('CCC_KEY_URI='));
      expect(brokers.length).toBeGreaterThan(0);
      expect(brokers.every((text) => text.includes(`CCC_KEY_URI=${vault}/keys/${String(key.body['name'])}\\n`))).toBe(true);
      expect(String(key.body['name'])).toMatch(/^[a-z0-9-]+-[0-9]{1,5}-[0-9a-f]{8}$/);
    }
    expect(keys).toHaveLength(1);
  });
  test('gcp', () => {
    const { key, audience } = sealer('gcp', 'gcp-kms');
    const t = stack('gcp');
    const ring = resources(t, 'google_kms_key_ring').find(({ body }) => String(body['name']).includes('attested'))?.body ?? {};
    expect(key).toBe(`projects/${ENVIRONMENTS[environment].gcp.project}/locations/${String(ring['location'])}/keyRings/${String(ring['name'])}/cryptoKeys/data`);
    expect(resources(t, 'google_kms_crypto_key').some(({ body }) => body['name'] === 'data')).toBe(true);
    expect(resources(t, 'google_iam_workload_identity_pool_provider').map(({ body }) => at(body, 'oidc', 'allowed_audiences', 0))).toContain(audience);
  });
});
