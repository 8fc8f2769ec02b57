/** Properties of the parsers, and hostile bytes: whatever comes in, a refusal or the same bytes come out, never another error. */
import fc from 'fast-check';
import { beforeAll, describe, expect, test } from 'vitest';
import { type Bytes, bytes, concat, equal, hex } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { readVek } from '../../../attestation/formats/amd-cert.ts';
import { cutSnpReport, decodePlatformInfo, decodePolicy, parseSnpReport } from '../../../attestation/formats/snp-report.ts';
import { parseCertificate } from '../../../attestation/formats/x509.ts';
import { below, COMPONENTS, decodeTcb, encodeTcb, generationOf, namesProduct } from '../../../attestation/hardware/snp/generation.ts';
import { verifySnp } from '../../../attestation/hardware/snp/verify.ts';
import { makeVek, vekFields } from '../../../attestation/platforms/simulated/snp-pki.ts';
import { encodeSnpReport, snpReportFields } from '../../../attestation/platforms/simulated/snp.ts';
import { Refusal } from '../../../attestation/refusal.ts';
import { AMD_PRODUCTS, KEYS, NOW, pkiOf, reportOf, snpWorld, type SnpWorld, verified } from './world.ts';

const array = (length: number) => fc.uint8Array({ minLength: length, maxLength: length }).map((a) => bytes(a));
const product = fc.constantFrom(...AMD_PRODUCTS);
const byte = fc.integer({ min: 0, max: 255 });

/** The value, or undefined for a refusal. */
function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch (error) {
    expect(error).toBeInstanceOf(Refusal);
    return undefined;
  }
}

describe('reports', () => {
  test('every field comes back as it was written', () => {
    fc.assert(fc.property(fc.record({
      version: fc.constantFrom(3, 4, 5), guestSvn: fc.integer({ min: 0, max: 0xffffffff }), policy: fc.bigInt({ min: 0n, max: (1n << 26n) - 1n }).map((p) => p | (1n << 17n)), familyId: array(16), imageId: array(16), vmpl: fc.integer({ min: 0, max: 3 }),
      currentTcb: array(8), platformInfo: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), signerInfo: fc.constantFrom(0, 1, 2, 3, 4, 5, 6, 7, 28, 31), reportData: array(64), measurement: array(48), hostData: array(32), idKeyDigest: array(48), authorKeyDigest: array(48),
      reportId: array(32), reportIdMa: array(32), reportedTcb: array(8), cpuid: fc.tuple(byte, byte, byte), chipId: array(64), committedTcb: array(8), currentVersion: fc.tuple(byte, byte, byte), committedVersion: fc.tuple(byte, byte, byte), launchTcb: array(8),
      launchMitVector: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }), currentMitVector: fc.bigInt({ min: 0n, max: (1n << 64n) - 1n }),
    }), (fields) => {
      const report = parseSnpReport(encodeSnpReport(snpReportFields('Genoa', 'vcek', fields)), 'report');
      for (const name of ['familyId', 'imageId', 'currentTcb', 'reportData', 'measurement', 'hostData', 'idKeyDigest', 'authorKeyDigest', 'reportId', 'reportIdMa', 'reportedTcb', 'chipId', 'committedTcb', 'launchTcb'] as const) expect(hex(report[name])).toBe(hex(fields[name]));
      expect(report).toMatchObject({ version: fields.version, guestSvn: fields.guestSvn, vmpl: fields.vmpl, policyBits: fields.policy, platformInfoBits: fields.platformInfo });
      expect([report.cpuid?.family, report.cpuid?.model, report.cpuid?.stepping]).toEqual(fields.cpuid);
      expect([report.currentVersion.build, report.currentVersion.minor, report.currentVersion.major]).toEqual(fields.currentVersion);
      expect([report.committedVersion.build, report.committedVersion.minor, report.committedVersion.major]).toEqual(fields.committedVersion);
      expect(report.mitigations).toEqual(fields.version === 5 ? { launch: fields.launchMitVector, current: fields.currentMitVector } : null);
      expect(report.signer).toEqual({ authorKey: (fields.signerInfo & 1) === 1, maskChipKey: (fields.signerInfo & 2) === 2, key: ['vcek', 'vlek', '', '', '', '', '', 'none'][fields.signerInfo >> 2] });
    }), { numRuns: 60 });
  });

  test('bits of policy and platform information, each alone', () => {
    const on = (record: object): string[] => Object.entries(record).filter(([, v]) => v === true).map(([k]) => k);
    const names = ['smt', undefined, 'migrateMa', 'debug', 'singleSocket', 'cxlAllowed', 'aes256Xts', 'raplDisabled', 'ciphertextHiding', 'pageSwapDisabled'];
    names.forEach((name, i) => expect(on(decodePolicy(1n << BigInt(16 + i)))).toEqual(name === undefined ? [] : [name]));
    ['smtEnabled', 'tsmeEnabled', 'eccEnabled', 'raplDisabled', 'ciphertextHiding', 'aliasCheckComplete', undefined].forEach((name, i) => expect(on(decodePlatformInfo(1n << BigInt(i)))).toEqual(name === undefined ? [] : [name]));
    expect(decodePolicy(0x1234n)).toMatchObject({ abiMajor: 0x12, abiMinor: 0x34 });
  });

  test('any bytes of any length', () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1300 }), (data) => void attempt(() => parseSnpReport(cutSnpReport(bytes(data), 'report'), 'report'))), { numRuns: 300 });
    fc.assert(fc.property(array(1184), fc.constantFrom(2, 3, 4, 5), (data, version) => {
      data.set([version, 0, 0, 0]);
      attempt(() => parseSnpReport(data, 'report'));
    }), { numRuns: 300 });
  });

  test('a buffer of 1204 bytes is cut only where a known header follows', () => {
    fc.assert(fc.property(array(20), (tail) => {
      const cut = attempt(() => cutSnpReport(concat(new Uint8Array(1184), tail), 'report'));
      expect(cut).toBe(undefined);
    }), { numRuns: 200 });
  });
});

