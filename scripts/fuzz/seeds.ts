/** What structure-aware mutations start from, by format, and who reads what comes out. Nothing is known of a particular corpus: files go by their kinds. */
import { type Bytes, bytes, fromHex, text, utf8 } from '../../attestation/bytes.ts';
import type { CorpusFile } from '../../attestation/corpus/judge.ts';
import { parseCoseSign1 } from '../../attestation/formats/cose.ts';
import { readDer } from '../../attestation/formats/der.ts';
import { parseCrl } from '../../attestation/formats/crl.ts';
import { readVek } from '../../attestation/formats/amd-cert.ts';
import { GCE_INSTANCE, readGceInstance } from '../../attestation/formats/gce-ak-cert.ts';
import { parseHclReport, parseRuntimeData } from '../../attestation/formats/hcl-report.ts';
import { parseQeIdentity, parseTcbInfo } from '../../attestation/formats/intel-json.ts';
import { readPckPlatform } from '../../attestation/formats/intel-pck.ts';
import { readJsonObject } from '../../attestation/formats/json-span.ts';
import { keyOf, parseJwt } from '../../attestation/formats/jwt.ts';
import { parseNsmPayload } from '../../attestation/formats/nsm.ts';
import { readPem } from '../../attestation/formats/pem.ts';
import { readPublicKey } from '../../attestation/formats/signature.ts';
import { parseSnpReport } from '../../attestation/formats/snp-report.ts';
import { parseEventLog } from '../../attestation/formats/tcg-event-log.ts';
import { parseTdxQuote } from '../../attestation/formats/tdx-quote.ts';
import { parseTpmQuote } from '../../attestation/formats/tpms-attest.ts';
import { parseTpmtPublic } from '../../attestation/formats/tpmt-public.ts';
import { parseTpmtSignature } from '../../attestation/formats/tpmt-signature.ts';
import { parseCertificate } from '../../attestation/formats/x509.ts';
import { detect } from '../../attestation/detect.ts';
import { Refusal } from '../../attestation/refusal.ts';
import type { Corpus, Subject } from './corpus.ts';
import { readCborTree, readDerTree, readJsonTree } from './read.ts';
import { readAttestTree, readEventLogTree, readHclTree, readProtobufTree, readPublicTree, readSnpTree, readTdxTree, readTpmSignatureTree } from './read-binary.ts';
import { keep, type Part, write } from './tree.ts';

export const FORMATS = ['cbor', 'der', 'json', 'tpm', 'quote', 'protobuf'] as const;
export type Format = (typeof FORMATS)[number];

export interface Seed {
  readonly name: string;
  readonly tree: Part;
  /** Reads what was made of it; a Refusal is an answer, anything else thrown is not. */
  readonly read: (data: Bytes) => void;
  /** The vector that the bytes are of: judged as a whole now and then, or always where nothing else reads it. */
  readonly subject?: Subject;
}

const LIMITS = { maxBytes: 1_048_576, maxDepth: 16, code: 'FMT_JSON', next: 'nothing' } as const;
/** All of them, whatever each says. @throws Refusal when none accepts */
function everyOne(...readers: (() => void)[]): void {
  let [accepted, last] = [false, undefined as Refusal | undefined];
  for (const reader of readers) {
    try {
      reader();
      accepted = true;
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      last = error;
    }
  }
  if (!accepted && last !== undefined) throw last;
}
const tolerant = (...readers: (() => void)[]): void => everyOne(() => {}, ...readers);
const attempt = <T>(work: () => T): T[] => { try { return [work()]; } catch { return []; } };

function readCertificate(der: Bytes): void {
  const certificate = parseCertificate(der, 'der');
  const instance = certificate.extensions.get(GCE_INSTANCE)?.value;
  tolerant(() => readVek(certificate, 'der'), () => readPckPlatform(certificate, 'der'), () => { if (instance !== undefined) readGceInstance(instance, 'der'); });
}
const readCbor = (data: Bytes): void => { parseNsmPayload(parseCoseSign1(data, 'cbor').payload, 'cbor'); };
const readEither = (data: Bytes): void => everyOne(() => readCertificate(data), () => parseCrl(data, 'der'), () => { readPublicKey(readDer(data, 'der'), 'der'); });
function readJson(data: Bytes): void {
  detect(data);
  everyOne(
    () => readJsonObject(data, 'json', LIMITS), () => parseTcbInfo(data, 'tdx', 'json'), () => parseTcbInfo(data, 'sgx', 'json'), () => parseQeIdentity(data, 'tdx', 'json'), () => parseQeIdentity(data, 'sgx', 'json'),
    () => keyOf(data, undefined, 'json'), () => parseRuntimeData(data, 'json'),
  );
}

/** DER inside a file: alone, in PEM, in a list of hex. */
function derIn(file: CorpusFile): Bytes[] {
  if (file.bytes[0] === 0x30) return [file.bytes];
  const labels = ['CERTIFICATE', 'X509 CRL', 'PUBLIC KEY'] as const;
  return labels.flatMap((label) => attempt(() => readPem(file.bytes, label, 'pem', 16)).flat());
}

