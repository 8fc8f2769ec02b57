/** Certificates under changes: structure-aware mutations, flips and cuts of every algorithm and of genuine certificates. No other error, soon, and what is read agrees with its bytes. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, hex } from '../../attestation/bytes.ts';
import * as der from '../../attestation/formats/der.ts';
import { parseCrl } from '../../attestation/formats/crl.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { der as write } from '../../attestation/platforms/simulated/der-writer.ts';
import { crlDistributionPoints, extendedKeyUsage, makeCrl } from '../../attestation/platforms/simulated/issue.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { DAY, KEYS, pki } from './path-support.ts';
import { NO_VECTORS, NOW, refused, vector } from './support.ts';
import { cpuMs } from '../cpu.ts';

const CODES = new Set<string>(['FMT_DER', 'FMT_SIZE', 'CHAIN_ALGORITHM', 'CRL_FORMAT']);
/** Of processor time. */
const SLOW_MS = 2000;

/** What a reader makes of bytes: read or refused, never another error, never slow. */
function judge(data: Bytes, read: (data: Bytes) => { der: Bytes }): boolean {
  const start = cpuMs();
  try {
    // Plain comparisons: this runs a hundred thousand times
    if (read(data).der !== data) throw new Error('other bytes than those received');
    return true;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (!error.codes.every((code) => CODES.has(code))) throw error;
    return false;
  } finally {
    slowest = Math.max(slowest, cpuMs() - start);
  }
}
let slowest = 0;

const asCertificate = (data: Bytes) => parseCertificate(data, 'c');
const asCrl = (data: Bytes) => parseCrl(data, 'l');
let corpus: { data: Bytes; read: (data: Bytes) => { der: Bytes } }[] = [];

beforeAll(async () => {
  const p = await pki({ leaf: { extensions: [crlDistributionPoints(['http://a.example/crl']), extendedKeyUsage(['2.23.133.8.3'])] }, intermediate: { key: await KEYS.get('RSA-2048', 'root'), algorithm: 'ES256' } });
  const genuine = NO_VECTORS ? [] : [vector('amd-sev-snp/attestation-rs/genoa-v5.vcek.der'), vector('azure-cvm/flashbots/1764662251.ak.der'), vector('gcp-vtpm/go-tpm-tools/gce-cos-85-nonce9009.ak.der'), ...readPem(vector('amd-sev-snp/roots/ask_ark_milan.pem'), 'CERTIFICATE', 'p', 2)];
  const list = await makeCrl({ issuer: p.root, thisUpdate: NOW, nextUpdate: NOW + DAY, revoked: [p.leaf, p.intermediate] });
  corpus = [...[p.leaf.certificate, p.intermediate.certificate, ...genuine].map((data) => ({ data, read: asCertificate })), ...[list, ...(NO_VECTORS ? [] : [vector('intel-tdx/attestation-rs/collateral/pck_crl_platform.der')])].map((data) => ({ data, read: asCrl }))];
});

describe('changed bytes', () => {
  test('every cut is refused, and every byte behind', async () => {
    for (const { data, read } of corpus) {
      expect(judge(data, read)).toBe(true);
      for (let i = 0; i < data.length; i++) if (judge(data.slice(0, i), read)) expect.unreachable(`cut at ${i}`);
      expect(judge(concat(data, bytes([0])), read)).toBe(false);
    }
  });

  test('every byte changed: read or refused', () => {
    for (const { data, read } of corpus) {
      let accepted = 0;
      for (let i = 0; i < data.length; i++) {
        for (const mask of [0x01, 0xfe]) {
          const changed = bytes(data);
          changed[i] = (changed[i] as number) ^ mask;
          accepted += judge(changed, read) ? 1 : 0;
        }
      }
      expect(accepted).toBeGreaterThan(0);
      expect(accepted).toBeLessThan(data.length * 2);
    }
    expect(slowest).toBeLessThan(SLOW_MS);
  });

  /** One node of the tree, anywhere, is replaced, dropped, doubled or given another tag; lengths around it are made right again. */
  function mutate(data: Bytes, pick: number, how: number, value: Uint8Array): Bytes {
    const count = { left: pick };
    const walk = (node: der.DerNode): Bytes[] => {
      if (count.left-- === 0) {
        if (how === 0) return [];
        if (how === 1) return [node.raw, node.raw];
        if (how === 2) return [write(value[0] ?? 0, node.value)];
        if (how === 3) return [write(node.tag, value)];
        return [bytes(value)];
      }
      if ((node.tag & 0x20) !== 0 && node.value.length > 0) return [write(node.tag, ...der.children(node, node.tag).flatMap(walk))];
      return [node.raw];
    };
    return concat(...walk(der.readDer(data, 'm')));
  }

  test('structure-aware mutations', () => {
    let accepted = 0;
    fc.assert(fc.property(fc.nat({ max: 20 }), fc.nat({ max: 80 }), fc.nat({ max: 4 }), fc.uint8Array({ maxLength: 24 }), (which, pick, how, value) => {
      const { data, read } = corpus[which % corpus.length] as (typeof corpus)[number];
      accepted += judge(mutate(data, pick, how, value), read) ? 1 : 0;
    }), { numRuns: 6000 });
    expect(accepted).toBeGreaterThan(0);
  });

  test('random bytes and deep nesting', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (raw) => {
      judge(bytes(raw), asCertificate);
      judge(bytes(raw), asCrl);
    }), { numRuns: 3000 });
    let deep: Bytes = bytes([5, 0]);
    for (let i = 0; i < 5000; i++) deep = write(0x30, deep);
    judge(deep, asCertificate);
    judge(deep, asCrl);
  });
});

describe('pieces', () => {
  test('a value and what is behind it', async () => {
    const { node, rest } = der.readDerPrefix(bytes([4, 1, 7, 0, 0]), 't');
    expect([hex(node.raw), hex(rest)]).toEqual(['040107', '0000']);
    await refused(() => der.readDerPrefix(bytes([4, 5, 7]), 't'), 'FMT_DER');
  });

  test('named bits in whole bytes only where a caller allows them', async () => {
    const padded = der.readDer(bytes([3, 2, 0, 4]), 't');
    expect([...der.namedBits(padded, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i'], 'padded')]).toEqual(['f']);
    await refused(() => der.namedBits(padded, ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i']), 'FMT_DER');
    await refused(() => der.namedBits(der.readDer(bytes([3, 2, 1, 5]), 't'), ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'], 'padded'), 'FMT_DER');
  });
});
