/**
 * Containers of evidence from Google's machines. The key of a quote is that of its certificate, whose path is verified; keys that a container
 * names beside it have to be the same.
 *
 *   evidence-protobuf            2 evidence {1 attestation data, 2 PCRs in a row, 3 TPMS_ATTEST, 4 TPMT_SIGNATURE, 5 SNP report, 6 runtime data, 7 certificate},
 *                                3 endorsement {1 intermediate, 2 VCEK, 3 ASK}
 *   go-tpm-tools-attestation-pb  attest.Attestation: 1 TPMT_PUBLIC, 2 quotes {1 TPMS_ATTEST, 2 TPMT_SIGNATURE, 3 PCRs {1 bank, 2 map}}, 3 event log,
 *                                4 instance, 6 certificate, 7 intermediates
 */
import { type Bytes, concat, equal, fromB64u, hex, sha256 } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { readJsonObject } from '../formats/json-span.ts';
import { type Fields, type Message, readMessage } from '../formats/protobuf.ts';
import { rsaSpki } from '../formats/spki.ts';
import { BANKS } from '../formats/tcg-event-log.ts';
import { parseTpmtPublic, requireAttestationKey } from '../formats/tpmt-public.ts';
import { parseTpmtSignature } from '../formats/tpmt-signature.ts';
import { parseCertificate } from '../formats/x509.ts';
import type { GceAkFacts } from '../hardware/gce/ak.ts';
import { gceTechnology } from '../hardware/gce/boot.ts';
import { checkReportData, verifySnp } from '../hardware/snp/verify.ts';
import { verifyEventLog } from '../hardware/tpm/event-log.ts';
import { type QuoteFacts, verifyTpmQuote } from '../hardware/tpm/quote.ts';
import { refuse } from '../refusal.ts';
import { AMD_PRODUCTS } from '../trust/purposes.ts';
import { certificatesOf, shownAk, verifyChain } from './gcp-certificates.ts';
import { GOOGLE_CAS } from './google-cas.ts';
import { corpusTrust, type Judge, judged, type Vector } from './judge.ts';

const NEXT = 'Hand over the evidence as its attester made it, with its companions.';
const OS_PCRS = 8;
type QuoteBank = 'sha256' | 'sha384';

const shown = (ak: GceAkFacts, quote: QuoteFacts): Record<string, unknown> => ({
  ak: shownAk(ak), bank: quote.bank, pcrs: Object.fromEntries([...quote.pcrs].map(([i, v]) => [`PCR${i}`, hex(v)])), extraData: hex(quote.extraData), resetCount: quote.clock.resetCount, restartCount: quote.clock.restartCount,
});

function time({ at }: Vector): number {
  return at ?? refuse('FMT_FIELD', 'verified_at', 'A certificate is valid at a time: state one.');
}

/** Values of the SHA-256 bank, one behind the other. */
const object = (value: unknown, path: string): Record<string, unknown> => (typeof value === 'object' && value !== null && !Array.isArray(value) ? value as Record<string, unknown> : refuse('FMT_JSON', path, NEXT, { have: typeof value, need: 'an object' }));

function inARow(data: Bytes): ReadonlyMap<number, Bytes> {
  const { size } = BANKS.sha256;
  if (data.length !== 24 * size) refuse('FMT_PCR', 'pcrs', NEXT, { have: `${data.length} bytes`, need: String(24 * size) });
  return new Map(Array.from({ length: 24 }, (_, i) => [i, data.subarray(i * size, (i + 1) * size)]));
}

const bytesField = (name: string): { name: string; kind: 'bytes' } => ({ name, kind: 'bytes' });
const message = (data: Bytes, fields: Fields, path: string, unknown: 'refuse' | 'skip' = 'refuse', maxFields = 64): Message => readMessage(data, fields, { path, code: 'FMT_FIELD', next: NEXT, unknown, maxFields });
const present = (m: Message, name: string): Bytes => m.bytes(name) ?? refuse('FMT_FIELD_MISSING', name, NEXT);