describe('generations', () => {
  test('TCBs survive both ways; a byte outside of the layout never passes', () => {
    fc.assert(fc.property(product, array(8), (p, tcb) => {
      const decoded = attempt(() => decodeTcb(tcb, p, 'tcb'));
      const used = p === 'Turin' ? [0, 1, 2, 3, 7] : [0, 1, 6, 7];
      const fits = tcb.every((b, i) => b === 0 || used.includes(i));
      expect(decoded !== undefined).toBe(fits);
      if (decoded !== undefined) expect(equal(encodeTcb(decoded, p), tcb)).toBe(true);
      const masked = bytes(tcb.map((b, i) => (used.includes(i) ? b : 0)));
      expect(equal(encodeTcb(decodeTcb(masked, p, 'tcb'), p), masked)).toBe(true);
      expect(Object.keys(decodeTcb(masked, p, 'tcb')).sort()).toEqual([...COMPONENTS[p]].sort());
    }), { numRuns: 300 });
  });

  test('below is by component: nothing is below itself, and one lower component is found', () => {
    fc.assert(fc.property(product, array(8), fc.nat(10), (p, raw, which) => {
      const tcb = decodeTcb(bytes(raw.map((b, i) => ((p === 'Turin' ? [0, 1, 2, 3, 7] : [0, 1, 6, 7]).includes(i) ? b : 0))), p, 'tcb');
      expect(below(tcb, tcb)).toEqual([]);
      const names = COMPONENTS[p];
      const name = names[which % names.length] as string;
      const raised = { ...tcb, [name]: (tcb[name] as number) + 1 };
      expect(below(tcb, raised)).toHaveLength(1);
      expect(below(raised, tcb)).toEqual([]);
    }), { numRuns: 200 });
  });

  test('a family and model have one generation or none', () => {
    const counts: Record<string, number> = {};
    for (let family = 0; family < 256; family++) for (let model = 0; model < 256; model++) {
      const found = generationOf({ family, model, stepping: 0 });
      if (found !== undefined) counts[found] = (counts[found] ?? 0) + 1;
    }
    expect(counts).toEqual({ Milan: 16, Genoa: 32, Turin: 18 });
    expect(AMD_PRODUCTS.map((p) => ['Milan-B0', 'Genoa', 'Siena-A0', 'Turin', 'Venice', 'Milan-', 'xMilan', 'MilanX'].filter((n) => namesProduct(n, p)))).toEqual([['Milan-B0'], ['Genoa', 'Siena-A0'], ['Turin']]);
  });
});

