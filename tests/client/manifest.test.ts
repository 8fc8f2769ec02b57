import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { bytes, fromB64u, utf8 } from '../../attestation/bytes.ts';
import { type Api, createApi } from '../../workloads/client/api.ts';
import { encryptionKey, newManifestRequest, requestManifest, requireAllowed, verifyManifest } from '../../workloads/client/manifest.ts';
import { memorySeen, type SeenStore } from '../../workloads/client/seen.ts';
import type { StepReport } from '../../workloads/client/steps.ts';
import { generateSigningKey } from '../../workloads/protocol/jws.ts';
import { codesOf } from '../protocol/refusals.ts';
import { CELL, createFixture, type Fixture, type ManifestLies, NOW, REGISTERS, TENANT, ZONE } from './fixture.ts';

let f: Fixture;
beforeAll(async () => { f = await createFixture(); });
afterAll(() => f.dispose());

const audience = 'https://client.example';
async function verify(lies: ManifestLies = {}, changed: Partial<Parameters<typeof verifyManifest>[0]> = {}) {
  const request = newManifestRequest(audience);
  return verifyManifest({ request, response: await f.respond(request, lies), ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, now: NOW, seen: memorySeen(), ...changed });
}

describe('key manifest', () => {
  it('is believed when everything holds, and every step is reported', async () => {
    const reports: StepReport[] = [];
    const verified = await verify({}, { onStep: (r) => reports.push(r), cell: CELL });
    expect(verified.manifest.keys).toEqual([f.tenantKey]);
    expect([verified.simulated, verified.appraisal.status, verified.cell.name]).toEqual([true, 'warning', CELL]);
    expect(reports.filter((r) => r.status === 'pass').map((r) => r.step)).toEqual(['policy', 'directory', 'evidence', 'manifest']);
    expect(reports.every((r) => r.status !== 'fail')).toBe(true);
  });

  it('reports the step that fails', async () => {
    const reports: StepReport[] = [];
    await expect(verify({ manifest: { tenant_id: 'globex' } }, { onStep: (r) => reports.push(r) })).rejects.toThrow('MANIFEST_TENANT');
    expect(reports.at(-1)).toMatchObject({ step: 'manifest', status: 'fail' });
    expect(reports.at(-1)?.detail).toContain('MANIFEST_TENANT');
  });

  const other = async () => generateSigningKey();
  const flipped = (text: string, at: number) => { const b = bytes(fromB64u(text)); b[at]! ^= 1; return b; };
  const lies: [string, string, () => Promise<ManifestLies> | ManifestLies][] = [
    ['a policy that somebody else signed', 'POLICY_SIGNATURE', async () => ({ policyJws: await f.signPolicy({}, await other()) })],
    ['a policy that has ended', 'POLICY_EXPIRED', async () => ({ policyJws: await f.signPolicy({ notAfter: NOW - 1 }) })],
    ['a policy with a misspelled field', 'POLICY_FORMAT', async () => ({ policyJws: await f.signPolicy({ revokd: [] } as object) })],
    ['a directory that somebody else signed', 'DIRECTORY_SIGNATURE', async () => ({ directoryJws: await f.signDirectory({}, await other()) })],
    ['a directory that has ended', 'DIRECTORY_EXPIRED', async () => ({ directoryJws: await f.signDirectory({ notAfter: NOW - 1 }) })],
    ['a directory of another form', 'DIRECTORY_FORMAT', async () => ({ directoryJws: await f.signDirectory({ cells: [] }) })],
    ['a directory as policy', 'POLICY_SIGNATURE', async () => ({ policyJws: await f.signDirectory() })],
    ['a policy as directory', 'DIRECTORY_SIGNATURE', async () => ({ directoryJws: await f.signPolicy() })],
    ['a cell that the owner does not list', 'DIRECTORY_CELL', () => ({ binding: { cell: 'elsewhere' } })],
    ['a counter\'s evidence', 'BINDING_ROLE', async () => ({ workload: await f.workload('counter') })],
    ['a counter\'s evidence that calls itself a broker\'s', 'MEASUREMENT_MISMATCH', async () => ({ workload: await f.workload('broker', REGISTERS.counter) })],
    ['evidence over another challenge', 'BINDING_CHALLENGE', () => ({ binding: { challengeId: new Uint8Array(16) } })],
    ['evidence over another nonce', 'NONCE_MISMATCH', () => ({ binding: { nonce: new Uint8Array(32) } })],
    ['evidence for somebody else', 'BINDING_AUDIENCE', () => ({ binding: { audience: 'https://other.example' } })],
    ['evidence under another policy', 'BINDING_POLICY', () => ({ binding: { policyDigest: new Uint8Array(32) } })],
    ['evidence under another configuration', 'BINDING_CONFIG', () => ({ binding: { configDigest: new Uint8Array(32) } })],
    ['other manifest bytes than the evidence covers', 'BINDING_PAYLOAD', () => ({ swapped: utf8('{}') })],
    ['another tenant\'s manifest', 'MANIFEST_TENANT', () => ({ manifest: { tenant_id: 'globex' } })],
    ['a manifest of another zone', 'ZONE_DENIED', () => ({ manifest: { zone: 'there' } })],
    ['a manifest of another cell', 'DIRECTORY_CELL', () => ({ manifest: { cell: 'south' } })],
    ['a manifest of another epoch', 'DIRECTORY_CELL', () => ({ manifest: { epoch: 1 } })],
    ['a manifest of another policy', 'BINDING_POLICY', () => ({ manifest: { policy_digest: 'A'.repeat(43) } })],
    ['a manifest of another policy revision', 'BINDING_POLICY', () => ({ manifest: { policy_revision: 6 } })],
    ['a manifest with another signing key', 'MANIFEST_BROKER', async () => ({ manifest: { broker: { instance: 'broker-1', signing_key: 'A'.repeat(43), receiving_key: f.tenantKey.public } } })],
    ['bytes that are no manifest', 'MANIFEST_FORMAT', () => ({ exact: utf8('{"v":"ccc-manifest/v2"}') })],
    ['bytes that are no text', 'MANIFEST_FORMAT', () => ({ exact: bytes([0xff, 0xfe]) })],
  ];
  it.each(lies)('refuses %s: %s', async (_, code, make) => {
    const seen = memorySeen();
    expect(await codesOf(async () => verify(await make(), { seen }))).toContain(code);
    expect(seen.entries()).toEqual([]);
  });

  it('refuses another cell than the one that was asked', async () => {
    expect(await codesOf(() => verify({}, { cell: 'south' }))).toEqual(['DIRECTORY_CELL']);
  });

  it('refuses evidence that was altered on the way', async () => {
    const request = newManifestRequest(audience);
    const response = await f.respond(request);
    const { document } = response.evidence;
    for (const at of [40, fromB64u(document).length - 1]) {
      const altered = { ...response, evidence: { ...response.evidence, document: Buffer.from(flipped(document, at)).toString('base64url') } };
      expect((await codesOf(() => verifyManifest({ request, response: altered, ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, now: NOW, seen: memorySeen() }))).length).toBeGreaterThan(0);
    }
  });

  it('refuses an answer to another request, and an old one', async () => {
    const asked = newManifestRequest(audience);
    const response = await f.respond(newManifestRequest(audience));
    expect(await codesOf(() => verify({}, { request: asked, response }))).toEqual(['BINDING_CHALLENGE', 'NONCE_MISMATCH']);
    expect(await codesOf(() => verify({}, { now: NOW + 301 }))).toContain('STALE');
  });

  it('trusts no development root that the owner does not name', async () => {
    const policyJws = await f.signPolicy({ developmentRoots: [] });
    expect(await codesOf(() => verify({ policyJws }))).toContain('CHAIN_ROOT_UNPINNED');
    const forbidden = await f.signPolicy({ roles: { ...f.policy.roles, broker: { ...f.policy.roles.broker, allowDevelopment: false } } });
    expect(await codesOf(() => verify({ policyJws: forbidden }))).toContain('ANCHOR_DEVELOPMENT');
  });

  describe('remembers what it has seen', () => {
    const twice = async (first: () => Promise<ManifestLies>, second: () => Promise<ManifestLies>, seen: SeenStore = memorySeen()) => {
      await verify(await first(), { seen });
      return codesOf(async () => verify(await second(), { seen }));
    };
    const head = (seq: number, fill: number) => async () => ({ manifest: { receipts_head: { seq, digest: Buffer.alloc(32, fill).toString('base64url') } } });

    it('refuses an older policy, and another one of the same revision', async () => {
      const revision = (n: number, more = {}) => async () => ({ policyJws: await f.signPolicy({ revision: n, ...more }) });
      expect(await twice(revision(8), revision(7))).toEqual(['POLICY_ROLLBACK']);
      expect(await twice(revision(8), revision(8, { deployment: 'fork' }))).toEqual(['POLICY_ROLLBACK']);
    });
    it('refuses an older directory, and another one of the same revision', async () => {
      const revision = (n: number, more = {}) => async () => ({ directoryJws: await f.signDirectory({ revision: n, ...more }) });
      expect(await twice(revision(4), revision(3))).toEqual(['DIRECTORY_ROLLBACK']);
      expect(await twice(revision(4), revision(4, { deployment: 'fork' }))).toEqual(['DIRECTORY_ROLLBACK']);
    });
    it('refuses an older head of the receipts, and another one of the same number', async () => {
      expect(await twice(head(9, 9), head(8, 8))).toEqual(['MANIFEST_ROLLBACK']);
      expect(await twice(head(9, 9), head(9, 1))).toEqual(['MANIFEST_ROLLBACK']);
    });
    it('accepts the same again, and newer ones', async () => {
      const seen = memorySeen();
      await verify({}, { seen });
      await verify({}, { seen });
      await verify({ policyJws: await f.signPolicy({ revision: 8 }), directoryJws: await f.signDirectory({ revision: 4 }), ...(await head(6, 6)()) }, { seen });
      expect(seen.entries().map(([, value]) => value.split(' ')[0])).toEqual(['8', '4', '6']);
    });
    it('keeps owners and broker instances apart', async () => {
      const seen = memorySeen();
      await verify(await head(9, 9)(), { seen });
      const fresh = await verify({ manifest: { broker: { instance: 'broker-2', signing_key: '', receiving_key: '' } } }, { seen }).catch((e: { code: string }) => e.code);
      expect(fresh).toBe('MANIFEST_FORMAT');
      f.broker.instance = 'broker-2';
      await expect(verify(await head(1, 1)(), { seen })).resolves.toBeDefined();
      f.broker.instance = 'broker-1';
    });
    it('will not verify live without a memory', async () => {
      await expect(verify({}, { seen: undefined })).rejects.toThrow(TypeError);
    });
  });

  it('is asked for with a fresh nonce each time, one after another, and again after a crossing', async () => {
    const nonces = new Set<string>();
    let [seq, running, most] = [10, 0, 0];
    const api = {
      ...createApi({ url: 'http://127.0.0.1:1' }),
      keyManifest: async (request: Parameters<Api['keyManifest']>[0]) => {
        nonces.add(request.nonce);
        most = Math.max(most, ++running);
        const answer = await f.respond(request, { manifest: { receipts_head: { seq: seq++, digest: 'A'.repeat(43) } } });
        running--;
        return answer;
      },
    } satisfies Api;
    const seen = memorySeen();
    const ask = () => requestManifest({ api, audience, ownerKey: f.owner.publicKey, tenant: TENANT, zone: ZONE, now: NOW, seen });
    await Promise.all([ask(), ask(), ask()]);
    expect([nonces.size, most]).toEqual([3, 1]);
    seq = 11; // another process was faster: the head it saw is 12, this answer's 11, the next one's 12
    seen.entries().filter(([key]) => key.includes('receipts')).forEach(([key]) => void seen.set(key, `12 ${'A'.repeat(43)}`));
    await expect(ask()).resolves.toBeDefined();
    seq = 1; // a real rollback stays one
    expect(await codesOf(ask)).toEqual(['MANIFEST_ROLLBACK']);
  });
});

