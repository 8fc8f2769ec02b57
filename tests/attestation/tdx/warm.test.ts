/** What a warm verifier has kept of one machine is of no use for anything else: each verdict, its reasons and its checks are those of a cold one. */
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { TrustContext } from '../../../attestation/adapter.ts';
import { bytes, type Bytes } from '../../../attestation/bytes.ts';
import { ChainCache } from '../../../attestation/chain-cache.ts';
import { type CollateralItem, collateralOf } from '../../../attestation/collateral/collateral.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { makeCrl } from '../../../attestation/platforms/simulated/issue.ts';
import { KeyRing } from '../../../attestation/platforms/simulated/keys.ts';
import type { TdxWorld } from '../../../attestation/platforms/simulated/tdx.ts';
import { intelTime } from '../../../attestation/platforms/simulated/tdx-collateral.ts';
import { NOW, verdict, type VerdictOptions, world } from './support.ts';

const DAY = 86_400;
const LIST = { thisUpdate: NOW - 3600, nextUpdate: NOW + 30 * DAY };
let good: TdxWorld;
/** Everything of another root, under the same names. */
let stranger: TdxWorld;
/** Of the same PKI: another issue of the tables. */
let newer: TdxWorld;
beforeAll(async () => {
  good = await world();
  [stranger, newer] = [await world({ ring: new KeyRing() }), await world({ tcbInfo: { nextUpdate: intelTime(NOW + 60 * DAY), tcbEvaluationDataNumber: 21 } })];
});
afterEach(() => { vi.restoreAllMocks(); });

const flipped = (data: Bytes, at: number): Bytes => {
  const copy = bytes(data);
  const index = at < 0 ? data.length + at : at;
  copy[index] = (copy[index] as number) ^ 1;
  return copy;
};
const bytesOf = (w: TdxWorld, kind: CollateralItem['kind']): Bytes => (w.collateral.find((i) => i.kind === kind) as CollateralItem).bytes;
const replaced = (kind: CollateralItem['kind'], data: Bytes, key?: string): VerdictOptions => ({ replace: [{ kind, bytes: data, ...(key === undefined ? {} : { key }) }] });
/** A hex digit of the statement's signature. */
const forged = (kind: CollateralItem['kind']): Bytes => {
  const data = bytes(bytesOf(good, kind));
  const at = data.length - 4;
  data[at] = data[at] === 0x61 ? 0x62 : 0x61;
  return data;
};

async function warm(): Promise<ChainCache> {
  const chainCache = new ChainCache();
  // The first keeps what was read, the second what was found of it, the third uses both
  for (let round = 0; round < 3; round++) expect((await verdict(good, { trust: { chainCache } })).codes).toEqual([]);
  return chainCache;
}

const answers = async (w: TdxWorld, options: VerdictOptions, trust: Partial<TrustContext>) => {
  const { facts, checks, codes, paths } = await verdict(w, { ...options, trust: { ...options.trust, ...trust } });
  return { facts, codes, paths, checks: codes.length > 0 ? [] : checks.done };
};

async function same(options: VerdictOptions, codes: readonly string[] | undefined, of: TdxWorld = good): Promise<void> {
  const chainCache = await warm();
  const cold = await answers(of, options, {});
  expect(cold.codes.length > 0 ? cold.codes : []).toEqual(codes ?? cold.codes);
  // Twice: what the first leaves behind changes nothing either
  for (let round = 0; round < 2; round++) expect(await answers(of, options, { chainCache })).toEqual(cold);
  expect((await verdict(good, { trust: { chainCache } })).codes).toEqual([]);
}

