/**
 * TPM quotes with what vouches for their keys. The shapes:
 *
 *   {message, signature, pcrs, extraData} in hex; companion: an HCL report, or a public key (PEM)
 *   {nonce, pcrs by bank, ak_pubkeys, attestation: {tpm, gcp: {ak_cert_chain}}}: a certificate chain of Google inside
 *   {nonce, pcrs by bank, ak_pubkeys, tpm}; companion: a NitroTPM document that names the key
 *   TPMS_ATTEST bytes; companions: TPMT_SIGNATURE, PCR values one after the other, what was hashed into extraData, Google's certificates
 */
import { type Bytes, equal, hex, sha256 } from '../bytes.ts';
import { CheckList } from '../checks.ts';
import { BANKS } from '../formats/tcg-event-log.ts';
import { readPem } from '../formats/pem.ts';
import { readDer } from '../formats/der.ts';
import { readPublicKey, type Verifier } from '../formats/signature.ts';
import { ecSpki } from '../formats/spki.ts';
import { parseTpmtSignature, type QuoteSignature, rawSignature } from '../formats/tpmt-signature.ts';
import { parseCertificate } from '../formats/x509.ts';
import { verifyHcl } from '../hardware/tpm/hcl.ts';
import { type QuoteBank, type QuoteFacts, type QuoteInput, verifyTpmQuote } from '../hardware/tpm/quote.ts';
import { validatePath } from '../path.ts';
import { refuse } from '../refusal.ts';
import { rootsFor } from '../trust/purposes.ts';
import { anyBytes, certificatesIn, pcrList } from './azure-import.ts';
import { corpusTrust, type CorpusFile, type Judge, judged, readJson, type Vector } from './judge.ts';
import { nitroTpmFacts } from './nitrotpm.ts';

type Json = Readonly<Record<string, unknown>>;
const NEXT = 'Hand over the quote in a shape that this version knows, with what vouches for its key.';
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);
const object = (value: unknown, path: string): Json => (isObject(value) ? value : refuse('FMT_FIELD', path, NEXT, { have: typeof value, need: 'an object' }));
const first = (vector: Vector, ...kinds: string[]): CorpusFile | undefined => vector.companions.find((c) => kinds.includes(c.kind));

export const judgeTpmQuote: Judge = (vector) => judged(async () => {
  const checks = new CheckList();
  const facts = await quoteOf(vector, checks);
  checks.refuseIfFailed();
  return facts === undefined ? refuse('INTERNAL', 'quote', 'This is a defect of the verifier: report it.') : shown(facts);
});

const shown = (facts: QuoteFacts): unknown => ({
  bank: facts.bank, pcrs: Object.fromEntries([...facts.pcrs].map(([i, v]) => [`PCR${i}`, hex(v)])), extraData: hex(facts.extraData), resetCount: facts.clock.resetCount, restartCount: facts.clock.restartCount,
  firmwareVersion: facts.firmwareVersion.toString(16), akSpkiSha256: facts.akSpkiSha256,
});

async function quoteOf(vector: Vector, checks: CheckList): Promise<QuoteFacts | undefined> {
  if (vector.bytes[0] === 0xff) return rawQuote(vector, checks);
  const json = readJson(vector.bytes, 'quote');
  if ('message' in json) return azureQuote(json, vector, checks);
  return bankedQuote(json, vector, checks);
}

const verify = (input: Omit<QuoteInput, 'path' | 'required'>, checks: CheckList): Promise<QuoteFacts | undefined> => verifyTpmQuote({ path: 'quote', required: 'any', ...input }, checks);

async function azureQuote(json: Json, vector: Vector, checks: CheckList): Promise<QuoteFacts | undefined> {
  const key = await azureKey(vector, checks);
  if (key === undefined) return undefined;
  return verify({
    message: anyBytes(json['message'], 'quote.message'), signature: rawSignature(anyBytes(json['signature'], 'quote.signature'), key.key.kind, 'quote.signature'), key, bank: 'sha256', pcrs: pcrList(json['pcrs'], 'quote.pcrs'),
    extraData: json['extraData'] === undefined ? 'unknown' : anyBytes(json['extraData'], 'quote.extraData'),
  }, checks);
}

async function azureKey(vector: Vector, checks: CheckList): Promise<Verifier | undefined> {
  const [hcl, pem] = [first(vector, 'hcl-report'), first(vector, 'public-key-pem')];
  if (hcl !== undefined) return (await verifyHcl(hcl.bytes, 'hcl', checks))?.runtime.ak;
  if (pem === undefined) return refuse('AK_UNBOUND', 'quote', NEXT, { have: 'nothing that names the key', need: 'an HCL report or a public key' });
  return publicKey(readPem(pem.bytes, 'PUBLIC KEY', pem.file, 1)[0] as Bytes, pem.file);
}

const publicKey = (spki: Bytes, path: string): Verifier => ({ spki, key: readPublicKey(readDer(spki, path), path) });

