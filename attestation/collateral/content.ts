/**
 * Whether bytes are what their kind and key say, and how long they hold. This is about form, subject and dates: signatures are checked by whoever uses an
 * item, every time, wherever it comes from.
 *
 * | kind | holds until | asked for again after |
 * |---|---|---|
 * | amd-vek | always: it is for a chip and its security versions | never |
 * | chains, certificates of CAs | the first of them ends | a month |
 * | revocation lists, TCB info, QE identity | nextUpdate | a day |
 * | jwks | an hour | an hour |
 * | gce-host, gce-endorsement | a week | a week |
 */
import { type Bytes, equal, fromHex, text } from '../bytes.ts';
import { readVek } from '../formats/amd-cert.ts';
import { type Crl, parseCrl } from '../formats/crl.ts';
import { parseQeIdentity, parseTcbInfo } from '../formats/intel-json.ts';
import { readJsonObject } from '../formats/json-span.ts';
import { parseLaunchEndorsement } from '../formats/launch-endorsement.ts';
import { readPem } from '../formats/pem.ts';
import { type Certificate, parseCertificate } from '../formats/x509.ts';
import { decodeTcb, HWID_LENGTH } from '../hardware/snp/generation.ts';
import { iso } from '../judge.ts';
import { printable, Refusal, type RefusalCode, refuse } from '../refusal.ts';
import { AMD_PRODUCTS, type AmdProduct } from '../trust/purposes.ts';
import type { CollateralKind } from './collateral.ts';

/** Epoch seconds. */
export interface Validity {
  /** Never used past this; `null`: it does not end. */
  readonly until: number | null;
  /** A newer one may exist from here on. */
  readonly renewAt: number | null;
}

const HOUR = 3600;
const DAY = 24 * HOUR;
const FETCH = 'Fetch it from its vendor again, and keep it byte for byte.';

/** A machine's PPID names it: neither reasons nor logs do. */
export const collateralPath = (kind: CollateralKind, key: string): string => (kind === 'gce-host' ? 'collateral.gce-host' : `collateral.${kind}/${printable(key, 200)}`);

/**
 * @param at now, epoch seconds; `null`: dates are not judged, only read (stored evidence is judged at its own time)
 * @throws Refusal COLLATERAL_FORMAT, COLLATERAL_MISMATCH (about something else), COLLATERAL_EXPIRED; CLOUD_ORIGIN for what is no entry of Google's registry
 */
export function checkContent(kind: CollateralKind, key: string, data: Bytes, fetchedAt: number, at: number | null): Validity {
  const path = collateralPath(kind, key);
  let validity: Validity;
  try {
    validity = read(kind, key, data, path, fetchedAt);
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    if (error.code === 'COLLATERAL_MISMATCH') throw error;
    const code: RefusalCode = kind === 'gce-host' ? 'CLOUD_ORIGIN' : 'COLLATERAL_FORMAT';
    const have = looksLikeHtml(data) ? 'an HTML page' : undefined;
    throw new Refusal(error.reasons.map((r) => ({ ...r, code, next: FETCH, ...(have === undefined ? {} : { have }) })));
  }
  if (at !== null && validity.until !== null && validity.until < at) refuse('COLLATERAL_EXPIRED', path, FETCH, { have: iso(at), need: `until ${iso(validity.until)}` });
  return validity;
}

const looksLikeHtml = (data: Bytes): boolean => /^\s*<(?:!doctype|html|head|body|\?xml)/i.test(new TextDecoder('latin1').decode(data.subarray(0, 256)));