const HANDSHAKE: Fields = { 2: bytesField('evidence'), 3: bytesField('endorsement') };
const EVIDENCE: Fields = { 1: bytesField('data'), 2: bytesField('pcrs'), 3: bytesField('message'), 4: bytesField('signature'), 5: bytesField('report'), 6: bytesField('runtime'), 7: bytesField('ak') };
const ENDORSEMENT: Fields = { 1: bytesField('intermediate'), 2: bytesField('vcek'), 3: bytesField('ask') };

/** SNP report -> runtime data -> attestation key; Google's root -> certificate of the same key -> quote -> attestation data. */
export const judgeEvidenceProtobuf: Judge = (vector) => judged(async () => {
  const at = time(vector);
  const whole = message(vector.bytes, HANDSHAKE, 'handshake', 'skip');
  const [evidence, endorsement] = [message(present(whole, 'evidence'), EVIDENCE, 'evidence'), message(present(whole, 'endorsement'), ENDORSEMENT, 'endorsement')];
  const checks = new CheckList();
  const ask = present(endorsement, 'ask');
  const arks = vector.companions.filter((c) => c.kind.startsWith('cert-chain')).flatMap(certificatesOf).filter((der) => !equal(der, ask));
  const snp = await verifySnp({ report: present(evidence, 'report'), vek: present(endorsement, 'vcek'), issuers: [ask, ...arks], versionTwo: AMD_PRODUCTS }, corpusTrust(vector), at, checks);
  const runtime = present(evidence, 'runtime');
  if (snp !== undefined) checkReportData(snp.report, concat(await sha256(runtime), new Uint8Array(32)), 'evidence.report.report_data', checks);

  const certificate = present(evidence, 'ak');
  const ak = await verifyChain([certificate, present(endorsement, 'intermediate')], vector, at, checks);
  const leaf = parseCertificate(certificate, 'evidence.ak');
  const named = runtimeKey(runtime);
  checks.that('RUNTIME-AK', 'evidence.runtime.keys', equal(named, leaf.spki), () => ({ code: 'AK_UNBOUND', have: hex(named.subarray(-16)), need: `${hex(leaf.spki.subarray(-16))}, as in the certificate`, next: NEXT }));
  const quote = await verifyTpmQuote({
    path: 'evidence', message: present(evidence, 'message'), signature: parseTpmtSignature(present(evidence, 'signature'), 'evidence.signature'), key: leaf, extraData: await sha256(present(evidence, 'data')), bank: 'sha256', required: 'any', pcrs: inARow(present(evidence, 'pcrs')),
  }, checks);
  checks.refuseIfFailed();
  return { ...shown(ak as GceAkFacts, quote as QuoteFacts), generation: snp?.generation, measurement: hex(snp?.report.measurement ?? new Uint8Array()) };
});

/** SubjectPublicKeyInfo of the one key HCLAkPub. */
function runtimeKey(data: Bytes): Bytes {
  const keys = readJsonObject(data, 'evidence.runtime', { maxBytes: 4096, maxDepth: 4, code: 'HCL_FORMAT', next: NEXT }).get('keys')?.value;
  const [jwk, ...others] = (Array.isArray(keys) ? keys : []).map((k) => object(k, 'evidence.runtime.keys')).filter((k) => k['kid'] === 'HCLAkPub');
  if (jwk === undefined || others.length > 0 || jwk['kty'] !== 'RSA' || jwk['e'] !== 'AQAB' || typeof jwk['n'] !== 'string') return refuse('HCL_KEY', 'evidence.runtime.keys', NEXT, { have: 'no RSA key HCLAkPub, or several', need: 'one' });
  try {
    return rsaSpki(fromB64u(jwk['n']), 65537);
  } catch {
    return refuse('HCL_KEY', 'evidence.runtime.keys', NEXT, { have: 'a modulus that is not base64url' });
  }
}

