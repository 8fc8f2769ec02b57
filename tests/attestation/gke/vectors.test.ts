/** Genuine certificates, quotes and containers of Google's machines, and what was made of them: the expected verdict, for the expected reason. */
import { describe, expect, test } from 'vitest';
import { type Bytes, bytes, hex, sha256 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { verifyChain } from '../../../attestation/corpus/gcp-certificates.ts';
import { GOOGLE_CAS } from '../../../attestation/corpus/google-cas.ts';
import type { CorpusFile, Judgement, Vector } from '../../../attestation/corpus/judge.ts';
import { judgeFor } from '../../../attestation/corpus/registry.ts';
import { readPem } from '../../../attestation/formats/pem.ts';
import { Refusal, type RefusalCode } from '../../../attestation/refusal.ts';
import { PRODUCTION_ROOTS } from '../../../attestation/trust/roots.ts';
import { manifest, type ManifestEntry, NO_VECTORS, vector } from '../support.ts';

const REASONS: Readonly<Record<string, readonly RefusalCode[]>> = {
  'gcp-vtpm/derived/gcp-amd.attest-bit.json': ['SIG_INVALID', 'PCR_DIGEST'],
  'gcp-vtpm/derived/gcp-amd.nonce.json': ['NONCE_MISMATCH'],
  'gcp-vtpm/derived/gcp-amd.pcr4.json': ['PCR_DIGEST'],
  'gcp-vtpm/derived/gcp-amd.no-intermediate.json': ['CHAIN_ORDER'],
  // The other VM's certificate was issued later than the quote was made
  'gcp-vtpm/derived/gcp-amd.foreign-ak-chain.json': ['CHAIN_NOT_YET_VALID', 'AK_UNBOUND', 'SIG_INVALID'],
};
interface Entry extends ManifestEntry { readonly companions: readonly string[] }
const all = manifest() as Entry[];
const byFile = new Map(all.map((e) => [e.file, e]));
const file = (name: string): CorpusFile => ({ file: name, platform: byFile.get(name)?.platform ?? '', kind: byFile.get(name)?.kind ?? '', bytes: vector(name) });
const given = (e: Entry, change: Partial<Vector> = {}): Vector => ({ ...file(e.file), companions: e.companions.map(file), at: e.verified_at === null ? null : Date.parse(e.verified_at) / 1000, ...change });
const judge = (e: Entry, change: Partial<Vector> = {}): Promise<Judgement> => (judgeFor(e.platform, e.kind) as NonNullable<ReturnType<typeof judgeFor>>)(given(e, change));
const entry = (name: string): Entry => byFile.get(name) as Entry;
const entries = all.filter((e) => e.role === 'vector' && (e.platform === 'gcp-vtpm' || (e.platform === 'aws-nitro' && e.kind === 'tpm-quote')));

describe.skipIf(NO_VECTORS)('vectors of Google\'s machines', () => {
  test('all of them are here', () => {
    expect(entries.length).toBeGreaterThanOrEqual(25);
    expect(entries.filter((e) => e.expected === 'invalid').map((e) => e.file).sort()).toEqual(Object.keys(REASONS).sort());
  });

  test.each(entries)('$file is $expected', async (e) => {
    const { verdict, codes } = await judge(e);
    expect([...codes].sort()).toEqual([...(REASONS[e.file] ?? [])].sort());
    expect(verdict).toBe(e.expected);
  });

  test('what the certificates say', async () => {
    expect((await judge(entry('gcp-vtpm/vaportpm/gcp-amd.ak-chain.pem'))).claims).toEqual({
      zone: 'us-central1-f', projectNumber: '232923608972', projectId: 'lockboot', instanceId: '3414240648225485836', instanceName: 'instance-20260202-065609', production: true, key: 'P-256',
      serial: '94b202d871242083e95898b42f7af80183242b', root: 'Google EK/AK CA Root', revocation: 'unchecked',
    });
    expect((await judge(entry('gcp-vtpm/go-tpm-tools/gce-cos-85-nonce9009.ak.der'))).claims).toMatchObject({ instanceId: '6797026933021542085', projectId: 'google.com:wuale-gcp-testing', root: 'Google tpm_ek_root_1', key: 'RSA' });
    expect((await judge(entry('gcp-vtpm/go-tpm-tools/gce-cos-85-nonce9009.pb'))).claims).toMatchObject({ banks: ['sha256', 'sha384'], technology: 'sev' });
  });

  test('a certificate of the endorsement key is none of the attestation key', async () => {
    const { codes } = await judge({ ...entry('gcp-vtpm/salrashid123/akcert.pem'), file: 'gcp-vtpm/salrashid123/ekcert.pem' }, { companions: [file('gcp-vtpm/salrashid123/ek_chain.pem')] });
    expect(codes).toEqual(['CHAIN_KEY_USAGE']);
  });

  test('an issuer of the same name with another key (D66)', async () => {
    const [ak, , root] = readPem(vector('gcp-vtpm/vaportpm/gcp-amd.ak-chain.pem'), 'CERTIFICATE', 'ak', 4) as [Bytes, Bytes, Bytes];
    const checks = new CheckList();
    expect(await verifyChain([ak, vector('gcp-vtpm/roots/gcp_ek_ak_ca_intermediate_v3.der'), root], { companions: [] }, Date.parse('2026-03-01') / 1000, checks)).toBeUndefined();
    expect(() => checks.refuseIfFailed()).toThrow(Refusal);
    try {
      checks.refuseIfFailed();
    } catch (error) {
      expect((error as Refusal).codes).toEqual(['CHAIN_ORDER']);
    }
  });

  test('no changed byte of a container passes, nor a part of it', async () => {
    const e = entry('gcp-vtpm/libsignal/svr3-handshake.pb');
    const whole = vector(e.file);
    // Before it is a field of another protocol
    const start = Buffer.from(whole).indexOf(vector('gcp-vtpm/libsignal/svr3-attestation-data.bin'));
    expect(start).toBeGreaterThan(0);
    for (let i = 0; i < 120; i++) {
      const at = start + Math.floor(((i + 0.37) / 120) * (whole.length - start));
      const changed = bytes(whole);
      changed[at] = (changed[at] as number) ^ (1 << (i % 8));
      expect((await judge(e, { bytes: changed })).verdict, `byte ${at}`).toBe('invalid');
      expect((await judge(e, { bytes: whole.slice(0, at) })).verdict, `${at} bytes`).toBe('invalid');
    }
  });

  test('what is looked at in go-tpm-tools\' container: SHA-256 and SHA-384, the key, the certificate', async () => {
    const e = entry('gcp-vtpm/go-tpm-tools/gce-cos-85-nonce9009.pb');
    const whole = vector(e.file);
    const find = (needle: Bytes): number => Buffer.from(whole).indexOf(needle);
    const certificate = find(vector('gcp-vtpm/go-tpm-tools/gce-cos-85-nonce9009.ak.der'));
    expect(certificate).toBeGreaterThan(0);
    const flipped = (at: number): Bytes => {
      const copy = bytes(whole);
      copy[at] = (copy[at] as number) ^ 1;
      return copy;
    };
    expect((await judge(e, { bytes: flipped(certificate + 900) })).verdict).toBe('invalid');
    // The modulus in the public area begins behind 24 bytes of it
    expect((await judge(e, { bytes: flipped(60) })).codes).toEqual(['AK_UNBOUND']);
    // Every TPMS_ATTEST: the first is of SHA-1
    const quotes = [...Buffer.from(whole).toString('latin1').matchAll(/\xffTCG\x80\x18/g)].map((m) => m.index);
    expect(quotes.length).toBe(3);
    expect(await Promise.all(quotes.map(async (at) => (await judge(e, { bytes: flipped(at + 60) })).codes))).toEqual([[], ['SIG_INVALID'], ['SIG_INVALID']]);
  });
});

test('the CAs beside a corpus are Google\'s', async () => {
  const digests = await Promise.all(GOOGLE_CAS.map(async (der) => hex(await sha256(der))));
  const pinned = PRODUCTION_ROOTS.filter((r) => r.purpose === 'google-ek-ak').map((r) => r.certSha256);
  expect(digests.filter((d) => pinned.includes(d)).sort()).toEqual([...pinned].sort());
  // github.com/google/go-tpm-tools, server/ca-certs/gcp_ek_ak_ca_intermediate_v3.crt
  expect(digests.filter((d) => !pinned.includes(d))).toEqual(['c84de8116dfaf5a908f21e810487791f5437e206d00ad8025050cca6bd2ff627']);
});
