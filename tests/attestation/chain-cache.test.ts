import { beforeAll, describe, expect, test, vi } from 'vitest';
import { type Bytes, bytes, hex } from '../../attestation/bytes.ts';
import { ChainCache } from '../../attestation/chain-cache.ts';
import { type Certificate, parseCertificate } from '../../attestation/formats/x509.ts';
import { Kept, keepCertificates } from '../../attestation/kept.ts';
import { awsNitro } from '../../attestation/platforms/aws-nitro/verify.ts';
import type { TrustContext } from '../../attestation/adapter.ts';
import { evidence, EXPECT, NOW, refused, type World, world } from './support.ts';

let good: World;
beforeAll(async () => { good = await world(); });

const verify = async (w: World, trust: Partial<TrustContext>, change = {}) => awsNitro.verify(await evidence(w, change), EXPECT, { ...w.trust, ...trust });

/** A cache that has seen the good chain. */
async function warm(): Promise<ChainCache> {
  const chainCache = new ChainCache();
  await verify(good, { chainCache });
  expect(chainCache.size).toBe(4);
  return chainCache;
}

function lastByteFlipped(der: Bytes): Bytes {
  const copy = bytes(der);
  copy[copy.length - 1] = (copy[copy.length - 1] as number) ^ 1;
  return copy;
}

describe('a warm verifier gives the verdicts of a cold one', () => {
  test('same claims', async () => {
    const chainCache = await warm();
    const given = await evidence(good);
    const [cold, hot] = [await awsNitro.verify(given, EXPECT, good.trust), await awsNitro.verify(given, EXPECT, { ...good.trust, chainCache })];
    expect(hot).toEqual(cold);
    expect(chainCache.size).toBe(4);
  });

  test.each([1, 2, 3])('certificate %i with another signature over the same content', async (i) => {
    const cabundle = good.chain.cabundle.map((der, at) => (at === i ? lastByteFlipped(der) : der));
    await refused(verify(good, { chainCache: await warm() }, { cabundle }), 'CHAIN_SIGNATURE');
  });

  test('a leaf with another signature over the same content', async () => {
    await refused(verify(good, { chainCache: await warm() }, { certificate: lastByteFlipped(good.chain.certificate) }), 'CHAIN_SIGNATURE');
  });

  test('expiry, revocation and roots are judged each time', async () => {
    const chainCache = await warm();
    const { issuerText: issuer, serial, notAfter } = parseCertificate(good.chain.cabundle[3] as Bytes, 'instance');
    await refused(verify(good, { chainCache, revoked: [{ issuer, serial }] }), 'REVOKED');
    await refused(verify(good, { chainCache, roots: [] }), 'CHAIN_ROOT_UNPINNED');
    await refused(verify(good, { chainCache, now: notAfter + 1 }, { timestamp: (notAfter + 1) * 1000 }), 'CHAIN_EXPIRED');
    await refused(verify(good, { chainCache, now: NOW - 86_400 * 3 }, { timestamp: (NOW - 86_400 * 3) * 1000 }), 'CHAIN_NOT_YET_VALID');
  });

  test('a chain of the same names by other keys is not found', async () => {
    const chainCache = await warm();
    const stranger = await world();
    const cabundle = [good.chain.cabundle[0] as Bytes, ...stranger.chain.cabundle.slice(1)];
    await refused(verify({ ...stranger, trust: good.trust }, { chainCache }, { cabundle }), 'CHAIN_SIGNATURE');
  });

  test('certificates are kept when the whole chain verified, the leaf apart; the document\'s signature is verified each time', async () => {
    const chainCache = await warm();
    const { kept, leaves } = chainCache;
    expect(kept.size).toBe(4);
    expect(good.chain.cabundle.map((der) => kept.find('certificate', der)?.der)).toEqual(good.chain.cabundle);
    expect(kept.find('certificate', good.chain.certificate)).toBeUndefined();
    expect([leaves.size, leaves.find('certificate', good.chain.certificate)?.der]).toEqual([1, good.chain.certificate]);
    const given = await evidence(good);
    const signatures = vi.spyOn(crypto.subtle, 'verify');
    await awsNitro.verify(given, EXPECT, { ...good.trust, chainCache });
    expect(signatures).toHaveBeenCalledTimes(1);
    signatures.mockRestore();
    await refused(awsNitro.verify({ ...given, document: lastByteFlipped(given.document) }, EXPECT, { ...good.trust, chainCache }), 'SIG_INVALID');
    const { issuerText: issuer, serial, notAfter } = parseCertificate(good.chain.certificate, 'leaf');
    await refused(verify(good, { chainCache, revoked: [{ issuer, serial }] }), 'REVOKED');
    await refused(verify(good, { chainCache, now: notAfter + 1 }, { timestamp: (notAfter + 1) * 1000 }), 'CHAIN_EXPIRED');
    const fresh = new ChainCache();
    await refused(verify(good, { chainCache: fresh }, { certificate: lastByteFlipped(good.chain.certificate) }), 'CHAIN_SIGNATURE');
    expect([fresh.kept.size, fresh.leaves.size]).toEqual([0, 0]);
  });

  test('a certificate with the end of a kept one is another one', async () => {
    const chainCache = await warm();
    const cabundle = good.chain.cabundle.map((der, at) => {
      const copy = bytes(der);
      if (at === 2) copy[60] = (copy[60] as number) ^ 1;
      return copy;
    });
    expect(chainCache.kept.find('certificate', cabundle[2] as Bytes)).toBeUndefined();
    await expect(verify(good, { chainCache }, { cabundle })).rejects.toThrow();
    expect(chainCache.kept.size).toBe(4);
    await verify(good, { chainCache });
  });

  test('another root of the same bytes\' pin is judged each time', async () => {
    const chainCache = await warm();
    await refused(verify(good, { chainCache, roots: [{ ...good.root, spkiSha256: '0'.repeat(64) }] }), 'CHAIN_ROOT_UNPINNED');
  });

  test('only what verified is remembered', async () => {
    const chainCache = new ChainCache();
    const cabundle = good.chain.cabundle.map((der, at) => (at === 2 ? lastByteFlipped(der) : der));
    await refused(verify(good, { chainCache }, { cabundle }), 'CHAIN_SIGNATURE');
    expect(chainCache.size).toBe(3);
  });
});

