/** Collateral from vendors that are busy, broken, slow or somebody else: nothing of it ever becomes a pass. */
import { mkdtemp, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { hex } from '../../attestation/bytes.ts';
import type { CollateralKind } from '../../attestation/collateral/collateral.ts';
import { createFetcher, type Fetcher, type FetcherOptions } from '../../attestation/collateral/fetch.ts';
import { safeUrl } from '../../attestation/collateral/endpoints.ts';
import { sourceOf } from '../../attestation/collateral/sources.ts';
import { makeCrl } from '../../attestation/platforms/simulated/issue.ts';
import { pem } from '../../attestation/platforms/simulated/tdx-pki.ts';
import type { TdxWorld } from '../../attestation/platforms/simulated/tdx.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { chipKey, snpWorld, type SnpWorld } from '../attestation/snp/world.ts';
import { snpReportFields } from '../../attestation/platforms/simulated/snp.ts';
import { item, NOW, world } from '../attestation/tdx/support.ts';
import { type Reply, Vendors } from './vendors.ts';

const DAY = 86_400;
const TCB = '/pcs/tdx/certification/v4/tcb?fmspc=b0c06f000000&update=standard';
const QE = '/pcs/tdx/certification/v4/qe/identity?update=standard';
const PCK = '/pcs/sgx/certification/v4/pckcrl?ca=platform&encoding=der';
const ROOT = '/intel/root.der';
const HTML = '<!DOCTYPE html><html><body>Sign in to the network</body></html>';
const FMSPC = 'b0c06f000000';

let vendors: Vendors;
let intel: TdxWorld;
let amd: SnpWorld;
let base: string;
let folder: string;
let clock: number;
let waits: number[];
beforeAll(async () => {
  [vendors, intel, amd, base] = await Promise.all([Vendors.start(), world(), snpWorld({ product: 'Genoa' }), mkdtemp(join(tmpdir(), 'ccc-collateral-'))]);
});
afterAll(async () => {
  await vendors.stop();
  await rm(base, { recursive: true, force: true });
});
let n = 0;
beforeEach(() => {
  vendors.reset();
  folder = join(base, String(n++));
  clock = NOW * 1000;
  waits = [];
  const signing = encodeURIComponent(pem(intel.pki.signer.certificate, intel.pki.root.certificate));
  vendors.routes.set(TCB, { body: item(intel, 'intel-tcb-info').bytes, headers: { 'TCB-Info-Issuer-Chain': signing } });
  vendors.routes.set(QE, { body: item(intel, 'intel-qe-identity').bytes, headers: { 'SGX-Enclave-Identity-Issuer-Chain': signing } });
  vendors.routes.set(PCK, { body: intel.pki.pckCrl, headers: { 'SGX-PCK-CRL-Issuer-Chain': encodeURIComponent(pem(intel.pki.ca.certificate, intel.pki.root.certificate)) } });
  vendors.routes.set(ROOT, { body: intel.pki.rootCrl });
  vendors.routes.set('/kds/vcek/v1/Genoa/crl', { body: amd.crl });
  vendors.routes.set('/kds/vcek/v1/Genoa/cert_chain', { body: pem(amd.pki.ask.certificate, amd.pki.ark.certificate) });
});

const fetcher = (options: Partial<FetcherOptions> = {}): Fetcher => createFetcher({
  folder, endpoints: vendors.endpoints, now: () => clock, random: () => 0.5, wait: async (ms) => { waits.push(ms); clock += ms; }, timeoutMs: 2000, ...options,
});

async function refusal(work: Promise<unknown>): Promise<{ code: string; have: string | undefined; path: string | undefined }> {
  const error = await work.then(() => undefined, (e: unknown) => e);
  if (!(error instanceof Refusal)) throw new Error(`expected a refusal, got ${String(error)}`);
  expect(error.reasons[0]?.next.length).toBeGreaterThan(10);
  return { code: error.code, have: error.reasons[0]?.have, path: error.reasons[0]?.path };
}

describe('what vendors publish', () => {
  it('of Intel: tables, lists and the chains that come in headers', async () => {
    const { items, reasons } = await fetcher().collect([
      { kind: 'intel-tcb-info', key: FMSPC }, { kind: 'intel-qe-identity', key: 'td' }, { kind: 'intel-root-crl', key: 'root' }, { kind: 'intel-pck-crl', key: 'platform' },
      { kind: 'intel-pck-crl-chain', key: 'platform' }, { kind: 'intel-tcb-signing-chain', key: 'tcb-info' }, { kind: 'intel-tcb-signing-chain', key: 'qe-identity' },
    ]);
    expect(reasons).toEqual([]);
    expect(items.map((i) => `${i.kind}/${i.key} ${i.source}`).sort()).toEqual([
      'intel-pck-crl-chain/platform cache', 'intel-pck-crl/platform live', 'intel-qe-identity/td live', 'intel-root-crl/root live', `intel-tcb-info/${FMSPC} live`,
      'intel-tcb-signing-chain/qe-identity cache', 'intel-tcb-signing-chain/tcb-info cache',
    ]);
    for (const { kind, key, bytes } of items.filter((i) => i.kind !== 'intel-pck-crl-chain')) expect(hex(bytes)).toBe(hex(intel.collateral.find((c) => c.kind === kind && c.key === key)?.bytes ?? new Uint8Array()));
    expect(vendors.hits.sort()).toEqual([ROOT, PCK, QE, TCB].sort());
  });

  it('of AMD: chain, list and the VCEK of a chip at its versions', async () => {
    const fields = snpReportFields('Genoa');
    const key = chipKey(amd, fields);
    const { url } = sourceOf('amd-vek', key, vendors.endpoints);
    expect(url.pathname).toBe(`/kds/vcek/v1/Genoa/${hex(fields.chipId)}`);
    expect([...url.searchParams.keys()]).toEqual(['blSPL', 'teeSPL', 'snpSPL', 'ucodeSPL']);
    vendors.routes.set(url.pathname + url.search, { body: amd.vek.certificate });
    const vek = await fetcher().fetch('amd-vek', key);
    expect(hex(vek.bytes)).toBe(hex(amd.vek.certificate));
    await fetcher().fetch('amd-chain', 'Genoa/vcek');
    await fetcher().fetch('amd-crl', 'Genoa');
    // Ten years later the key is still of this chip, the list is not current
    clock += 3650 * DAY * 1000;
    vendors.reset();
    expect((await fetcher().fetch('amd-vek', key)).source).toBe('cache');
    expect(vendors.hits).toEqual([]);
    expect((await refusal(fetcher().fetch('amd-crl', 'Genoa'))).code).toBe('COLLATERAL_ABSENT');
  });

  it('names Turin\'s chips by eight bytes and their FMC', () => {
    const { url } = sourceOf('amd-vek', `Turin/${'ab'.repeat(8)}${'00'.repeat(56)}/0102030400000048`, vendors.endpoints);
    expect(url.pathname + url.search).toBe(`/kds/vcek/v1/Turin/${'ab'.repeat(8)}?fmcSPL=01&blSPL=02&teeSPL=03&snpSPL=04&ucodeSPL=72`);
  });

  it('of Azure\'s cache, for the VM that asks', async () => {
    const key = chipKey(amd, snpReportFields('Genoa'));
    vendors.routes.set('/thim', (_, request) => (request.headers['metadata'] === 'true' ? { body: JSON.stringify({ vcekCert: pem(amd.vek.certificate), certificateChain: pem(amd.pki.ask.certificate, amd.pki.ark.certificate), tcbm: '' }) } : { status: 400 }));
    const thim = fetcher({ endpoints: { ...vendors.endpoints, azureThim: `${vendors.base}/thim` } });
    expect(hex((await thim.fetch('amd-vek', key)).bytes)).toBe(hex(amd.vek.certificate));
    expect((await thim.fetch('amd-chain', 'Genoa/vcek')).source).toBe('cache');
  });

  it('of a PCCS: lists as hex', async () => {
    vendors.routes.set('/pcs/sgx/certification/v4/rootcacrl', { body: hex(intel.pki.rootCrl).toUpperCase() });
    const pccs = fetcher({ endpoints: { ...vendors.endpoints, intelRootCrl: null } });
    expect(hex((await pccs.fetch('intel-root-crl', 'root')).bytes)).toBe(hex(intel.pki.rootCrl));
  });
});

describe('one request', () => {
  it('for twenty that want the same at once', async () => {
    vendors.routes.set(TCB, { ...(vendors.routes.get(TCB) as Reply), delayMs: 30 });
    const one = fetcher();
    const all = await Promise.all(Array.from({ length: 20 }, () => one.fetch('intel-tcb-info', FMSPC)));
    expect(new Set(all.map((i) => hex(i.bytes))).size).toBe(1);
    expect(vendors.hits).toEqual([TCB]);
  });

  it('fails once for all of them, and the next one asks again', async () => {
    const good = vendors.routes.get(ROOT) as Reply;
    vendors.routes.set(ROOT, { body: HTML, delayMs: 20 });
    const one = fetcher();
    const results = await Promise.allSettled(Array.from({ length: 20 }, () => one.fetch('intel-root-crl', 'root')));
    expect(results.every((r) => r.status === 'rejected')).toBe(true);
    expect(vendors.count(ROOT)).toBe(1);
    vendors.routes.set(ROOT, good);
    expect((await one.fetch('intel-root-crl', 'root')).source).toBe('live');
  });
});

describe('a vendor that is busy', () => {
  it('is asked again after the time that it named, and a random part more', async () => {
    const good = vendors.routes.get(ROOT) as Reply;
    vendors.routes.set(ROOT, (hit) => (hit < 3 ? { status: 429, headers: { 'Retry-After': '7' } } : good));
    expect((await fetcher().fetch('intel-root-crl', 'root')).source).toBe('live');
    expect(waits).toEqual([7250, 7500]);
    expect(vendors.count(ROOT)).toBe(3);
  });

  it('waits random parts of growing times where it named none', async () => {
    vendors.routes.set(ROOT, { status: 503 });
    expect(await refusal(fetcher({ attempts: 5, random: () => 1 }).fetch('intel-root-crl', 'root'))).toMatchObject({ code: 'COLLATERAL_UNAVAILABLE', have: expect.stringContaining('status 503, after 5 attempts') });
    expect(waits).toEqual([500, 1000, 2000, 4000]);
  });

  it('is left alone when it wants more than we wait, by all that would ask it', async () => {
    vendors.routes.set(ROOT, { status: 429, headers: { 'Retry-After': new Date(clock + 3600_000).toUTCString() } });
    const one = fetcher();
    expect((await refusal(one.fetch('intel-root-crl', 'root'))).code).toBe('COLLATERAL_UNAVAILABLE');
    expect((await refusal(one.fetch('intel-tcb-info', FMSPC))).have).toContain('left alone');
    expect([vendors.hits, waits]).toEqual([[ROOT], []]);
    clock += 3601_000;
    expect((await one.fetch('intel-tcb-info', FMSPC)).source).toBe('live');
  });
});

describe('no answer', () => {
  const unavailable = async (reply: Reply, options: Partial<FetcherOptions> = {}) => {
    vendors.routes.set(ROOT, reply);
    return refusal(fetcher({ attempts: 2, ...options }).fetch('intel-root-crl', 'root'));
  };
  it.each<[string, Reply]>([['a server that never answers', { hang: true }], ['one that stops in the middle', { stall: true, body: new Uint8Array(100) }]])('%s', async (_, reply) => {
    expect(await unavailable(reply, { timeoutMs: 60 })).toMatchObject({ code: 'COLLATERAL_UNAVAILABLE', have: expect.stringContaining('no answer within 60 ms') });
  });
  it.each([500, 502, 503, 504, 408])('status %d', async (status) => {
    expect((await unavailable({ status })).code).toBe('COLLATERAL_UNAVAILABLE');
    expect(vendors.count(ROOT)).toBe(2);
  });
  it('no network at all', async () => {
    expect((await unavailable({}, { fetch: async () => { throw new TypeError('fetch failed'); } })).code).toBe('COLLATERAL_UNAVAILABLE');
    expect(vendors.hits).toEqual([]);
  });
  it('leaves nothing in the cache, not even that there was none', async () => {
    await unavailable({ status: 503 });
    vendors.routes.set(ROOT, { status: 404 });
    expect((await refusal(fetcher().fetch('intel-root-crl', 'root'))).code).toBe('COLLATERAL_ABSENT');
    expect(await readdir(folder).catch(() => [])).toEqual([]);
  });
});

describe('an answer that is not the vendor\'s', () => {
  it.each<[string, CollateralKind, string, string, () => Reply, string]>([
    ['an HTML page instead of a list', 'intel-root-crl', 'root', ROOT, () => ({ body: HTML, headers: { 'content-type': 'text/html' } }), 'COLLATERAL_FORMAT'],
    ['an HTML page instead of a chain', 'amd-chain', 'Genoa/vcek', '/kds/vcek/v1/Genoa/cert_chain', () => ({ body: HTML }), 'COLLATERAL_FORMAT'],
    ['an HTML page instead of TCB info', 'intel-tcb-info', FMSPC, TCB, () => ({ body: HTML, headers: { 'TCB-Info-Issuer-Chain': 'x' } }), 'COLLATERAL_FORMAT'],
    ['an HTML page instead of a key set', 'jwks', 'https://issuer.example', '/jwks', () => ({ body: HTML }), 'COLLATERAL_FORMAT'],
    ['a redirect', 'intel-root-crl', 'root', ROOT, () => ({ status: 302, headers: { location: `${vendors.base}${TCB}` } }), 'COLLATERAL_FORMAT'],
    ['an answer that announces too much', 'amd-crl', 'Genoa', '/kds/vcek/v1/Genoa/crl', () => ({ body: new Uint8Array(2 * 1024 * 1024) }), 'COLLATERAL_FORMAT'],
    ['an answer that is too much unannounced', 'jwks', 'https://issuer.example', '/jwks', () => ({ body: ' '.repeat(300 * 1024), headers: { 'transfer-encoding': 'chunked' } }), 'COLLATERAL_FORMAT'],
    ['nothing at all', 'intel-root-crl', 'root', ROOT, () => ({ body: '' }), 'COLLATERAL_FORMAT'],
    ['status 400', 'intel-root-crl', 'root', ROOT, () => ({ status: 400 }), 'COLLATERAL_FORMAT'],
    ['TCB info without the chain in its header', 'intel-tcb-info', FMSPC, TCB, () => ({ body: item(intel, 'intel-tcb-info').bytes }), 'COLLATERAL_FORMAT'],
    ['a header that is no URL encoding', 'intel-tcb-info', FMSPC, TCB, () => ({ body: item(intel, 'intel-tcb-info').bytes, headers: { 'TCB-Info-Issuer-Chain': '%zz' } }), 'COLLATERAL_FORMAT'],
    ['TCB info of another platform', 'intel-tcb-info', '00a06d080000', '/pcs/tdx/certification/v4/tcb?fmspc=00a06d080000&update=standard', () => vendors.routes.get(TCB) as Reply, 'COLLATERAL_MISMATCH'],
    ['the list of another CA', 'intel-pck-crl', 'platform', PCK, () => ({ ...(vendors.routes.get(PCK) as Reply), body: intel.pki.rootCrl }), 'COLLATERAL_MISMATCH'],
    ['a list of AMD in place of Intel\'s CA', 'intel-pck-crl', 'platform', PCK, () => ({ ...(vendors.routes.get(PCK) as Reply), body: amd.crl }), 'COLLATERAL_MISMATCH'],
    ['the chain of another generation', 'amd-chain', 'Turin/vcek', '/kds/vcek/v1/Turin/cert_chain', () => vendors.routes.get('/kds/vcek/v1/Genoa/cert_chain') as Reply, 'COLLATERAL_MISMATCH'],
    ['none', 'amd-crl', 'Turin', '/kds/vcek/v1/Turin/crl', () => ({ status: 404 }), 'COLLATERAL_ABSENT'],
  ])('%s', async (_, kind, key, path, reply, code) => {
    vendors.routes.set(path, reply());
    expect((await refusal(fetcher().fetch(kind, key))).code).toBe(code);
    // An answer, however wrong, is not asked for again at once, and nothing follows a redirect
    expect(vendors.hits).toEqual([path]);
    expect(await readdir(folder).catch(() => [])).toEqual([]);
  });

  it('says that it is a page where it is one', async () => {
    vendors.routes.set(ROOT, { body: HTML });
    expect((await refusal(fetcher().fetch('intel-root-crl', 'root'))).have).toBe('an HTML page');
  });

  it('another chip\'s VCEK', async () => {
    const key = chipKey(amd, snpReportFields('Genoa')).replace(/\/[0-9a-f]{128}/, `/${'11'.repeat(64)}`);
    const { url } = sourceOf('amd-vek', key, vendors.endpoints);
    vendors.routes.set(url.pathname + url.search, { body: amd.vek.certificate });
    expect((await refusal(fetcher().fetch('amd-vek', key))).code).toBe('COLLATERAL_MISMATCH');
  });

  it('a list that has ended already', async () => {
    vendors.routes.set(ROOT, { body: await makeCrl({ issuer: intel.pki.root, thisUpdate: NOW - 2 * DAY, nextUpdate: NOW - DAY }) });
    expect((await refusal(fetcher().fetch('intel-root-crl', 'root'))).code).toBe('COLLATERAL_EXPIRED');
  });
});

describe('Google\'s registry of hosts', () => {
  const PPID = '71'.repeat(16);
  const host = (reply: Reply) => { vendors.routes.set(`/hosts/${PPID}`, reply); return fetcher({ attempts: 1 }).fetch('gce-host', PPID); };
  it('knows a host', async () => {
    expect((await host({ body: '{"zone":"us-central1-a","timestamp":"2026-11-01T00:00:00Z"}' })).source).toBe('live');
  });
  it.each<[string, Reply, string]>([
    ['no entry', { status: 404 }, 'CLOUD_ORIGIN'], ['an HTML page', { body: HTML }, 'CLOUD_ORIGIN'], ['another document', { body: '{"zone":1}' }, 'CLOUD_ORIGIN'], ['more than 16 KiB', { body: `{"zone":"${'x'.repeat(20_000)}"}` }, 'COLLATERAL_FORMAT'],
    ['status 500', { status: 500 }, 'COLLATERAL_UNAVAILABLE'], ['a redirect to somewhere that knows it', { status: 301, headers: { location: '/elsewhere' } }, 'COLLATERAL_FORMAT'],
  ])('%s is no pass, and the PPID is in no reason', async (_, reply, code) => {
    const { code: got, path, have } = await refusal(host(reply));
    expect(got).toBe(code);
    expect(`${path} ${have}`).not.toContain(PPID);
  });
});

describe('the cache', () => {
  it('serves a list until a day has gone, renews it, and never serves it past its end', async () => {
    const one = fetcher({ attempts: 1 });
    await one.fetch('intel-root-crl', 'root');
    clock += (DAY - 1) * 1000;
    expect((await one.fetch('intel-root-crl', 'root')).source).toBe('cache');
    clock += 2000;
    expect((await one.fetch('intel-root-crl', 'root')).source).toBe('live');
    expect(vendors.count(ROOT)).toBe(2);
    // The vendor goes away: what holds is used, and it is not asked each time
    vendors.routes.set(ROOT, { status: 503 });
    clock = (NOW + 29 * DAY) * 1000;
    expect([(await one.fetch('intel-root-crl', 'root')).source, (await one.fetch('intel-root-crl', 'root')).source]).toEqual(['cache', 'cache']);
    expect(vendors.count(ROOT)).toBe(3);
    clock = (NOW + 30 * DAY + 1) * 1000;
    expect((await refusal(one.fetch('intel-root-crl', 'root'))).code).toBe('COLLATERAL_UNAVAILABLE');
  });

  it('does not hide a wrong answer behind an old one', async () => {
    const one = fetcher();
    await one.fetch('intel-root-crl', 'root');
    clock += 2 * DAY * 1000;
    vendors.routes.set(ROOT, { body: HTML });
    expect((await refusal(one.fetch('intel-root-crl', 'root'))).code).toBe('COLLATERAL_FORMAT');
  });

  it('keeps key sets for an hour, and renews one on demand, once a minute at most', async () => {
    vendors.routes.set('/jwks', { body: '{"keys":[{"kty":"RSA","kid":"1"}]}' });
    const one = fetcher();
    const get = (options = {}) => one.fetch('jwks', 'https://issuer.example', options);
    await get();
    clock += 30_000;
    expect((await get({ refresh: true })).source).toBe('cache');
    clock += 31_000;
    expect((await get({ refresh: true })).source).toBe('live');
    clock += 3599_000;
    expect((await get()).source).toBe('cache');
    vendors.routes.set('/jwks', { status: 500 });
    clock += 2000;
    expect((await refusal(get())).code).toBe('COLLATERAL_UNAVAILABLE');
  });

  it('asks only issuers that are configured', async () => {
    expect(await refusal(fetcher().fetch('jwks', 'https://evil.example'))).toMatchObject({ code: 'COLLATERAL_ABSENT', have: 'no address' });
    expect((await refusal(fetcher().fetch('jwks', 'constructor'))).code).toBe('COLLATERAL_ABSENT');
    expect(vendors.hits).toEqual([]);
  });

  it.each<[string, (text: string) => string]>([
    ['cut short', (t) => t.slice(0, -10)], ['changed', (t) => t.replace('"vendor"', '"bundle"')], ['without its digest', (t) => t.slice(65)], ['empty', () => ''],
  ])('a file that was %s is no file', async (_, change) => {
    await fetcher().fetch('intel-root-crl', 'root');
    const [name] = await readdir(folder);
    const path = join(folder, name as string);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    await writeFile(path, change(await readFile(path, 'utf8')));
    expect((await fetcher().fetch('intel-root-crl', 'root')).source).toBe('live');
    expect((await fetcher().fetch('intel-root-crl', 'root')).source).toBe('cache');
    expect(await readdir(folder)).toEqual([name]);
  });

  it('is of no use to a clock that was turned back', async () => {
    await fetcher().fetch('amd-chain', 'Genoa/vcek');
    clock -= 3600_000;
    expect((await fetcher().fetch('amd-chain', 'Genoa/vcek')).source).toBe('live');
  });
});

describe('addresses', () => {
  it.each(['http://kdsintf.amd.com', 'ftp://x', 'https://user:pass@x', 'file:///etc/passwd', '//x', 'http://127.0.0.1.evil.example', 'http://localhost.evil.example'])('%s is refused', (url) => {
    expect(() => safeUrl(url)).toThrow(Refusal);
  });
  it.each(['https://kdsintf.amd.com/x', 'http://127.0.0.1:8081', 'http://localhost', 'http://[::1]:1', 'http://169.254.169.254/metadata/THIM/amd/certification'])('%s is taken', (url) => {
    expect(safeUrl(url)).toBeInstanceOf(URL);
  });
  it.each<[CollateralKind, string]>([
    ['amd-crl', '../x'], ['amd-chain', 'Genoa/other'], ['amd-chain', 'Rome/vcek'], ['amd-vek', 'Genoa/zz/00'], ['intel-tcb-info', '../../x'], ['intel-tcb-info', 'B0C06F000000'], ['intel-pck-crl', 'x&y'], ['intel-root-crl', 'r'], ['intel-qe-identity', 'x'],
    ['gce-host', '../secret'], ['gce-endorsement', 'tdx/../x'],
  ])('a key of another form is never put into one: %s %s', async (kind, key) => {
    expect((await refusal(fetcher().fetch(kind, key))).code).toBe('COLLATERAL_FORMAT');
    expect(vendors.hits).toEqual([]);
  });
});