describe('what a message may be encrypted to', () => {
  const manifest = async (keys: object[]) => ({ manifest: { ...(await verify()).manifest, keys: keys.map((k) => ({ ...f.tenantKey, ...k })) } });
  it('is an active X-Wing key that has not ended, the one that lasts longest', async () => {
    expect(encryptionKey(await manifest([{ id: 'acme.x-wing.1' }, { id: 'acme.x-wing.2', not_after: NOW + 100_000 }, { id: 'acme.x-wing.3', state: 'retiring', not_after: NOW + 200_000 }]), NOW).id).toBe('acme.x-wing.2');
    for (const keys of [[{ state: 'pending' }], [{ state: 'retired' }], [{ not_after: NOW }], [{ alg: 'RSA-OAEP-SHA256' }]]) {
      expect(await codesOf(async () => encryptionKey(await manifest(keys), NOW))).toEqual(['KEY_STATE']);
    }
  });
  it('is in a zone and a class that the owner allows this tenant', async () => {
    const verified = await verify();
    expect(() => requireAllowed(verified, TENANT, ZONE, 'confidential')).not.toThrow();
    expect(await codesOf(() => requireAllowed(verified, TENANT, 'there', 'confidential'))).toEqual(['ZONE_DENIED']);
    expect(await codesOf(() => requireAllowed(verified, TENANT, ZONE, 'restricted'))).toEqual(['CLASSIFICATION_DENIED']);
    const tenants = [...f.policy.tenants, { ...f.policy.tenants[0]!, tenant: TENANT, zones: ['there'] }];
    const own = { policy: { ...verified.policy, policy: { ...verified.policy.policy, tenants } } };
    expect(await codesOf(() => requireAllowed(own, TENANT, ZONE, 'confidential'))).toEqual(['ZONE_DENIED']);
    expect(() => requireAllowed(own, 'other', ZONE, 'confidential')).not.toThrow();
  });
});