describe('warm and cold verdicts are equal', () => {
  test('as it should be', () => same({}, []));
  test.each([
    ['tables and lists that ended', 31 * DAY, ['CRL_EXPIRED', 'COLLATERAL_EXPIRED']],
    ['tables and lists that have not begun', -0.5 * DAY, ['CRL_NOT_YET_VALID', 'COLLATERAL_NOT_YET_VALID']],
    ['certificates that ended', 8 * 365 * DAY, ['CHAIN_EXPIRED', 'CRL_EXPIRED', 'COLLATERAL_EXPIRED']],
  ])('%s', async (_, later, codes) => {
    const cold = await verdict(good, { at: NOW + later });
    for (const code of cold.codes) expect(codes).toContain(code);
    await same({ at: NOW + later }, cold.codes);
    expect(cold.codes.length).toBeGreaterThan(0);
  });

  test('no root, another root, the same root pinned with another key', async () => {
    await same({ trust: { roots: [] } }, ['CHAIN_ROOT_UNPINNED']);
    await same({ trust: { roots: [stranger.root] } }, ['CHAIN_ROOT_UNPINNED']);
    await same({ trust: { roots: [{ ...good.root, spkiSha256: '0'.repeat(64) }] } }, ['CHAIN_ROOT_UNPINNED']);
  });

  test.each(['pck', 'ca', 'signer'] as const)('%s on the operator\'s deny-list', async (level) => {
    const { issuerText: issuer, serial } = parseCertificate(good.pki[level].certificate, level);
    await same({ trust: { revoked: [{ issuer, serial }] } }, ['REVOKED']);
  });

  test('a newer list of the same issuer that revokes', async () => {
    await same(replaced('intel-pck-crl', await makeCrl({ issuer: good.pki.ca, ...LIST, number: 2, revoked: [good.pki.pck] })), ['REVOKED']);
    await same(replaced('intel-root-crl', await makeCrl({ issuer: good.pki.root, ...LIST, number: 2, revoked: [good.pki.signer] })), ['REVOKED']);
  });

  test('lists and tables of which one bit, or the issuer, is another', async () => {
    await same(replaced('intel-pck-crl', flipped(bytesOf(good, 'intel-pck-crl'), -1)), ['CRL_SIGNATURE']);
    await same(replaced('intel-root-crl', bytesOf(stranger, 'intel-root-crl')), undefined);
    await same(replaced('intel-tcb-info', forged('intel-tcb-info')), ['COLLATERAL_SIGNATURE']);
    await same(replaced('intel-qe-identity', forged('intel-qe-identity')), ['COLLATERAL_SIGNATURE']);
    await same(replaced('intel-tcb-info', bytesOf(stranger, 'intel-tcb-info')), ['COLLATERAL_SIGNATURE']);
    // The same tables in the hands of somebody else's signing certificate
    await same(replaced('intel-tcb-signing-chain', bytesOf(stranger, 'intel-tcb-signing-chain')), undefined);
    await same(replaced('intel-tcb-info', bytesOf(good, 'intel-qe-identity')), ['COLLATERAL_FORMAT']);
    await same({ without: ['intel-pck-crl/platform'] }, ['CRL_ABSENT']);
  });

  test('a newer issue of the tables is the one that counts', async () => {
    const chainCache = await warm();
    const { facts } = await verdict(newer, { trust: { chainCache } });
    expect(facts?.tcb?.evaluationNumber).toBe(20);
    expect(facts?.tcb?.nextUpdate).toBe(NOW + 29 * DAY);
    await same({}, [], newer);
  });

  test('the same collateral from elsewhere says where from; of before it held, another policy, another path', async () => {
    const items = good.collateral.map((i) => ({ ...i, source: 'cache' as const }));
    await same({ trust: { collateral: collateralOf(items) } }, []);
    const { facts } = await verdict(good, { trust: { chainCache: await warm(), collateral: collateralOf(items) } });
    expect(new Set(facts?.collateral.map((c) => c.source))).toEqual(new Set(['cache']));
    await same({ at: NOW - 30 }, []);
    await same({ trust: { revocation: 'ifAvailable' } }, []);
    await same({ input: { quote: good.quote, path: 'elsewhere.quote' } }, []);
    await same({ input: { quote: good.quote, tcb: 'skip' } }, []);
  });

  test('collateral that was held and then is not', async () => {
    const chainCache = await warm();
    for (const [key, codes] of [['intel-pck-crl/platform', ['CRL_ABSENT']], ['intel-root-crl/root', ['CRL_ABSENT']], ['intel-tcb-signing-chain/tcb-info', ['COLLATERAL_ABSENT']], ['intel-qe-identity/td', ['COLLATERAL_ABSENT']]] as const) {
      expect((await verdict(good, { without: [key], trust: { chainCache } })).codes).toEqual(codes);
    }
    expect((await verdict(good, { trust: { chainCache, collateral: undefined as never } })).codes).toEqual((await verdict(good, { trust: { collateral: undefined as never } })).codes);
  });

  test('what held without a list does not where one is required', async () => {
    const chainCache = new ChainCache();
    const without = { without: ['intel-pck-crl/platform'] };
    for (let round = 0; round < 3; round++) expect((await verdict(good, { ...without, trust: { chainCache, revocation: 'ifAvailable' } })).codes).toEqual([]);
    expect((await verdict(good, { ...without, trust: { chainCache } })).codes).toEqual(['CRL_ABSENT']);
  });

  test('another machine, under a root of its own or under this one', async () => {
    await same({ trust: { roots: [stranger.root] } }, [], stranger);
    await same({ trust: { roots: [good.root] } }, ['CHAIN_ROOT_UNPINNED'], stranger);
    await same({}, [], await world({ pck: { ppid: new Uint8Array(16).fill(9) } }));
  });

  test('a quote of which any one bit is another', async () => {
    for (let at = 0; at < good.quote.length; at += 41) await same({ input: { quote: flipped(good.quote, at) } }, undefined);
  });
});

describe('what is verified each time', () => {
  test('the two signatures of the quote, and no other', async () => {
    const chainCache = await warm();
    const verify = vi.spyOn(crypto.subtle, 'verify');
    const imports = vi.spyOn(crypto.subtle, 'importKey');
    await verdict(good, { trust: { chainCache } });
    // The first one imports the keys of what was kept, the next none
    expect(verify).toHaveBeenCalledTimes(2);
    const before = imports.mock.calls.length;
    await verdict(good, { trust: { chainCache } });
    expect([verify.mock.calls.length, imports.mock.calls.length - before]).toEqual([4, 0]);
    await verdict(good);
    expect(verify.mock.calls.length).toBeGreaterThan(4 + 6);
  });

  test('nothing is kept of what was refused, and what is kept is bounded', async () => {
    const chainCache = new ChainCache();
    await verdict(good, { trust: { chainCache, roots: [] } });
    expect([chainCache.kept.size, chainCache.size]).toEqual([0, 0]);
    await verdict(good, { ...replaced('intel-tcb-info', forged('intel-tcb-info')), trust: { chainCache } });
    expect(chainCache.kept.find('tdx-tcb-info', forged('intel-tcb-info'))).toBeUndefined();
    const small = new ChainCache(4, 3);
    for (let round = 0; round < 3; round++) {
      expect((await verdict(good, { trust: { chainCache: small } })).codes).toEqual([]);
      expect([small.size, small.kept.size]).toEqual([4, 3]);
    }
  });
});
