/** Collateral on its way into running verifiers: from vendors through the cache into a verification, and from a gateway that nobody trusts into a client. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { b64u, type Bytes, bytes, utf8 } from '../../attestation/bytes.ts';
import { NO_ENDPOINTS, PUBLIC_ENDPOINTS, safeUrl } from '../../attestation/collateral/endpoints.ts';
import { type CollateralItem, type CollateralSupply, NO_COLLATERAL } from '../../attestation/collateral/collateral.ts';
import { sourceOf } from '../../attestation/collateral/sources.ts';
import { createSupply, type SupplyOptions } from '../../attestation/collateral/supply.ts';
import { checkContent } from '../../attestation/collateral/content.ts';
import { wantedForEvidence, wantedForSnp } from '../../attestation/collateral/wanted.ts';
import type { BindingFields, Evidence, Role } from '../../attestation/evidence.ts';
import { parseJwt } from '../../attestation/formats/jwt.ts';
import { OID } from '../../attestation/formats/oid.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { encodeAzureEvidence, parseAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import { machineEvidence, type MachinePlatform, machineRegisters, machineRoots, type MachineState, makeMachine, vendorItems } from '../../attestation/platforms/simulated/machine.ts';
import { encodeSnpReport, signSnpReport, snpReportFields } from '../../attestation/platforms/simulated/snp.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { placeOf } from '../../workloads/broker/core/access.ts';
import { brought, supplyFor } from '../../workloads/client/collateral.ts';
import { endpointsOf } from '../../workloads/protocol/cell.ts';
import { verifyAttested } from '../../workloads/protocol/appraised.ts';
import { fromBinding, fromEvidence } from '../../workloads/protocol/evidence.ts';
import { type OwnerPolicy, policySchema } from '../../workloads/protocol/owner.ts';
import { KEYS } from '../attestation/path-support.ts';
import { BINDING, NOW } from '../attestation/support.ts';
import { snpWorld } from '../attestation/snp/world.ts';
import { codesOf } from '../protocol/refusals.ts';
import { Vendors } from './vendors.ts';

const DAY = 86_400;
const VECTORS = fileURLToPath(new URL('../../../shared/vectors', import.meta.url));
const HAS_VECTORS = existsSync(VECTORS) || process.env['REQUIRE_ENGINES'] === '1';
const MEASURED = { PCR0: '1a'.repeat(48), PCR1: '1b'.repeat(48), PCR2: '1c'.repeat(48) };
const PLATFORMS = ['azure-cvm', 'gke', 'confidential-space'] as const;
const roleOf = (platform: MachinePlatform): Role => (platform === 'gke' ? 'counter' : 'broker');
const bindingOf = (platform: MachinePlatform): BindingFields => ({ ...BINDING, platform, role: roleOf(platform) });

let base: string;
let vendors: Vendors;
const machines = new Map<MachinePlatform, { state: MachineState; evidence: Evidence; items: CollateralItem[] }>();
const of = (platform: MachinePlatform) => machines.get(platform) as { state: MachineState; evidence: Evidence; items: CollateralItem[] };
let policy: OwnerPolicy;
beforeAll(async () => {
  [base, vendors] = await Promise.all([mkdtemp(join(tmpdir(), 'ccc-supply-')), Vendors.start()]);
  for (const platform of PLATFORMS) {
    const state = await makeMachine(platform, NOW, KEYS);
    machines.set(platform, { state, evidence: { platform, document: await machineEvidence(state, MEASURED, bindingOf(platform), NOW) }, items: await vendorItems(state, NOW) });
  }
  const references = await Promise.all(PLATFORMS.map(async (platform) => ({ id: platform, platform, registers: await machineRegisters(platform, MEASURED) })));
  const roots = await Promise.all([...machines].map(async ([platform, { state }]) => (await machineRoots(state)).map(({ name, purpose, certSha256, spkiSha256 }) => ({ platform, name, purpose, certSha256, spkiSha256 }))));
  const appraisal = (role: Role, scopes: string[]) => ({ id: role, role, references, maxAgeSeconds: 300, allowDevelopment: true, scopes });
  policy = policySchema.parse({
    revision: 1, notAfter: NOW + 400 * DAY, deployment: 'test', roles: { broker: appraisal('broker', ['vm', 'container']), counter: appraisal('counter', ['node', 'vm']) }, developmentRoots: roots.flat(), revoked: [],
    zones: [{ name: 'here', regions: ['r'], origin: 'asserted' }], tenants: [{ tenant: '*', zones: ['here'], classifications: ['public'], scopes: ['vm', 'node'], egress: ['count'] }], detectors: [{ name: 'd', digest: 'd'.repeat(64), threshold: 0.5 }],
    directoryRevision: 1,
  });
});
afterAll(async () => {
  await vendors.stop();
  await rm(base, { recursive: true, force: true });
});

let n = 0;
let clock: number;
let folder: string;
beforeEach(() => {
  vendors.reset();
  clock = NOW * 1000;
  folder = join(base, String(n++));
});

/** Vendors that publish what these machines need, or answer something else. */
function publish(reply?: object, platforms: readonly MachinePlatform[] = PLATFORMS): void {
  for (const { kind, key, bytes: body } of platforms.flatMap((p) => of(p).items)) {
    const { url } = sourceOf(kind, key, endpoints());
    vendors.routes.set(url.pathname + url.search, reply ?? { body });
  }
}
const endpoints = () => ({
  ...NO_ENDPOINTS, amdKds: `${vendors.base}/kds`, lists: Object.fromEntries([...machines.values()].flatMap(({ items }) => items.filter((i) => i.kind.endsWith('-crl') && i.kind !== 'amd-crl').map(({ key }) => [key, `${vendors.base}/lists/${key}`]))),
});
const supply = (change: Partial<SupplyOptions> = {}) => createSupply({ folder, endpoints: endpoints(), now: () => clock, wait: async () => {}, timeoutMs: 1_000, attempts: 2, ...change });