function read(kind: CollateralKind, key: string, data: Bytes, path: string, fetchedAt: number): Validity {
  const mismatch = (have: string, need: string): never => refuse('COLLATERAL_MISMATCH', path, FETCH, { have: printable(have), need: printable(need, 200) });
  const expect = (have: string, need: string): void => { if (have !== need) mismatch(have, need); };
  const list = (crl: Crl): Validity => ({ until: crl.nextUpdate, renewAt: Math.min(crl.nextUpdate, fetchedAt + DAY) });
  switch (kind) {
    case 'amd-chain': {
      const [product, signer] = key.split('/');
      const chain = certificates(data, path);
      expect(chain.map((c) => c.commonName).join(), `SEV-${signer === 'vlek' ? 'VLEK-' : ''}${product},ARK-${product}`);
      return untilFirst(chain, fetchedAt);
    }
    case 'amd-crl': {
      const crl = parseCrl(data, path);
      const product = key.replace(/\/vlek$/, '');
      if (!named(crl, `ARK-${product}`)) mismatch(crl.issuerText, `a list of ARK-${product}`);
      return list(crl);
    }
    case 'amd-vek': {
      checkVek(key, data, path, mismatch);
      return { until: null, renewAt: null };
    }
    case 'intel-tcb-info': {
      const [fmspc = '', sgx] = key.split('/').reverse();
      const { value } = parseTcbInfo(data, sgx === 'sgx' ? 'sgx' : 'tdx', path);
      expect(value.fmspc, fmspc);
      return { until: value.nextUpdate, renewAt: Math.min(value.nextUpdate, fetchedAt + DAY) };
    }
    case 'intel-qe-identity': {
      const { value } = parseQeIdentity(data, key === 'sgx' ? 'sgx' : 'tdx', path);
      return { until: value.nextUpdate, renewAt: Math.min(value.nextUpdate, fetchedAt + DAY) };
    }
    case 'intel-tcb-signing-chain': {
      const chain = certificates(data, path);
      expect(chain[0]?.commonName ?? '', 'Intel SGX TCB Signing');
      return untilFirst(chain, fetchedAt);
    }
    case 'intel-pck-crl-chain': {
      const chain = certificates(data, path);
      expect(chain[0]?.commonName ?? '', pckCa(key));
      return untilFirst(chain, fetchedAt);
    }
    case 'intel-pck-crl': {
      const crl = parseCrl(data, path);
      if (!named(crl, pckCa(key))) mismatch(crl.issuerText, `a list of ${pckCa(key)}`);
      return list(crl);
    }
    case 'intel-root-crl': {
      const crl = parseCrl(data, path);
      if (['platform', 'processor'].some((ca) => named(crl, pckCa(ca)))) mismatch(crl.issuerText, 'a list of Intel\'s root');
      return list(crl);
    }
    case 'azure-vtpm-ca': case 'google-ca': {
      const certificate = parseCertificate(data, path);
      expect(certificate.subjectKeyId ?? 'no key identifier', key);
      return untilFirst([certificate], fetchedAt);
    }
    case 'azure-vtpm-crl': case 'google-crl': {
      const crl = parseCrl(data, path);
      expect(crl.authorityKeyId?.keyId ?? 'no key identifier', key);
      return list(crl);
    }
    case 'gce-endorsement': {
      const [technology, measurement = ''] = key.split('/');
      const { snp, tdx } = parseLaunchEndorsement(data, path);
      const rows: readonly { readonly measurement: Bytes }[] = (technology === 'tdx' ? tdx : snp)?.rows ?? [];
      if (!rows.some((row) => equal(row.measurement, hexBytes(measurement, path)))) mismatch('other measurements', measurement);
      return { until: fetchedAt + 7 * DAY, renewAt: fetchedAt + 7 * DAY };
    }
    case 'gce-host': {
      const members = readJsonObject(data, path, { maxBytes: 16 * 1024, maxDepth: 8, code: 'CLOUD_ORIGIN', next: FETCH });
      if (typeof members.get('zone')?.value !== 'string' || members.get('timestamp') === undefined) refuse('CLOUD_ORIGIN', path, FETCH, { have: 'another document', need: 'zone and timestamp' });
      return { until: fetchedAt + 7 * DAY, renewAt: fetchedAt + 7 * DAY };
    }
    case 'jwks': {
      const members = readJsonObject(data, path, { maxBytes: 256 * 1024, maxDepth: 8, code: 'COLLATERAL_FORMAT', next: FETCH });
      const keys = members.get('keys')?.value;
      if (!Array.isArray(keys) || keys.length === 0 || !keys.every((k: unknown) => typeof k === 'object' && k !== null && 'kty' in k)) refuse('COLLATERAL_FORMAT', `${path}.keys`, FETCH, { need: 'a list of keys' });
      return { until: fetchedAt + HOUR, renewAt: fetchedAt + HOUR };
    }
    default: return refuse('COLLATERAL_FORMAT', path, 'Use a kind that this version knows.');
  }
}