const ATTESTATION: Fields = { 1: bytesField('ak_pub'), 2: { ...bytesField('quotes'), repeated: true }, 3: bytesField('event_log'), 4: bytesField('instance'), 5: bytesField('canonical_event_log'), 6: bytesField('ak_cert'), 7: { ...bytesField('intermediates'), repeated: true } };
const QUOTE: Fields = { 1: bytesField('message'), 2: bytesField('signature'), 3: bytesField('pcrs') };
const PCRS: Fields = { 1: { name: 'bank', kind: 'varint' }, 2: { ...bytesField('entries'), repeated: true } };
const ENTRY: Fields = { 1: { name: 'index', kind: 'varint' }, 2: bytesField('value') };

/** Every quote of SHA-256 and SHA-384 holds, and there is one; SHA-1 is not looked at. The log replays to what was quoted. */
export const judgeGoTpmTools: Judge = (vector) => judged(async () => {
  const at = time(vector);
  const attestation = message(vector.bytes, ATTESTATION, 'attestation', 'skip');
  const checks = new CheckList();
  const certificate = present(attestation, 'ak_cert');
  const ak = await verifyChain([certificate, ...attestation.all('intermediates')], vector, at, checks, GOOGLE_CAS);
  const leaf = parseCertificate(certificate, 'attestation.ak_cert');
  const area = checks.parse('AK-PUBLIC', 'attestation.ak_pub', () => parseTpmtPublic(present(attestation, 'ak_pub'), 'attestation.ak_pub'));
  if (area !== undefined) {
    checks.parse('AK-ATTRIBUTES', 'attestation.ak_pub', () => requireAttestationKey(area, 'attestation.ak_pub'));
    checks.that('AK-CERTIFIED', 'attestation.ak_pub', equal(area.spki, leaf.spki), () => ({ code: 'AK_UNBOUND', have: hex(area.spki.subarray(-16)), need: `${hex(leaf.spki.subarray(-16))}, as in the certificate`, next: NEXT }));
  }
  const quotes = new Map<QuoteBank, QuoteFacts>();
  let found = 0;
  for (const [i, data] of attestation.all('quotes').entries()) {
    const path = `attestation.quotes[${i}]`;
    const parts = message(data, QUOTE, path);
    const values = message(present(parts, 'pcrs'), PCRS, `${path}.pcrs`);
    const bank = (['sha256', 'sha384'] as const).find((name) => BigInt(BANKS[name].id) === values.varint('bank'));
    if (bank === undefined) continue;
    found += 1;
    const quote = await verifyTpmQuote({ path, message: present(parts, 'message'), signature: parseTpmtSignature(present(parts, 'signature'), `${path}.signature`), key: leaf, extraData: 'unknown', bank, required: 'any', pcrs: entries(values, path) }, checks);
    checks.that('QUOTE-ONCE', path, !quotes.has(bank), () => ({ code: 'PCR_BANK', have: `two quotes of ${bank}`, need: 'one', next: NEXT }));
    if (quote !== undefined) quotes.set(bank, quote);
  }
  checks.that('QUOTE-PRESENT', 'attestation.quotes', found > 0, () => ({ code: 'PCR_BANK', have: 'no quote of SHA-256 or SHA-384', need: 'one', next: NEXT }));
  const log = attestation.bytes('event_log');
  const boots = await Promise.all([...(log === undefined ? [] : quotes.values())].map((quote) => verifyEventLog({ log: log as Bytes, path: 'attestation.event_log', kind: 'tpm', bank: quote.bank, quoted: quote.pcrs, silentFrom: OS_PCRS }, checks)));
  checks.refuseIfFailed();
  const [quote] = quotes.values();
  return { ...shown(ak as GceAkFacts, quote as QuoteFacts), banks: [...quotes.keys()], technology: boots[0] === undefined ? null : await gceTechnology(boots[0]) ?? null };
});

function entries(values: Message, path: string): ReadonlyMap<number, Bytes> {
  const out = new Map<number, Bytes>();
  for (const data of values.all('entries')) {
    const entry = message(data, ENTRY, `${path}.pcrs`);
    const index = Number(entry.varint('index'));
    if (index > 23 || out.has(index)) refuse('FMT_PCR', `${path}.pcrs`, NEXT, { have: `register ${index}`, need: '0 to 23, each once' });
    out.set(index, present(entry, 'value'));
  }
  return out;
}