function verify(platform: MachinePlatform, collateral: CollateralSupply, now = Math.floor(clock / 1000)) {
  const fields = bindingOf(platform);
  return verifyAttested({ attested: { evidence: fromEvidence(of(platform).evidence), binding: fromBinding(fields) }, policy, now, mode: platform === 'confidential-space' ? 'replay' : 'live', expect: fields, collateral } as Parameters<typeof verifyAttested>[0]);
}

describe.each(PLATFORMS)('%s', (platform) => {
  it('is verified with what its vendors publish, asked for once', async () => {
    publish();
    const { collect } = supply();
    expect((await verify(platform, collect)).status).toBe('warning');
    const asked = [...vendors.hits];
    expect(asked).toHaveLength(platform === 'gke' ? 3 : platform === 'azure-cvm' ? 2 : 1);
    expect((await verify(platform, collect)).status).toBe('warning');
    // A process that starts anew has the disk.
    expect((await verify(platform, supply().collect)).status).toBe('warning');
    expect(vendors.hits).toEqual(asked);
  });

  it('is refused while a vendor is away, with that reason first, and accepted once it is back', async () => {
    publish({ status: 503 });
    const { collect } = supply({ memoryMs: 0 });
    const codes = await codesOf(() => verify(platform, collect));
    expect(codes[0]).toBe('COLLATERAL_UNAVAILABLE');
    expect(codes.some((code) => code === 'CRL_ABSENT' || code === 'COLLATERAL_ABSENT')).toBe(true);
    publish();
    expect((await verify(platform, collect)).status).toBe('warning');
  });

  it('is refused where no address is configured', async () => {
    const codes = await codesOf(() => verify(platform, supply({ endpoints: NO_ENDPOINTS }).collect));
    expect(codes[0]).toBe('COLLATERAL_ABSENT');
    expect(vendors.hits).toEqual([]);
  });

  it('wants nothing when it cannot be read', () => {
    const { document } = of(platform).evidence;
    for (const broken of [bytes([]), document.slice(0, document.length >> 2), document.slice(1), utf8('{}')]) expect(wantedForEvidence({ platform, document: broken }, NO_COLLATERAL)).toEqual([]);
  });
});

describe('an outage', () => {
  it('is bridged by what still holds, and not a day longer', async () => {
    publish();
    await verify('gke', supply().collect);
    vendors.reset();
    publish({ status: 503 });
    clock += 20 * DAY * 1000;
    expect((await verify('gke', supply().collect)).status).toBe('warning');
    clock += 11 * DAY * 1000;
    expect((await codesOf(() => verify('gke', supply().collect)))[0]).toBe('COLLATERAL_UNAVAILABLE');
  });

  it('does not hold a verification up: what comes late is there for the next one', async () => {
    let release = (): void => {};
    const held = new Promise<void>((done) => { release = done; });
    publish();
    const { collect } = supply({ patienceMs: 20, fetch: async (url, init) => { await held; return fetch(url, init); } });
    const late = await codesOf(() => verify('gke', collect));
    expect(late.slice(0, 3)).toEqual(['COLLATERAL_UNAVAILABLE', 'COLLATERAL_UNAVAILABLE', 'COLLATERAL_UNAVAILABLE']);
    release();
    const patient = supply({ patienceMs: 5_000 });
    expect((await verify('gke', patient.collect)).status).toBe('warning');
  });
});