describe('what is kept', () => {
  const certificates = () => good.chain.cabundle.map((der) => parseCertificate(der, 'certificate')) as [Certificate, Certificate, Certificate];

  test('is bounded, drops what was used longest ago, and does not hold the document that it came in', () => {
    const kept = new Kept(2);
    const [a, b, c] = certificates();
    const find = ({ der }: Certificate) => kept.find('certificate', der);
    keepCertificates([a, b], kept);
    expect(find(a)).toEqual(a);
    keepCertificates([c], kept);
    expect([find(a), find(b), find(c)].map((k) => k !== undefined)).toEqual([true, false, true]);
    const before = find(a);
    keepCertificates([a], kept);
    expect(find(a)).toBe(before);
    expect(find(a)?.der.buffer.byteLength).toBe(a.der.length);
    kept.keep('pem', new Uint8Array(300_000), () => []);
    expect([kept.find('pem', new Uint8Array(300_000)), kept.size]).toEqual([undefined, 2]);
  });

  test('is found by the same bytes of the same kind only, however alike others are, and is not what the caller changes later', () => {
    const kept = new Kept();
    const [{ der }] = certificates();
    const given = bytes(der);
    kept.keep('certificate', given, (copy) => parseCertificate(copy, 'c'));
    expect(kept.find('pem', der)).toBeUndefined();
    for (let at = 0; at < der.length; at++) {
      const other = bytes(der);
      other[at] = (other[at] as number) ^ 1;
      expect(kept.find('certificate', other)).toBeUndefined();
    }
    for (const other of [der.subarray(1), der.subarray(0, -1), bytes([...der, 0])]) expect(kept.find('certificate', other)).toBeUndefined();
    given.fill(0);
    expect(kept.find('certificate', given)).toBeUndefined();
    expect(kept.find('certificate', der)?.der).toEqual(der);
  });
});

describe('cache', () => {
  test('is bounded, and drops what was used longest ago', () => {
    const cache = new ChainCache(2);
    cache.add('a');
    cache.add('b');
    expect(cache.has('a')).toBe(true);
    cache.add('c');
    expect([cache.has('a'), cache.has('b'), cache.has('c'), cache.size]).toEqual([true, false, true, 2]);
  });

  test('names differ by issuer, serial, expiry, issuer\'s key and bytes', async () => {
    const link = { issuer: 'CN=a', serial: '1', notAfter: 5, issuerSpki: bytes([1, 2]), der: bytes([3]) };
    const names = await Promise.all([link, { ...link, issuer: 'CN=b' }, { ...link, serial: '2' }, { ...link, notAfter: 6 }, { ...link, issuerSpki: bytes([1, 3]) }, { ...link, der: bytes([4]) }].map((l) => ChainCache.nameOf(l)));
    expect(new Set(names).size).toBe(names.length);
    expect(hex(link.der)).toBe('03');
  });
});
