/** The sealer of Azure on a VM with a real vTPM, against an instance and a vault that verify and obey the deployed release policy. */
import { constants, publicEncrypt } from 'node:crypto';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { b64u, type Bytes, concat, hex, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import type { Attester } from '../../../attestation/evidence.ts';
import { azureAttester } from '../../../attestation/platforms/azure-cvm/attest.ts';
import { encodeAzureEvidence, parseAzureEvidence } from '../../../attestation/platforms/azure-cvm/container.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { entriesOf, readLock } from '../../../modules/measurements.ts';
import { createIdentity } from '../../../workloads/broker/identity.ts';
import type { KeySealer } from '../../../workloads/broker/sealer.ts';
import { azureSkr } from '../../../workloads/broker/sealers/azure-skr.ts';
import { envelopeSealer } from '../../../workloads/broker/sealers/envelope.ts';
import { guestToken } from '../../../workloads/broker/sealers/maa-guest.ts';
import { vaultToken } from '../../../workloads/broker/sealers/managed-identity.ts';
import { proveSelf } from '../../../workloads/broker/sealers/prove-self.ts';
import { makeRuntimeKey } from '../../../workloads/broker/sealers/runtime-key.ts';
import type { OwnerPolicy } from '../../../workloads/protocol/owner.ts';
import { NOW } from '../../attestation/support.ts';
import { extend, SKIP_SWTPM } from '../../attesters/swtpm.ts';
import { CELL, FakeAzure, KEY_NAME, KEY_URI, LAUNCH, publicKey } from './fake-azure.ts';
import { changed, held, type Held, json, leaks } from './loopback.ts';

const PCRS = [4, 7, 8, 9, 11, 12, 13];
const aad = (change: Record<string, string> = {}): Bytes => utf8(canonicalJson({ cell: 'azure-prod', key_id: 'acme.x-wing.1', purpose: 'tenant-key', tenant_id: 'acme', zone: 'eu', ...change }));
const CANARY = concat(utf8('canary-'), randomBytes(64));
const refusal = (code: string, path?: string) => expect.objectContaining({ code, reasons: [expect.objectContaining({ next: expect.stringMatching(/\w/), ...(path === undefined ? {} : { path }) })] });

describe.skipIf(SKIP_SWTPM)('on a vTPM', () => {
  let azure: FakeAzure;
  let clock: Held;
  beforeAll(async () => {
    azure = await FakeAzure.start();
    await azure.boot(LAUNCH[0] as string);
  });
  afterAll(() => azure?.stop());
  beforeEach(async () => {
    clock = held(NOW * 1_000);
    azure.now = clock.time;
    azure.claims = azure.payload = () => {};
    azure.vault.tamper = azure.maa.tamper = undefined;
    await azure.boot(LAUNCH[0] as string);
  });

  interface Broker { readonly keyUri?: string; readonly prove?: () => Promise<readonly number[]>; readonly deployment?: string; readonly roots?: readonly string[] }
  function broker({ keyUri = KEY_URI, prove = async () => PCRS, deployment = CELL.ownerKey, roots = azure.roots }: Broker = {}): KeySealer {
    const { around } = clock;
    const { machine: { tpm }, eventLog } = azure.vm;
    const guest = { tpm, metadata: { fetch, base: azure.metadata.origin, wait: async () => {} }, eventLog: async () => eventLog, service: { origin: azure.maa.origin }, around };
    return envelopeSealer(azureSkr({
      keyUri, ...CELL.sealer, proveSelf: prove, guest: (pcrs) => guestToken(guest, pcrs), credentials: vaultToken({ origin: azure.metadata.origin }, around), service: { origin: azure.vault.origin }, around, roots,
    }), deployment);
  }

  test('what one VM seals, another process opens, and a VM of the other generation; the key is asked for once a process, and nothing of it is on the wire', async () => {
    const one = broker();
    const from = azure.vault.heard.length;
    const [a, b] = [await one.seal(aad(), CANARY), await one.seal(aad({ key_id: 'acme.rsa-oaep.1' }), CANARY)];
    expect(azure.vault.heard.slice(from).map(({ method, path }) => `${method} ${path.split('?')[0]?.replace(/[0-9a-f]{32}/, 'VERSION')}`)).toEqual([`GET /keys/${KEY_NAME}`, `POST /keys/${KEY_NAME}/VERSION/release`]);
    expect(await broker().open(aad(), a)).toEqual(CANARY);
    await azure.boot(LAUNCH.at(-1) as string);
    const later = broker();
    expect(await later.open(aad({ key_id: 'acme.rsa-oaep.1' }), b)).toEqual(CANARY);
    const wire = [...azure.vault.wire, ...azure.maa.wire, ...azure.metadata.wire];
    for (const secret of [CANARY, ...[...azure.keys.values()].map(({ pkcs8 }) => pkcs8)]) expect(leaks(wire, secret)).toBe(false);
  });

  describe('the deployed release policy refuses', () => {
    test('another launch measurement, in a report that verifies', async () => {
      await azure.boot('ab'.repeat(48));
      await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'vault.release'));
    });
    test('a counter\'s launch measurement, where it is another', async () => {
      const launch = entriesOf(readLock(), 'counter')[0]?.azure.launch as string;
      expect(LAUNCH).not.toContain(launch);
      azure.claims = (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-launchmeasurement'] = launch; };
      await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'vault.release'));
    });
    test.each<[string, (claims: any) => void]>([
      ['debugging', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-is-debuggable'] = true; }], ['migration', (c) => { c['x-ms-isolation-tee']['x-ms-sevsnpvm-migration-allowed'] = true; }],
      ['no Secure Boot', (c) => { c.secureboot = false; }], ['a kernel debugger', (c) => { c['x-ms-azurevm-kerneldebug-enabled'] = true; }], ['no compliance', (c) => { c['x-ms-isolation-tee']['x-ms-compliance-status'] = 'none'; }],
      ['another instance\'s word', (c) => { c.iss = 'https://sharedweu.weu.attest.azure.net'; }], ['a token that ended', (c) => { c.iat -= 90_000; c.exp -= 90_000; }],
    ])('%s', async (_, change) => {
      azure.claims = change;
      await expect(broker().seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'vault.release'));
    });
  });

  describe('the owner\'s policy comes first', () => {
    /** The owner's policy over this VM's own registers, one of which may be another. */
    const policyOf = async (change: Record<string, string> = {}): Promise<OwnerPolicy> => {
      const { machine: { tpm }, world } = azure.vm;
      const values = await tpm.pcrRead('sha256', PCRS);
      const role = (name: 'broker' | 'counter') => ({
        id: `prod/${name}`, role: name, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['vm' as const],
        references: [{ id: name, platform: 'azure-cvm' as const, registers: { ...Object.fromEntries(PCRS.map((i) => [`vTPM:PCR${i}`, hex(values.get(i) as Bytes)])), ...change } as never }],
      });
      return { revision: 1, notAfter: NOW + 1e6, deployment: 'prod', roles: { broker: role('broker'), counter: role('counter') }, developmentRoots: world.roots.map(({ name, purpose, certSha256, spkiSha256 }) => ({ platform: 'azure-cvm', name, purpose, certSha256, spkiSha256 })), revoked: [], zones: [], tenants: [], detectors: [], directoryRevision: 1 } as unknown as OwnerPolicy;
    };
    const proving = async (policy: OwnerPolicy) => {
      const { machine: { tpm }, eventLog, world } = azure.vm;
      const inner = azureAttester({ tpm, metadata: { fetch, base: azure.metadata.origin, wait: async () => {} }, registers: PCRS.map((i) => `vTPM:PCR${i}`), eventLog: async () => eventLog });
      // Issuers of the attestation key's certificate come from addresses that it names; here they are at hand.
      const attester: Attester = {
        async attest(challenge) {
          const { platform, document } = await inner.attest(challenge);
          const parts = parseAzureEvidence(document, 'evidence');
          return { platform, document: encodeAzureEvidence({ ...parts, ak: [...(parts.ak ?? []), world.pki.ca.certificate, world.pki.root.certificate] }) };
        },
      };
      const deps = { identity: await createIdentity(), attester, platform: 'azure-cvm' as const, cell: 'azure-prod', configDigest: new Uint8Array(32), policy: { current: async () => ({ policy, digest: new Uint8Array(32), jws: '' }) }, collateral: collateralOf(world.collateral), now: () => clock.time };
      return () => proveSelf(deps);
    };
    test('a VM that satisfies it gets its key, and quotes what it compares', async () => {
      const prove = await proving(await policyOf());
      expect(await prove()).toEqual(PCRS);
      const sealed = await broker({ prove }).seal(aad(), CANARY);
      expect(await broker({ prove }).open(aad(), sealed)).toEqual(CANARY);
    });
    test('another image on the right paravisor asks nobody for anything', async () => {
      const prove = await proving(await policyOf({ 'vTPM:PCR9': 'd9'.repeat(32) }));
      const [vault, maa] = [azure.vault, azure.maa].map(({ heard }) => heard.filter(({ method }) => method === 'POST').length);
      await expect(broker({ prove }).seal(aad(), CANARY)).rejects.toMatchObject({ code: 'MEASUREMENT_MISMATCH' });
      expect([azure.vault, azure.maa].map(({ heard }) => heard.filter(({ method }) => method === 'POST').length)).toEqual([vault, maa]);
    });
  });

  describe('what was sealed opens as itself only', () => {
    test.each(['cell', 'key_id', 'purpose', 'tenant_id', 'zone'])('another %s', async (field) => {
      const sealer = broker();
      const sealed = await sealer.seal(aad(), CANARY);
      await expect(sealer.open(aad({ [field]: 'other' }), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST'));
    });
    test('another deployment', async () => {
      const sealed = await broker().seal(aad(), CANARY);
      await expect(broker({ deployment: 'A'.repeat(43) }).open(aad(), sealed)).rejects.toEqual(refusal('KEY_SEALER_LOST'));
    });
    test('every byte counts, and a key of another name is not asked for', async () => {
      const sealer = broker();
      const sealed = await sealer.seal(aad(), CANARY);
      const before = azure.vault.heard.length;
      for (const at of [0, 4, 6, 9, 70 + KEY_NAME.length - 20, sealed.length - 100, sealed.length - 17, sealed.length - 1]) {
        const other = sealed.slice();
        other[at] = (other[at] as number) ^ 1;
        await expect(sealer.open(aad(), other), `byte ${at}`).rejects.toEqual(refusal('KEY_SEALER_LOST'));
      }
      expect(azure.vault.heard.length).toBe(before);
    });
    test('who has the public half of the key alone can make no blob: nothing is sealed with it', async () => {
      const sealer = broker();
      const sealed = await sealer.seal(aad(), CANARY);
      // The wrapped part is an IV, a data key and a tag: no RSA ciphertext
      const at = 4 + 1 + 2 + KEY_NAME.length + 1 + 32;
      expect(((sealed[at] as number) << 8) | (sealed[at + 1] as number)).toBe(12 + 32 + 16);
    });
  });

  test('a new version seals from then on, older ones open what they sealed; a key of the next period as well; one that is gone is refused', async () => {
    const old = await broker().seal(aad(), CANARY);
    const first = [...azure.keys.keys()][0] as string;
    await azure.add(KEY_NAME);
    const now = broker();
    expect(await now.open(aad(), old)).toEqual(CANARY);
    const newer = await now.seal(aad(), CANARY);
    const period = KEY_NAME.replace(/-\d+-[0-9a-f]{8}$/, '-2-0123abcd');
    await azure.add(period);
    const next = broker({ keyUri: `${CELL.sealer.vault}/keys/${period}` });
    for (const sealed of [old, newer, await next.seal(aad(), CANARY)]) expect(await next.open(aad(), sealed)).toEqual(CANARY);
    const version = azure.keys.get(first);
    azure.keys.delete(first);
    await expect(broker().open(aad(), old)).rejects.toEqual(refusal('KEY_SEALER_REFUSED', 'vault.release'));
    azure.keys.set(first, version as never);
  });

  describe('answers are checked', () => {
    const refusedWith = async (code: string, path?: string, options: Broker = {}): Promise<void> => expect(broker(options).seal(aad(), CANARY)).rejects.toEqual(refusal(code, path));
    test.each<[string, (payload: any) => void, string]>([
      ['another key', (p) => { p.response.key.key.kid = p.response.key.key.kid.replace('-data-', '-other-'); }, 'release.key.kid'],
      ['an answer to another request', (p) => { p.request.nonce = 'AAAA'; }, 'release.request.nonce'],
      ['another wrap', (p) => { p.request.enc = 'CKM_RSA_AES_KEY_WRAP'; }, 'release.payload'],
      ['a key that is disabled', (p) => { p.response.key.attributes.enabled = false; }, 'release.payload'],
      ['no release policy', (p) => { delete p.response.key.release_policy; }, 'release.payload'],
      ['a policy of another authority', (p) => { p.response.key.release_policy.data = policy({ authority: 'https://sharedweu.weu.attest.azure.net' }); }, 'release.policy'],
      ['a policy for any launch measurement', (p) => { p.response.key.release_policy.data = policy({ drop: 'launchmeasurement' }); }, 'release.policy'],
      ['a policy that releases to debugged VMs', (p) => { p.response.key.release_policy.data = policy({ drop: 'is-debuggable' }); }, 'release.policy'],
      ['a private key of another public one', (p) => { p.response.key.key.n = b64u(randomBytes(384)); }, 'release.key'],
      ['a wrapped key that changed', (p) => { p.response.key.key.key_hsm = hsm(p, (c) => { c[300] = (c[300] as number) ^ 1; }); }, 'release.key_hsm'],
      ['a wrapping key that changed', (p) => { p.response.key.key.key_hsm = hsm(p, (c) => { c[9] = (c[9] as number) ^ 1; }); }, 'release.key_hsm'],
    ])('%s', async (_, change, path) => {
      azure.payload = change;
      await refusedWith('KEY_SEALER_ANSWER', path);
    });
    const policy = ({ authority = CELL.sealer.attestation, drop = 'nothing' }: { authority?: string; drop?: string }): string => Buffer.from(JSON.stringify({
      version: '1.0.0', anyOf: [{ authority, allOf: [{ claim: 'x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement', equals: 'a'.repeat(96) }, { claim: 'x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable', equals: false }].filter(({ claim }) => !claim.endsWith(drop)) }],
    })).toString('base64url');
    const hsm = (payload: any, change: (ciphertext: Buffer) => void): string => {
      const wrapped = JSON.parse(Buffer.from(payload.response.key.key.key_hsm, 'base64url').toString());
      const ciphertext = Buffer.from(wrapped.ciphertext, 'base64url');
      change(ciphertext);
      return Buffer.from(JSON.stringify({ ...wrapped, ciphertext: ciphertext.toString('base64url') })).toString('base64url');
    };

    test('a signature over something else', async () => {
      azure.vault.tamper = (said, { method }) => (method === 'POST' ? changed((b) => { const [h, p, s] = b.value.split('.'); b.value = [h, `${p.slice(0, -8)}AAAAAAAA`, s].join('.'); })(said) : said);
      await refusedWith('KEY_SEALER_ANSWER', 'release.value');
    });
    test('no JWS, and one without certificates', async () => {
      for (const value of ['x'.repeat(40), `${b64u(utf8('{"alg":"RS256"}'))}.${b64u(utf8('{}'))}.AAAA`]) {
        azure.vault.tamper = (said, { method }) => (method === 'POST' ? json(200, { value }) : said);
        await refusedWith('KEY_SEALER_ANSWER', 'release.value');
      }
    });
    test('certificates of another vault, that ended, or under another root', async () => {
      for (const [host, from, to] of [['evil.example', NOW - 10, NOW + 10], ['*.vault.azure.net', NOW - 20, NOW - 10]] as const) {
        await azure.certify(host, from, to);
        await refusedWith('KEY_SEALER_ANSWER', 'release.value');
      }
      await azure.certify('*.vault.azure.net');
      await refusedWith('KEY_SEALER_ANSWER', 'release.value', { roots: [] });
      const [leaf] = azure.chain;
      azure.chain = [leaf as never];
      await refusedWith('KEY_SEALER_ANSWER', 'release.value');
      await azure.certify('*.vault.azure.net');
      await broker().seal(aad(), CANARY);
    });
    test('the vault names a key of another vault', async () => {
      azure.vault.tamper = (said, { method }) => (method === 'GET' ? changed((b) => { b.key.kid = b.key.kid.replace('vault.azure.net', 'vault.azure.com'); })(said) : said);
      await refusedWith('KEY_SEALER_ANSWER', 'vault.key.kid');
    });
    test.each<[string, (claims: any) => void, string]>([
      ['another nonce', (c) => { c['x-ms-runtime']['client-payload'].nonce = Buffer.alloc(32).toString('base64'); }, 'maa.token.nonce'],
      ['another runtime key', (c) => { c['x-ms-runtime'].keys[0].n = b64u(randomBytes(256)); }, 'maa.token.keys'],
      ['two runtime keys', (c) => { c['x-ms-runtime'].keys.push(c['x-ms-runtime'].keys[0]); }, 'maa.token.keys'],
      ['PCRs that nobody attested', (c) => { c['x-ms-azurevm-attested-pcrs'] = [0, 1, 2, 3, 4, 5, 6, 7]; }, 'maa.token.attestedPcrs'],
      ['a platform\'s token', (c) => { c['x-ms-attestation-type'] = 'sevsnpvm'; }, 'maa.token.claims'],
    ])('a token with %s goes to no vault', async (_, change, path) => {
      azure.claims = change;
      const before = azure.vault.heard.filter(({ method }) => method === 'POST').length;
      await refusedWith('KEY_SEALER_ANSWER', path);
      expect(azure.vault.heard.filter(({ method }) => method === 'POST').length).toBe(before);
    });
    test('a token that is for another vTPM', async () => {
      azure.maa.tamper = changed((b) => { const e = JSON.parse(Buffer.from(b.token, 'base64url').toString()); e.AuthenticationData = Buffer.alloc(16).toString('base64'); b.token = Buffer.from(JSON.stringify(e)).toString('base64url'); });
      await refusedWith('KEY_SEALER_ANSWER', 'maa.token');
    });
  });

  test('a failure is not kept: the next request asks anew, and throttling passes', async () => {
    const sealer = broker();
    azure.vault.instead.push(json(200, { key: { kid: 'x' } }));
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_ANSWER'));
    azure.maa.instead.push(json(500, {}), json(400, { error: { code: 'PolicyEvaluationError' } }));
    await expect(sealer.seal(aad(), CANARY)).rejects.toEqual(refusal('KEY_SEALER_REFUSED'));
    azure.vault.instead.push(json(429, { error: { code: 'Throttled' } }));
    await sealer.seal(aad(), CANARY);
    azure.tokens.clear();
    await broker().seal(aad(), CANARY);
    await expect(broker({ prove: async () => refuse('POLICY_MISSING', 'policy', 'Wait.') }).seal(aad(), CANARY)).rejects.toMatchObject({ code: 'POLICY_MISSING' });
  });

  test.each(['', 'https://evil.vault.azure.net/keys/ccc-prod-data-1-0123abcd', `${CELL.sealer.vault}/keys/`, `${CELL.sealer.vault}/keys/data`, `${KEY_URI}/../x`, `${KEY_URI}/0123`])('the key "%s" is none of the cell', (keyUri) => {
    expect(() => broker({ keyUri })).toThrow(expect.objectContaining({ code: 'KEY_SEALER_ABSENT' }));
  });

  test('the runtime key is of this boot\'s registers: after one is extended it opens nothing, and another is made', async () => {
    const { machine: { tpm } } = azure.vm;
    const read = () => tpm.pcrRead('sha256', [0, 16]);
    const key = await makeRuntimeKey(tpm, await read(), 0x81000003);
    const sealed = (['pkcs1', 'oaep-sha1', 'oaep-sha256'] as const).map((padding) => [padding, publicEncrypt({ key: publicKey(key.modulus), padding: padding === 'pkcs1' ? constants.RSA_PKCS1_PADDING : constants.RSA_PKCS1_OAEP_PADDING, ...(padding === 'pkcs1' ? {} : { oaepHash: padding.slice(5) }) }, CANARY.subarray(0, 32))] as const);
    for (const [padding, data] of sealed) expect(await key.decrypt(new Uint8Array(data), padding)).toEqual(CANARY.slice(0, 32));
    await expect(key.decrypt(new Uint8Array(sealed[2]?.[1] as Buffer), 'oaep-sha1')).rejects.toMatchObject({ code: 'ATTESTER_FAILED' });
    await extend(tpm, 16, new Uint8Array(32).fill(7));
    await expect(key.decrypt(new Uint8Array(sealed[0]?.[1] as Buffer), 'pkcs1')).rejects.toMatchObject({ code: 'ATTESTER_FAILED' });
    await key.end();
    const next = await makeRuntimeKey(tpm, await read(), 0x81000003);
    expect(next.modulus).not.toEqual(key.modulus);
    await next.end();
  });
});