describe('in the background', () => {
  it('what was needed is kept current; what is not due is not asked for', async () => {
    publish();
    const kept = supply();
    await verify('gke', kept.collect);
    vendors.hits.length = 0;
    await kept.refresh();
    expect(vendors.hits).toEqual([]);
    clock += 2 * DAY * 1000;
    await kept.refresh();
    expect(vendors.hits).toEqual(['/kds/vcek/v1/Genoa/crl']);
    // After a restart, too: the disk says what was needed.
    clock += 2 * DAY * 1000;
    await supply().refresh();
    expect(vendors.hits).toHaveLength(2);
  });

  it('a vendor that is away is no failure', async () => {
    publish();
    const kept = supply();
    await verify('gke', kept.collect);
    publish({ status: 503 });
    clock += 2 * DAY * 1000;
    await expect(kept.refresh()).resolves.toBeUndefined();
    expect((await verify('gke', kept.collect)).status).toBe('warning');
  });
});

describe('issuers that were not sent', () => {
  it('are asked for one after the other, and their lists', async () => {
    const { state, evidence, items } = of('azure-cvm');
    if (state.platform !== 'azure-cvm') throw new TypeError('azure');
    const parts = parseAzureEvidence(evidence.document, 'evidence');
    const bare: Evidence = { platform: 'azure-cvm', document: encodeAzureEvidence({ ...parts, ak: [parts.ak?.[0] as never] }) };
    const [ca] = wantedForEvidence(bare, NO_COLLATERAL).filter(({ kind }) => kind === 'azure-vtpm-ca');
    publish();
    const authorities = { [ca?.key as string]: `${vendors.base}/ca` };
    vendors.routes.set('/ca', { body: state.azure.ca.certificate });
    const found = await supply({ endpoints: { ...endpoints(), authorities } }).collect(bare);
    const list = items.find(({ kind }) => kind === 'azure-vtpm-crl') as CollateralItem;
    expect(found.items.map(({ kind, key }) => [kind, key])).toEqual(expect.arrayContaining([['azure-vtpm-ca', ca?.key], ['azure-vtpm-crl', list.key]]));
  });

  it('of Google\'s firmware and hosts are wanted where the owner demands them', () => {
    const { evidence } = of('gke');
    expect(wantedForEvidence(evidence, NO_COLLATERAL).map(({ kind }) => kind)).toEqual(['amd-chain', 'amd-crl', 'amd-vek']);
    expect(wantedForEvidence(evidence, NO_COLLATERAL, { endorsement: { svn: 1, timestamp: 0 } }).at(-1)).toMatchObject({ kind: 'gce-endorsement', key: expect.stringMatching(/^sevsnp\/[0-9a-f]{96}$/) });
  });
});

describe('a VLEK', () => {
  it('has its list at an address of its own, which any list of the ARK stands in for', async () => {
    const fields = snpReportFields('Genoa', 'vlek');
    const report = await signSnpReport(encodeSnpReport(fields), (await snpWorld({ product: 'Genoa' })).vek.key);
    const wanted = wantedForSnp(report);
    expect(wanted).toEqual([{ kind: 'amd-chain', key: 'Genoa/vlek' }, { kind: 'amd-crl', key: 'Genoa/vlek' }]);
    expect(sourceOf('amd-crl', 'Genoa/vlek', endpoints()).url.pathname).toBe('/kds/vlek/v1/Genoa/crl');
    for (const key of ['Genoa/other', 'Genoa/vlek/x', 'Genoa/', 'Rome/vlek']) await codesOf(async () => sourceOf('amd-crl', key, endpoints())).then((codes) => expect(codes, key).toEqual(['COLLATERAL_FORMAT']));
    const list = of('gke').items.find(({ kind }) => kind === 'amd-crl') as CollateralItem;
    expect(checkContent('amd-crl', 'Genoa/vlek', list.bytes, NOW, NOW).until).toBe(NOW + 30 * DAY);
    expect(await codesOf(async () => checkContent('amd-crl', 'Milan/vlek', list.bytes, NOW, NOW))).toEqual(['COLLATERAL_MISMATCH']);
  });
});

