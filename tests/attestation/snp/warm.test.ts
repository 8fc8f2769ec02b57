/** What a warm verifier has kept of one chip is of no use for anything else: each verdict, its reasons and its checks are those of a cold one. */
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { bytes, type Bytes } from '../../../attestation/bytes.ts';
import { ChainCache } from '../../../attestation/chain-cache.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { makeSnpCrl } from '../../../attestation/platforms/simulated/snp-pki.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { type Change, item, KEYS, NOW, reportOf, type SnpWorld, snpWorld, verified } from './world.ts';

const DAY = 86_400;
let good: SnpWorld;
let report: Bytes;
beforeAll(async () => {
  good = await snpWorld();
  report = await reportOf(good);
});
afterEach(() => { vi.restoreAllMocks(); });

const flipped = (data: Bytes, at: number): Bytes => {
  const copy = bytes(data);
  const index = at < 0 ? data.length + at : at;
  copy[index] = (copy[index] as number) ^ 1;
  return copy;
};

async function answer(w: SnpWorld, change: Change): Promise<unknown> {
  try {
    return await verified(w, { ...change, input: { report, ...change.input } });
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    return error.reasons;
  }
}
const codesOf = (said: unknown): string[] => (Array.isArray(said) ? [...new Set((said as { code: string }[]).map((r) => r.code))] : []);

async function warm(): Promise<ChainCache> {
  const chainCache = new ChainCache();
  expect(codesOf(await answer(good, { trust: { chainCache } }))).toEqual([]);
  return chainCache;
}

async function same(change: Change, codes: readonly string[] | undefined, w: SnpWorld = good): Promise<void> {
  const chainCache = await warm();
  const cold = await answer(w, change);
  expect(codesOf(cold)).toEqual(codes ?? codesOf(cold));
  for (let round = 0; round < 2; round++) expect(await answer(w, { ...change, trust: { ...change.trust, chainCache } })).toEqual(cold);
  expect(codesOf(await answer(good, { trust: { chainCache } }))).toEqual([]);
}
const withCrl = (crl: Bytes): Change => ({ trust: { collateral: collateralOf([item('amd-crl', 'Genoa', crl)]) } });

describe('warm and cold verdicts are equal', () => {
  test('as it should be, and at other times', async () => {
    await same({}, []);
    await same({ at: NOW + 31 * DAY }, ['CRL_EXPIRED']);
    await same({ at: NOW + 366 * DAY }, ['CHAIN_EXPIRED', 'CRL_EXPIRED']);
    await same({ at: NOW - 2 * DAY }, ['CHAIN_NOT_YET_VALID', 'CRL_NOT_YET_VALID']);
  });

  test('roots, deny-list, revocation lists', async () => {
    const { issuerText: issuer, serial } = parseCertificate(good.pki.ask.certificate, 'ask');
    await same({ trust: { roots: [] } }, ['CHAIN_ROOT_UNPINNED']);
    await same({ trust: { roots: [{ ...good.root, spkiSha256: '0'.repeat(64) }] } }, ['CHAIN_ROOT_UNPINNED']);
    await same({ trust: { revoked: [{ issuer, serial }] } }, ['REVOKED']);
    await same(withCrl(await makeSnpCrl(good.pki, NOW, { revoked: [good.pki.ask] })), ['REVOKED']);
    await same(withCrl(flipped(good.crl, -1)), ['CRL_SIGNATURE']);
    await same({ trust: { collateral: collateralOf([]) } }, ['CRL_ABSENT']);
  });

  test('certificates of which one bit is another, or another key\'s', async () => {
    await same({ input: { vek: flipped(good.vek.certificate, -1) } }, ['CHAIN_SIGNATURE']);
    await same({ input: { issuers: [flipped(good.issuers[0] as Bytes, -1), good.issuers[1] as Bytes] } }, ['CHAIN_SIGNATURE']);
    const other = await snpWorld({ vekChange: { key: await KEYS.get('P-384', 'another chip') } });
    await same({}, ['SIG_INVALID'], other);
    await same({ input: { report: await reportOf(other) } }, [], other);
    await same({ input: { report: await reportOf(other) } }, ['SIG_INVALID']);
  });

  test('a report of which any one bit is another', async () => {
    for (let at = 0; at < report.length; at += 29) await same({ input: { report: flipped(report, at) } }, undefined);
  });
});

describe('what is verified each time', () => {
  test('the signature of the report, and no other; it is begun early for a certificate that verified before only', async () => {
    const chainCache = await warm();
    const verify = vi.spyOn(crypto.subtle, 'verify');
    await answer(good, { trust: { chainCache } });
    expect(verify).toHaveBeenCalledTimes(1);
    expect(codesOf(await answer(good, { trust: { chainCache, roots: [] } }))).toEqual(['CHAIN_ROOT_UNPINNED']);
    verify.mockClear();
    expect(codesOf(await answer(good, { trust: { chainCache: new ChainCache(), roots: [] } }))).toEqual(['CHAIN_ROOT_UNPINNED']);
    const cold = verify.mock.calls.length;
    expect(codesOf(await answer(good, { input: { vek: flipped(good.vek.certificate, -1) }, trust: { chainCache, roots: [] } }))).toEqual(['CHAIN_ROOT_UNPINNED']);
    expect(verify.mock.calls.length).toBe(2 * cold);
  });

  test('nothing is kept of what was refused, and what is kept is bounded', async () => {
    const chainCache = new ChainCache();
    await answer(good, { trust: { chainCache, roots: [] } });
    expect([chainCache.kept.size, chainCache.size]).toEqual([0, 0]);
    const small = new ChainCache(2, 2);
    for (let round = 0; round < 2; round++) {
      expect(codesOf(await answer(good, { trust: { chainCache: small } }))).toEqual([]);
      expect([small.size, small.kept.size]).toEqual([2, 2]);
    }
  });
});