/** The bank is the one that values come in; the quote has to be of it. */
async function bankedQuote(json: Json, vector: Vector, checks: CheckList): Promise<QuoteFacts | undefined> {
  const [bank] = Object.keys(object(json['pcrs'], 'quote.pcrs'));
  if (bank !== 'sha256' && bank !== 'sha384') return refuse('PCR_BANK', 'quote.pcrs', NEXT, { have: String(bank).slice(0, 16), need: 'sha256 or sha384' });
  const pcrs = new Map(Object.entries(object(object(json['pcrs'], 'quote.pcrs')[bank], 'quote.pcrs')).map(([i, v]) => [Number(i), anyBytes(v, `quote.pcrs.${i}`)]));
  const attestation = isObject(json['attestation']) ? json['attestation'] : json;
  const tpm = object(object(attestation['tpm'], 'quote.tpm')['ecc_p256'], 'quote.tpm.ecc_p256');
  const point = object(object(json['ak_pubkeys'], 'quote.ak_pubkeys')['ecc_p256'], 'quote.ak_pubkeys.ecc_p256');
  const named = publicKey(ecSpki('P-256', anyBytes(point['x'], 'x'), anyBytes(point['y'], 'y')), 'quote.ak_pubkeys');
  const message = anyBytes(tpm['attest_data'], 'quote.message');
  const signature = rawSignature(anyBytes(tpm['signature'], 'quote.signature'), 'P-256', 'quote.signature');
  const extraData = anyBytes(json['nonce'], 'quote.nonce');
  const key = await vouchedKey(attestation, named, pcrs, bank, vector, checks);
  return key === undefined ? undefined : verify({ message, signature, key, extraData, bank, pcrs }, checks);
}

/** The key that the certificate or the document is of; the one that the evidence names has to be the same. */
async function vouchedKey(attestation: Json, named: Verifier, pcrs: ReadonlyMap<number, Bytes>, bank: QuoteBank, vector: Vector, checks: CheckList): Promise<Verifier | undefined> {
  const same = (key: Verifier, path: string): Verifier => {
    checks.that('TPM-AK', path, equal(key.key.raw, named.key.raw), () => ({ code: 'AK_UNBOUND', have: hex(named.key.raw), need: hex(key.key.raw), next: NEXT }));
    return key;
  };
  const document = first(vector, 'nitrotpm-attestation-document');
  if (document !== undefined) {
    const facts = await nitroTpmFacts(document.bytes, vector, checks);
    if (facts === undefined) return undefined;
    const differs = bank === 'sha384' ? [...pcrs].filter(([i, v]) => !equal(v, facts.pcrs.get(i) ?? new Uint8Array())).map(([i]) => i) : [0];
    checks.that('TPM-DOCUMENT-PCRS', 'document.nitrotpm_pcrs', differs.length === 0, () => ({ code: 'PCR_DIGEST', have: `other values of PCR ${differs.join(', ')}`, need: 'those of the document', next: NEXT }));
    checks.that('TPM-AK', 'document.public_key', facts.publicKey !== undefined && equal(facts.publicKey, named.key.raw), () => ({ code: 'AK_UNBOUND', have: hex(named.key.raw), need: hex(facts.publicKey ?? new Uint8Array()) || 'no key', next: NEXT }));
    return named;
  }
  const pem = isObject(attestation['gcp']) ? attestation['gcp']['ak_cert_chain'] : undefined;
  if (typeof pem !== 'string') return refuse('AK_UNBOUND', 'quote', NEXT, { have: 'nothing that vouches for the key', need: 'a certificate of it' });
  const key = await googleKey(readPem(pem, 'CERTIFICATE', 'quote.ak_cert_chain', 4), vector, checks);
  return key === undefined ? undefined : same(key, 'quote.ak_pubkeys');
}

/** @param chain leaf first; Google's root has to be in it, or among the companions. @returns the leaf's key even when `checks` has failed: what it does not sign is said too */
async function googleKey(chain: readonly Bytes[], vector: Vector, checks: CheckList): Promise<Verifier | undefined> {
  const [leaf, ...rest] = chain;
  if (leaf === undefined || vector.at === null) return refuse('AK_UNBOUND', 'quote', NEXT, { have: 'no certificate, or no time to judge it at' });
  const pool = [...rest, ...vector.companions.filter((c) => ['root-cert-der', 'intermediate-cert-der'].includes(c.kind)).map((c) => c.bytes)];
  const trust = corpusTrust(vector);
  await validatePath({
    prefix: 'GCE-AK', path: 'ak', leaf, intermediates: pool.filter((der, i) => pool.findIndex((other) => equal(der, other)) === i), unused: 'allow', roots: rootsFor(trust, 'google-ek-ak'), at: vector.at,
    algorithms: ['RS256'], leafProfile: { keys: ['P-256', 'RSA'], keyUsage: ['digitalSignature'] }, length: { min: 3, max: 3 }, revoked: [], requireCrl: 'ifAvailable', cache: trust.chainCache, cacheLeaf: true,
  }, checks);
  return checks.parse('TPM-AK-CERTIFICATE', 'ak', () => parseCertificate(leaf, 'ak'));
}

async function rawQuote(vector: Vector, checks: CheckList): Promise<QuoteFacts | undefined> {
  const [signature, values, nonce, certificate] = [first(vector, 'tpm-signature'), first(vector, 'tpm-pcrs'), first(vector, 'nonce'), first(vector, 'gce-ak-cert')];
  if (signature === undefined || values === undefined || certificate === undefined) return refuse('FMT_FIELD_MISSING', 'quote', NEXT, { have: vector.companions.map((c) => c.kind).join(', '), need: 'signature, PCR values and a certificate of the key' });
  const { size } = BANKS.sha256;
  const count = values.bytes.length / size;
  if (!Number.isInteger(count) || count > 24) return refuse('FMT_PCR', values.file, NEXT, { have: `${values.bytes.length} bytes` });
  const parsed: QuoteSignature = parseTpmtSignature(signature.bytes, signature.file);
  const key = await googleKey(certificatesIn(certificate.bytes, certificate.file), vector, checks);
  if (key === undefined) return undefined;
  return verify({
    message: vector.bytes, signature: parsed, key, bank: 'sha256', pcrs: new Map(Array.from({ length: count }, (_, i) => [i, values.bytes.subarray(i * size, (i + 1) * size)])),
    extraData: nonce === undefined ? 'unknown' : await sha256(nonce.bytes),
  }, checks);
}