/** The claims of a token are put back between its header and its signature. */
function tokenSeeds(file: CorpusFile, subject: Subject | undefined): Seed[] {
  const [header = '', claims = '', signature = ''] = text(file.bytes).trim().split('.');
  const decode = (part: string): string => Buffer.from(part, 'base64url').toString('utf8');
  const encode = (data: Uint8Array): string => Buffer.from(data).toString('base64url');
  const read = (wrap: (data: Bytes) => string) => (data: Bytes): void => { parseJwt(wrap(data), 'jwt'); };
  return [
    ...attempt(() => ({ name: `${file.file} claims`, tree: readJsonTree(decode(claims)), read: read((d) => `${header}.${encode(d)}.${signature}`) })),
    ...attempt(() => ({ name: `${file.file} header`, tree: readJsonTree(decode(header)), read: read((d) => `${encode(d)}.${claims}.${signature}`) })),
    ...(subject === undefined ? [] : [{ name: file.file, tree: { head: bytes([]), form: 'none' as const, unit: 'bytes' as const, content: bytes([]), join: utf8('.'), parts: [header, claims, signature].map((p) => ({ head: bytes([]), form: 'none' as const, unit: 'bytes' as const, content: utf8(p) })) }, read: (d: Bytes) => { parseJwt(d, 'jwt'); }, subject }]),
  ];
}

export function seedsOf({ subjects, files }: Corpus): Readonly<Record<Format, readonly Seed[]>> {
  const out: Record<Format, Seed[]> = { cbor: [], der: [], json: [], tpm: [], quote: [], protobuf: [] };
  const subjectOf = new Map(subjects.map((s) => [s.vector.file, s]));
  const add = (format: Format, name: string, tree: () => Part, read: (data: Bytes) => void, subject?: Subject): void => {
    for (const made of attempt(tree)) out[format].push({ name, tree: keep(made), read, ...(subject === undefined ? {} : { subject }) });
  };
  for (const file of files) {
    const subject = subjectOf.get(file.file);
    const { kind, bytes: data, file: name } = file;
    for (const [i, der] of derIn(file).entries()) add('der', `${name}#${i}`, () => readDerTree(der), readEither, file.bytes[0] === 0x30 ? subject : undefined);
    if (kind.includes('nitro') && subject !== undefined) {
      add('cbor', name, () => readCborTree(data), readCbor, subject);
      for (const payload of attempt(() => parseNsmPayload(parseCoseSign1(data, name).payload, name))) {
        for (const [i, der] of [payload.certificate, ...payload.cabundle].entries()) add('der', `${name}#${i}`, () => readDerTree(der), readEither);
      }
    }
    if (kind.endsWith('-jwt')) out.json.push(...tokenSeeds(file, subject));
    else if (data[0] === 0x7b || data[0] === 0x5b) add('json', name, () => readJsonTree(text(data)), readJson, subject);
    if (kind === 'tpm-quote') {
      for (const message of data[0] === 0xff ? [data] : attempt(() => fromHex((JSON.parse(text(data)) as { message: string }).message))) add('tpm', name, () => readAttestTree(message), (d) => { parseTpmQuote(d, 'tpm'); }, data[0] === 0xff ? subject : undefined);
    }
    if (kind === 'tpm-signature') add('tpm', name, () => readTpmSignatureTree(data), (d) => { parseTpmtSignature(d, 'tpm'); });
    if (kind === 'event-log' && data.length < 70_000) add('tpm', name, () => readEventLogTree(data), (d) => { parseEventLog(d, 'log'); }, subject);
    if (kind === 'hcl-report') {
      add('tpm', name, () => readHclTree(data), (d) => { parseHclReport(d, 'hcl'); }, subject);
      for (const { runtimeData } of attempt(() => parseHclReport(data, name))) add('json', `${name} runtime data`, () => readJsonTree(text(runtimeData)), readJson);
    }
    if (kind === 'snp-report') add('quote', name, () => readSnpTree(data), (d) => { parseSnpReport(d, 'snp'); }, subject);
    if (kind === 'tdx-quote') {
      add('quote', name, () => readTdxTree(data), (d) => { parseTdxQuote(d, 'tdx', 'any'); }, subject);
      for (const [i, der] of attempt(() => readPem(parseTdxQuote(data, name, 'any').pckChain, 'CERTIFICATE', name, 4)).flat().entries()) add('der', `${name}#${i}`, () => readDerTree(der), readEither);
    }
    if (kind.endsWith('-protobuf') || kind.endsWith('-pb')) {
      add('protobuf', name, () => readProtobufTree(data), () => {}, subject);
      // The first field of one kind is a TPMT_PUBLIC, of the other no TPM structure; only what parses is a seed
      for (const pub of attempt(() => readProtobufTree(data, 0).parts?.[0]?.content ?? bytes([]))) if (attempt(() => parseTpmtPublic(pub, name)).length > 0) add('tpm', `${name} public area`, () => readPublicTree(pub), (d) => { parseTpmtPublic(d, 'tpm'); });
    }
  }
  for (const seeds of Object.values(out)) for (const seed of seeds) if (write(seed.tree).length === 0) throw new Error(`${seed.name}: an empty seed`);
  return out;
}
