/** Which attester a cell's process gets: the hardware's, by its devices, for the policy in force; none where they are missing, and none in its stead. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, test } from 'vitest';
import { machineAttesterFor } from '../../attestation/devices/machine.ts';
import type { TpmTransport } from '../../attestation/devices/tpm-transport.ts';
import type { Platform } from '../../attestation/evidence.ts';
import { googleNonces } from '../../attestation/services/google.ts';
import { attesterFor } from '../../workloads/protocol/attester.ts';
import { type CellConfig, cellSchema, endpointsOf, platformOf } from '../../workloads/protocol/cell.ts';
import { BINDING, refused } from '../attestation/support.ts';

const at = { host: '127.0.0.1', port: 1 };
const cell = (platform: Platform, more: Partial<CellConfig> = {}): CellConfig => ({ cell: 'a', cloud: 'aws', region: 'r', epoch: 1, platform, simulated: false, ownerKey: 'A'.repeat(43), gateway: { public: at, internal: at }, broker: at, ...more });
const noPolicy = (): Promise<never> => Promise.reject(new Error('nobody asks before there is evidence to make'));
const none = async (): Promise<readonly string[]> => [];

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (let next = cleanups.pop(); next !== undefined; next = cleanups.pop()) await next();
});
async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'ccc-attester-'));
  cleanups.push(() => rm(made, { recursive: true, force: true }));
  return made;
}

test.each([['aws-nitro', '/dev/nsm'], ['azure-cvm', '/dev/tpmrm0'], ['gke', '/dev/tpmrm0'], ['confidential-space', '/run/container_launcher/teeserver.sock']] as const)('%s without its hardware: no attester, and none in its stead', async (platform, path) => {
  const refusal = await refused(attesterFor(cell(platform), 'counter', '/nowhere', () => 0, noPolicy), 'ATTESTER_ABSENT');
  expect(refusal.reasons[0]?.path).toBe(path);
});

test('a broker gets the attester of its own platform', async () => {
  const google = cell('gke', { brokerPlatform: 'confidential-space' });
  expect([platformOf(google, 'broker'), platformOf(google, 'counter')]).toEqual(['confidential-space', 'gke']);
  expect((await refused(attesterFor(google, 'broker', '/nowhere', () => 0, noPolicy), 'ATTESTER_ABSENT')).reasons[0]?.path).toContain('teeserver.sock');
});

test('a simulated machine that was never made is no machine', async () => {
  await expect(attesterFor(cell('azure-cvm', { simulated: true }), 'counter', await folder(), () => 0, noPolicy)).rejects.toMatchObject({ code: 'ENOENT' });
});

describe('a GKE node', () => {
  it('with a guest device but no reports of the kernel has none: a vTPM does not stand in', async () => {
    const base = await folder();
    await writeFile(join(base, 'sev-guest'), '');
    const refusal = await refused(machineAttesterFor('gke', none, { sevGuest: join(base, 'sev-guest'), tsm: join(base, 'tsm') }), 'ATTESTER_ABSENT');
    expect(refusal.reasons[0]?.path).toBe(join(base, 'tsm'));
  });
});

describe('a vTPM', () => {
  const transport: TpmTransport = { exchange: async () => { throw new Error('asked'); }, close: async () => {} };

  it('is asked to quote what the policy in force compares, and nothing without a policy', async () => {
    let names: readonly string[] = [];
    const attester = await machineAttesterFor('azure-cvm', async () => names, { openTpm: async () => transport });
    const challenge = { binding: { ...BINDING, platform: 'azure-cvm' as const } };
    await refused(attester.attest(challenge), 'POLICY_EMPTY');
    // The next policy has registers: now the TPM is asked.
    names = ['vTPM:PCR4'];
    await expect(attester.attest(challenge)).rejects.toThrow('asked');
  });
});

describe('the launcher of Confidential Space', () => {
  async function launcher(answer: (body: string) => { status: number; body: string | Buffer }): Promise<{ path: string; asked: unknown[] }> {
    const path = join(await folder(), 's');
    const asked: unknown[] = [];
    const server: Server = createServer((request, response) => {
      let body = '';
      request.on('data', (part: Buffer) => { body += part.toString(); }).on('end', () => {
        asked.push([request.method, request.url, JSON.parse(body)]);
        const { status, body: text } = answer(body);
        response.writeHead(status).end(text);
      });
    });
    await new Promise<void>((done) => { server.listen(path, done); });
    cleanups.push(() => new Promise((done) => { server.close(done); server.closeAllConnections(); }));
    return { path, asked };
  }
  const challenge = { binding: { ...BINDING, platform: 'confidential-space' as const } };

  it('is asked for a token with certificates, for this audience and these nonces', async () => {
    const { path, asked } = await launcher(() => ({ status: 200, body: 'a.b.c\n' }));
    const attester = await machineAttesterFor('confidential-space', none, { launcher: path });
    const evidence = await attester.attest(challenge);
    expect([evidence.platform, Buffer.from(evidence.document).toString()]).toEqual(['confidential-space', 'a.b.c']);
    expect(asked).toEqual([['POST', '/v1/token', { audience: BINDING.audience, nonces: await googleNonces(challenge.binding), token_type: 'PKI' }]]);
    await refused(attester.attest({ binding: BINDING }), 'BINDING_PLATFORM');
  });

  it.each<[string, { status: number; body: string | Buffer }]>([['an error', { status: 500, body: 'quota' }], ['nothing', { status: 200, body: '' }], ['too much', { status: 200, body: Buffer.alloc(70_000, 'a') }]])('gives no evidence when it answers with %s', async (_, answer) => {
    const { path } = await launcher(() => answer);
    await refused((await machineAttesterFor('confidential-space', none, { launcher: path })).attest(challenge), 'ATTESTER_FAILED');
  });
});

describe('addresses of vendors in cell.json', () => {
  it('are nobody\'s unless they are stated, and closed', () => {
    expect(endpointsOf({})).toMatchObject({ amdKds: null, intelPcs: null, intelRootCrl: null, azureThim: null, gceEndorsements: null, gceHosts: null, authorities: {}, lists: {}, issuers: {} });
    const stated = cell('gke', { collateral: { amdKds: 'https://kds.example', lists: { aa: 'https://lists.example/aa' } } });
    expect(endpointsOf(cellSchema.parse(stated))).toMatchObject({ amdKds: 'https://kds.example', lists: { aa: 'https://lists.example/aa' }, intelPcs: null });
    for (const collateral of [{ amdKDS: 'https://x.example' }, { amdKds: 'file:///etc' }, { amdKds: null }, { lists: { aa: 'x' } }, { intelUpdate: 'late' }]) expect(cellSchema.safeParse({ ...stated, collateral }).success, JSON.stringify(collateral)).toBe(false);
  });
});
