/** Collateral in one signed file: the same verdicts with no network at all, and nothing of a file that its pinned signer did not sign. */
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, bytes, fromB64u, hex, sha256, text, utf8 } from '../../attestation/bytes.ts';
import { CheckList } from '../../attestation/checks.ts';
import { bundleItems, checkBundleTime, openBundle, signBundle } from '../../attestation/collateral/bundle.ts';
import { CollateralCache } from '../../attestation/collateral/cache.ts';
import { type CollateralItem, collateralOf } from '../../attestation/collateral/collateral.ts';
import { createFetcher } from '../../attestation/collateral/fetch.ts';
import { wantedFor } from '../../attestation/collateral/wanted.ts';
import { tdxClaims } from '../../attestation/hardware/tdx/claims.ts';
import { verifyTdxQuote } from '../../attestation/hardware/tdx/verify.ts';
import type { TdxWorld } from '../../attestation/platforms/simulated/tdx.ts';
import { makeCrl } from '../../attestation/platforms/simulated/issue.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { generateSigningKey, type SigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { NOW, world } from '../attestation/tdx/support.ts';

const DAY = 86_400;
let intel: TdxWorld;
let signer: SigningKey;
let other: SigningKey;
let base: string;
beforeAll(async () => {
  [intel, signer, other, base] = await Promise.all([world(), generateSigningKey(), generateSigningKey(), mkdtemp(join(tmpdir(), 'ccc-bundle-'))]);
});
afterAll(() => rm(base, { recursive: true, force: true }));

const KEYS: CollateralItem = { kind: 'jwks', key: 'https://issuer.example', bytes: utf8('{"keys":[{"kty":"RSA","kid":"1"}]}'), source: 'live', fetchedAt: NOW };
const make = (items: readonly CollateralItem[] = intel.collateral, ttlSeconds = 30 * DAY) => signBundle({ items, key: signer.privateKey, now: NOW, ttlSeconds });