const named = (crl: Crl, commonName: string): boolean => `${crl.issuerText},`.includes(`CN=${commonName},`);
const pckCa = (key: string): string => `Intel SGX PCK ${key === 'platform' ? 'Platform' : 'Processor'} CA`;
const certificates = (data: Bytes, path: string): Certificate[] => readPem(data, 'CERTIFICATE', path, 4).map((der, i) => parseCertificate(der, `${path}[${i}]`));

function untilFirst(chain: readonly Certificate[], fetchedAt: number): Validity {
  const until = Math.min(...chain.map((c) => c.notAfter));
  return { until, renewAt: Math.min(until, fetchedAt + 30 * DAY) };
}

function hexBytes(value: string, path: string): Bytes {
  try {
    return fromHex(value);
  } catch {
    return refuse('COLLATERAL_FORMAT', path, 'Name collateral by lower-case hex.', { have: printable(value) });
  }
}

export interface VekKey { readonly product: AmdProduct; readonly hwid: Bytes; readonly tcb: Record<string, number> }

/** `<product>/<chip id, 64 bytes>/<reported tcb, 8 bytes>`. @throws Refusal COLLATERAL_FORMAT, TCB_LAYOUT */
export function readVekKey(key: string): VekKey {
  const path = collateralPath('amd-vek', key);
  const match = /^([A-Z][a-z]+)\/([0-9a-f]{128})\/([0-9a-f]{16})$/.exec(key);
  const product = AMD_PRODUCTS.find((p) => p === match?.[1]);
  if (match === null || product === undefined) return refuse('COLLATERAL_FORMAT', path, 'Name a VCEK by product, chip id and reported TCB.', { need: `${AMD_PRODUCTS.join(' or ')}/<128 digits>/<16 digits>` });
  return { product, hwid: fromHex(match[2] as string).subarray(0, HWID_LENGTH[product]), tcb: { ...decodeTcb(fromHex(match[3] as string), product, path) } };
}

/** A VCEK of another chip, or of other versions, is of no use here: it would only be found out later. */
function checkVek(key: string, data: Bytes, path: string, mismatch: (have: string, need: string) => never): void {
  const wanted = readVekKey(key);
  const vek = readVek(parseCertificate(data, path), path);
  if (vek.kind !== 'vcek' || vek.hwid === null || !equal(vek.hwid, wanted.hwid)) mismatch('a key of another chip', 'the VCEK of this one');
  const other = Object.keys({ ...wanted.tcb, ...vek.tcb }).filter((name) => vek.tcb[name] !== wanted.tcb[name]);
  if (other.length > 0) mismatch(other.map((name) => `${name} ${vek.tcb[name] ?? 'absent'}`).join(', '), other.map((name) => `${name} ${wanted.tcb[name] ?? 'absent'}`).join(', '));
}

/** Text of hex digits, as a PCCS sends lists, is decoded. */
export function derOf(data: Bytes): Bytes {
  if (data[0] === 0x30 && data[1] !== undefined && data[1] >= 0x80) return data;
  try {
    const source = text(data).trim().replace(/^"|"$/g, '').toLowerCase();
    return /^(?:[0-9a-f]{2})+$/.test(source) ? fromHex(source) : data;
  } catch {
    return data;
  }
}