describe('public addresses', () => {
  it('are a cell\'s by one word', () => {
    expect(endpointsOf({ collateral: 'public' })).toBe(PUBLIC_ENDPOINTS);
    expect(endpointsOf({ collateral: {} })).toEqual(NO_ENDPOINTS);
    for (const url of [...Object.values(PUBLIC_ENDPOINTS.lists), ...Object.values(PUBLIC_ENDPOINTS.issuers)]) expect(safeUrl(url).protocol).toBe('https:');
  });

  it.skipIf(!HAS_VECTORS)('of lists are those that genuine certificates below the pinned roots name', () => {
    const named = new Map<string, string>();
    const keep = (der: Bytes): void => {
      const certificate = parseCertificate(der, 'vector');
      const [url] = /https?:\/\/[\x21-\x7e]+/.exec(new TextDecoder('latin1').decode(certificate.extensions.get(OID.crlDistributionPoints)?.value ?? new Uint8Array())) ?? [];
      if (url !== undefined && certificate.authorityKeyId !== null) named.set(certificate.authorityKeyId.keyId ?? '', url.replace(/^http:/, 'https:'));
    };
    for (const name of readdirSync(VECTORS, { recursive: true, encoding: 'utf8' }).filter((n) => /\.(?:der|pem|crt|cer|jwt)$/.test(n))) {
      const data = bytes(readFileSync(join(VECTORS, name)));
      try {
        if (name.endsWith('.jwt')) for (const der of parseJwt(data, 'token').x5c ?? []) keep(der);
        else if (name.endsWith('.pem')) for (const der of readPem(data, 'CERTIFICATE', 'vector', 8)) keep(der);
        else keep(data);
      } catch (error) {
        if (!(error instanceof Refusal)) throw error;
      }
    }
    for (const [keyId, url] of Object.entries(PUBLIC_ENDPOINTS.lists)) expect(named.get(keyId), keyId).toBe(url);
  });
});

describe('what a gateway brings', () => {
  const wire = (platform: MachinePlatform, change: (item: CollateralItem) => Partial<CollateralItem> = () => ({})) => of(platform).items.map((item) => ({ ...item, ...change(item) })).map(({ kind, key, bytes: data }) => ({ kind, key, bytes: b64u(data) }));

  it.each(PLATFORMS)('verifies evidence of %s, without a request of the client\'s own', async (platform) => {
    const appraisal = await verify(platform, supplyFor(undefined, wire(platform), NOW));
    expect(appraisal.claims.collateral?.every(({ source }) => source === 'evidence') ?? true).toBe(true);
  });

  it('counts for its vendor\'s signature only', async () => {
    const altered = wire('gke', ({ kind, bytes: data }) => (kind === 'amd-crl' ? { bytes: bytes([...data.slice(0, -1), (data.at(-1) as number) ^ 1]) } : {}));
    expect(await codesOf(() => verify('gke', supplyFor(undefined, altered, NOW)))).toEqual(['CRL_SIGNATURE']);
    const old = await vendorItems(of('gke').state, NOW - 60 * DAY);
    expect(await codesOf(() => verify('gke', supplyFor(undefined, old.map(({ kind, key, bytes: data }) => ({ kind, key, bytes: b64u(data) })), NOW)))).toEqual(['CRL_EXPIRED']);
    expect(await codesOf(() => verify('gke', supplyFor(undefined, wire('confidential-space'), NOW)))).toContain('COLLATERAL_ABSENT');
  });

  it('is nothing where no vendor signed it: key sets and registries', () => {
    const unsigned = [{ kind: 'jwks' as const, key: 'https://issuer.example', bytes: b64u(utf8('{}')) }, { kind: 'gce-host' as const, key: 'a'.repeat(32), bytes: b64u(utf8('{}')) }];
    expect(brought([...unsigned, { kind: 'amd-crl', key: 'Genoa', bytes: 'AA' }], NOW).map(({ kind, source }) => [kind, source])).toEqual([['amd-crl', 'evidence']]);
    expect(brought(undefined, NOW)).toEqual([]);
  });

  it('comes after what the client has itself, whose reasons are told', async () => {
    const own: CollateralSupply = async () => ({ items: of('gke').items.filter(({ kind }) => kind === 'amd-crl'), reasons: [{ code: 'COLLATERAL_UNAVAILABLE', path: 'collateral.amd-vek', next: 'Try again later.' }] });
    const altered = wire('gke', ({ kind }) => (kind === 'amd-crl' ? { bytes: bytes([1]) } : {}));
    expect((await verify('gke', supplyFor(own, altered, NOW))).status).toBe('warning');
    expect((await codesOf(() => verify('gke', supplyFor(own, [], NOW))))[0]).toBe('COLLATERAL_UNAVAILABLE');
  });
});

describe('where a workload is', () => {
  it('is the configuration\'s word where evidence names no region, and never proven then', () => {
    const cloud = (origin: 'proven' | 'asserted' | 'unknown', region?: string) => ({ cloud: { provider: 'azure' as const, origin, ...(region === undefined ? {} : { region }) } });
    expect(placeOf(cloud('proven', 'west'), 'here')).toEqual({ region: 'west', origin: 'proven' });
    expect(placeOf(cloud('proven'), 'here')).toEqual({ region: 'here', origin: 'asserted' });
    expect(placeOf(cloud('asserted'), 'here')).toEqual({ region: 'here', origin: 'asserted' });
    expect(placeOf(cloud('unknown'), 'here')).toEqual({ region: 'here', origin: 'unknown' });
  });
});