async function code(work: Promise<unknown> | (() => unknown)): Promise<string> {
  try {
    await (typeof work === 'function' ? work() : work);
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
  return 'accepted';
}

async function judge(items: readonly CollateralItem[], at = NOW, root = intel.root) {
  const checks = new CheckList();
  const facts = await verifyTdxQuote({ quote: intel.quote }, { roots: [root], revoked: [], now: at, collateral: collateralOf(items), revocation: 'require' }, at, checks);
  return { facts, checks };
}

describe('with no network', () => {
  it('the verdict is the same, and claims say where collateral came from', async () => {
    const online = await judge(intel.collateral.map((i) => ({ ...i, source: 'live' as const })));
    const bundle = await openBundle(await make(), signer.publicKey);
    const offline = await judge(bundleItems(bundle, NOW));
    if (online.facts === undefined || offline.facts === undefined) throw new Error('refused');
    const [a, b] = [tdxClaims(online.facts, NOW), tdxClaims(offline.facts, NOW)];
    expect({ ...b, collateral: b.collateral?.map(({ source: _, ...c }) => c) }).toEqual({ ...a, collateral: a.collateral?.map(({ source: _, ...c }) => c) });
    expect(offline.checks.done).toEqual(online.checks.done);
    expect(new Set(b.collateral?.map((c) => c.source))).toEqual(new Set(['offline']));
    expect(new Set(a.collateral?.map((c) => c.source))).toEqual(new Set(['live']));
  });

  it('an imported bundle serves a fetcher whose network throws', async () => {
    const folder = join(base, 'imported');
    const cache = new CollateralCache(folder);
    for (const record of (await openBundle(await make([...intel.collateral, KEYS]), signer.publicKey)).records) await cache.put(record);
    let asked = 0;
    const dead = createFetcher({ folder, now: () => (NOW + 3 * DAY) * 1000, fetch: async () => { asked++; throw new TypeError('no network'); }, wait: async () => {}, random: () => 0 });
    const { items, reasons } = await dead.collect([...wantedFor(intel.quote).filter((w) => w.kind !== 'intel-pck-crl-chain'), { kind: 'jwks', key: KEYS.key }]);
    expect(reasons).toEqual([]);
    expect(new Set(items.map((i) => i.source))).toEqual(new Set(['offline']));
    expect((await judge(items, NOW + 3 * DAY)).facts?.tcb?.status).toBe('UpToDate');
    // Lists are due after a day, so it did try
    expect(asked).toBeGreaterThan(0);
    // Past nextUpdate nothing of it is good
    const late = createFetcher({ folder, now: () => (NOW + 31 * DAY) * 1000, fetch: async () => { throw new TypeError('no network'); }, wait: async () => {}, random: () => 0, attempts: 1 });
    expect(await code(late.fetch('intel-root-crl', 'root'))).toBe('COLLATERAL_UNAVAILABLE');
    expect(await code(late.fetch('jwks', KEYS.key))).not.toBe('accepted');
  });

  it('what a bundle brings is verified like anything else', async () => {
    const forged = await Promise.all(intel.collateral.map(async (i) => (i.kind === 'intel-root-crl' ? { ...i, bytes: await makeCrl({ issuer: intel.pki.root, signWith: intel.pki.pck.key, thisUpdate: NOW - DAY, nextUpdate: NOW + DAY }) } : i)));
    const { checks } = await judge(bundleItems(await openBundle(await make(forged), signer.publicKey), NOW));
    expect(await code(() => checks.refuseIfFailed())).toBe('CRL_SIGNATURE');
  });

  it('a list past its end is named as that, not as missing', async () => {
    const { checks } = await judge(bundleItems(await openBundle(await make(intel.collateral, 365 * DAY), signer.publicKey), NOW + 40 * DAY), NOW + 40 * DAY);
    expect(await code(() => checks.refuseIfFailed())).toBe('CRL_EXPIRED');
  });
});

describe('a bundle', () => {
  it('carries every item byte for byte', async () => {
    const bundle = await openBundle(`${await make()}\n`, signer.publicKey);
    expect(bundle.records).toHaveLength(intel.collateral.length);
    for (const { kind, key, bytes: data } of bundle.records) expect(hex(data)).toBe(hex(intel.collateral.find((i) => i.kind === kind && i.key === key)?.bytes ?? bytes([])));
    expect(bundle.sha256).toMatch(/^[0-9a-f]{64}$/);
    // The order in which they were fetched is no matter of the file
    expect(text(fromB64u((await make([...intel.collateral].reverse())).split('.')[1] as string))).toBe(text(fromB64u((await make()).split('.')[1] as string)));
  });

  it('counts by its pinned signer only', async () => {
    expect(await code(openBundle(await make(), other.publicKey))).toBe('COLLATERAL_SIGNATURE');
  });

  it('has a type of its own', async () => {
    expect(await code(openBundle(await signJws('ccc-policy+jws', { v: 'ccc-collateral/v1', iat: NOW, exp: NOW + 1, items: [] }, signer.privateKey), signer.publicKey))).toBe('COLLATERAL_SIGNATURE');
    expect(await code(openBundle(await signJws('ccc-collateral+jws', { v: 'ccc-collateral/v1', iat: NOW, exp: NOW + 1, items: [] }, signer.privateKey, { kid: 'x' }), signer.publicKey))).toBe('COLLATERAL_SIGNATURE');
  });

  it.each<[string, (jws: string) => string]>([
    ['an item changed', (jws) => { const [h, p, s] = jws.split('.') as [string, string, string]; return `${h}.${b64u(utf8(text(fromB64u(p)).replace('"intel-root-crl"', '"google-crl"')))}.${s}`; }],
    ['an item left out', (jws) => { const [h, p, s] = jws.split('.') as [string, string, string]; const payload = JSON.parse(text(fromB64u(p))) as { items: unknown[] }; payload.items.pop(); return `${h}.${b64u(utf8(JSON.stringify(payload)))}.${s}`; }],
    ['a longer life', (jws) => { const [h, p, s] = jws.split('.') as [string, string, string]; const payload = JSON.parse(text(fromB64u(p))) as { exp: number }; payload.exp += DAY; return `${h}.${b64u(utf8(JSON.stringify(payload)))}.${s}`; }],
    ['no signature', (jws) => `${jws.slice(0, jws.lastIndexOf('.'))}.`],
    ['alg none', (jws) => `${b64u(utf8('{"alg":"none","typ":"ccc-collateral+jws"}'))}.${jws.split('.')[1]}.`],
    ['cut short', (jws) => jws.slice(0, -4)],
    ['no bundle', () => 'hello'],
    ['empty', () => ''],
  ])('with %s is refused as a whole', async (_, change) => {
    expect(await code(openBundle(change(await make()), signer.publicKey))).toBe('COLLATERAL_SIGNATURE');
  });

  const listed = async (change: Record<string, unknown> = {}) => ({ kind: 'jwks', key: 'x', fetchedAt: NOW, sha256: hex(await sha256(KEYS.bytes)), bytes: b64u(KEYS.bytes), ...change });
  it.each<[string, (item: Record<string, unknown>) => object]>([
    ['another digest', (i) => ({ items: [{ ...i, sha256: '0'.repeat(64) }] })], ['an unknown kind', (i) => ({ items: [{ ...i, kind: 'tea' }] })], ['an unknown member', (i) => ({ items: [i], more: 1 })], ['an item twice', (i) => ({ items: [i, i] })],
    ['another version', (i) => ({ v: 'ccc-collateral/v2', items: [i] })], ['another spelling of bytes', (i) => ({ items: [{ ...i, bytes: `${String(i['bytes'])}=` }] })],
  ])('with %s is refused though it is signed', async (_, change) => {
    const jws = await signJws('ccc-collateral+jws', { v: 'ccc-collateral/v1', iat: NOW, exp: NOW + DAY, ...change(await listed()) }, signer.privateKey);
    expect(await code(openBundle(jws, signer.publicKey))).toBe('COLLATERAL_FORMAT');
  });

  it('ends, and is not of the future', async () => {
    const bundle = await openBundle(await make([KEYS], DAY), signer.publicKey);
    expect(bundleItems(bundle, NOW + DAY)).toHaveLength(1);
    expect(await code(() => bundleItems(bundle, NOW + DAY + 1))).toBe('COLLATERAL_EXPIRED');
    expect(await code(() => checkBundleTime(bundle, NOW - 61))).toBe('COLLATERAL_NOT_YET_VALID');
    expect(await code(() => checkBundleTime(bundle, NOW - 59))).toBe('accepted');
  });

  it('vouches for key sets, not for hosts past a week', async () => {
    const host: CollateralItem = { kind: 'gce-host', key: '71'.repeat(16), bytes: utf8('{"zone":"z","timestamp":"t"}'), source: 'live', fetchedAt: NOW };
    const bundle = await openBundle(await make([KEYS, host]), signer.publicKey);
    expect(bundleItems(bundle, NOW + 6 * DAY).map((i) => i.kind).sort()).toEqual(['gce-host', 'jwks']);
    expect(bundleItems(bundle, NOW + 8 * DAY).map((i) => i.kind)).toEqual(['jwks']);
  });

  it('survives no flipped byte', async () => {
    const jws = await make([KEYS]);
    const path = join(base, 'flipped');
    for (let i = 0; i < jws.length; i += 7) {
      await writeFile(path, `${jws.slice(0, i)}${jws[i] === 'A' ? 'B' : 'A'}${jws.slice(i + 1)}`);
      const changed = await readFile(path, 'utf8');

      if (changed !== jws) expect(await code(openBundle(changed, signer.publicKey)), String(i)).toBe('COLLATERAL_SIGNATURE');
    }
  });
});