describe('certificates of chips', () => {
  let der: Bytes;
  beforeAll(async () => {
    der = (await makeVek(await pkiOf('Genoa'), 'vcek', NOW, KEYS)).certificate;
  });

  test('fields come back; every security version from 0 to 255', async () => {
    for (const n of [0, 1, 127, 128, 255]) {
      const tcb = { bootloader: n, tee: n, snp: n, microcode: n };
      const { certificate } = await makeVek(await pkiOf('Genoa'), 'vcek', NOW, KEYS, { tcb });
      expect(readVek(parseCertificate(certificate, 'vek'), 'vek')).toEqual({ kind: 'vcek', structVersion: 0, productName: 'Genoa', tcb, hwid: vekFields('Genoa', 'vcek').hwid, cspId: null });
    }
  });

  test('a byte set otherwise anywhere: refused, or read', () => {
    fc.assert(fc.property(fc.nat(4096), byte, (at, value) => {
      const changed = der.slice();
      changed[at % der.length] = value;
      attempt(() => readVek(parseCertificate(changed, 'vek'), 'vek'));
    }), { numRuns: 400 });
  });
});

describe('verification', () => {
  let w: SnpWorld;
  let report: Bytes;
  beforeAll(async () => {
    w = await snpWorld();
    report = await reportOf(w);
  });
  const input = () => ({ report, vek: w.vek.certificate, issuers: w.issuers });

  test('no bit of a report can be turned', async () => {
    await verified(w, { input: input() });
    await fc.assert(fc.asyncProperty(fc.nat(1184 * 8 - 1), async (position) => {
      const changed = report.slice();
      changed[position >> 3] = (changed[position >> 3] as number) ^ (1 << (position & 7));
      const checks = new CheckList();
      expect(await verifySnp({ ...input(), report: changed }, w.trust, NOW, checks)).toBe(undefined);
      expect(checks.failed).toBe(true);
      expect(() => checks.refuseIfFailed()).toThrow(Refusal);
    }), { numRuns: 250 });
  });

  test('no bit of a certificate can be turned', async () => {
    const all = [w.vek.certificate, ...w.issuers];
    await fc.assert(fc.asyncProperty(fc.nat(2), fc.nat(1 << 20), async (which, at) => {
      const changed = all.map((der) => der.slice());
      const target = changed[which] as Bytes;
      const position = at % (target.length * 8);
      target[position >> 3] = (target[position >> 3] as number) ^ (1 << (position & 7));
      const checks = new CheckList();
      expect(await verifySnp({ ...input(), vek: changed[0] as Bytes, issuers: changed.slice(1) }, w.trust, NOW, checks)).toBe(undefined);
      expect(checks.failed).toBe(true);
    }), { numRuns: 200 });
  });

  test('facts never come without every check having passed', async () => {
    await fc.assert(fc.asyncProperty(fc.uint8Array({ maxLength: 1200 }), fc.uint8Array({ maxLength: 64 }), async (a, b) => {
      const checks = new CheckList();
      expect(await verifySnp({ report: bytes(a), vek: bytes(b), issuers: [bytes(b)], versionTwo: AMD_PRODUCTS, cspIds: 'any' }, w.trust, NOW, checks)).toBe(undefined);
      expect(checks.failed).toBe(true);
    }), { numRuns: 100 });
  });
});
