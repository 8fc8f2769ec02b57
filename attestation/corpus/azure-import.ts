/**
 * Evidence of one Azure VM in the shapes of other projects, as this one's parts. Bytes are arrays of numbers, hex, base64 or base64url, with or without
 * padding; a wrapper {platform, evidence} is taken off.
 *
 *   Trustee v0               {report, quote: {message, signature, pcrs}, vcek: PEM}
 *   Trustee v1, v2           {version, hcl_report, tpm_quote: {message, signature, pcrs}, vcek: DER | td_quote}
 *   attestation-rs           {platform, evidence: as Trustee v1}
 *   flashbots attested-tls   {hcl_report_base64, tdx_quote_base64, tpm_attestation: {ak_certificate_pem, quote: {message, signature, pcrs}, event_log}}
 *
 * None of them says which PCRs were quoted: values are numbered as they come, and the signed selection decides what they are.
 */
import { type Bytes, fromB64u, fromHex, text } from '../bytes.ts';
import { readDerPrefix } from '../formats/der.ts';
import { readPem } from '../formats/pem.ts';
import type { AzureParts } from '../platforms/azure-cvm/container.ts';
import { printable, refuse } from '../refusal.ts';
import { readJson } from './judge.ts';

type Json = Readonly<Record<string, unknown>>;
const NEXT = 'Hand over the evidence in a shape that this version knows, or as this project writes it.';
const MEMBERS: readonly string[] = ['version', 'quote', 'report', 'vcek', 'hcl_report', 'tpm_quote', 'td_quote', 'tdx_quote_base64', 'hcl_report_base64', 'tpm_attestation'];
const TPM_MEMBERS: readonly string[] = ['ak_certificate_pem', 'event_log', 'instance_info'];
const isObject = (value: unknown): value is Json => typeof value === 'object' && value !== null && !Array.isArray(value);

/** @throws Refusal FMT_* */
export function importAzureEvidence(data: Bytes, path: string): AzureParts {
  const outer = readJson(data, path);
  const json = isObject(outer['evidence']) ? outer['evidence'] : outer;
  const tpm = isObject(json['tpm_attestation']) ? json['tpm_attestation'] : json;
  // A part under a name that nobody knows would be left out, and the claims be weaker than the evidence
  for (const [object, known, at] of [[json, MEMBERS, path], [tpm, [...MEMBERS, ...TPM_MEMBERS], `${path}.tpm`]] as const) {
    const unknown = Object.keys(object).find((name) => !known.includes(name));
    if (unknown !== undefined) return refuse('FMT_FIELD', at, NEXT, { have: printable(unknown), need: 'members of a known shape' });
  }
  const quote = [tpm['tpm_quote'], tpm['quote']].find(isObject);
  const hcl = json['hcl_report'] ?? json['report'] ?? json['hcl_report_base64'];
  if (quote === undefined || hcl === undefined) return refuse('FMT_FIELD_MISSING', path, NEXT, { have: Object.keys(json).join(', ').slice(0, 128), need: 'an HCL report and a quote' });
  const [vcek, td, ak, log] = [json['vcek'], json['td_quote'] ?? json['tdx_quote_base64'], tpm['ak_certificate_pem'], tpm['event_log']];
  return {
    hcl: anyBytes(hcl, `${path}.hcl_report`), message: anyBytes(quote['message'], `${path}.message`), signature: anyBytes(quote['signature'], `${path}.signature`), pcrs: pcrList(quote['pcrs'], `${path}.pcrs`),
    ...(vcek === undefined ? {} : { vek: anyBytes(vcek, `${path}.vcek`) }), ...(td === undefined ? {} : { tdQuote: anyBytes(td, `${path}.td_quote`) }),
    ...(ak === undefined ? {} : { ak: [unpadded(anyBytes(ak, `${path}.ak_certificate`), `${path}.ak_certificate`)] }),
    ...(log === undefined || (Array.isArray(log) && log.length === 0) ? {} : { eventLog: anyBytes(log, `${path}.event_log`) }),
  };
}

/** Values in index order, from 0. */
export function pcrList(value: unknown, path: string): ReadonlyMap<number, Bytes> {
  if (!Array.isArray(value) || value.length > 24) return refuse('FMT_PCR', path, NEXT, { have: typeof value, need: 'at most 24 values' });
  return new Map(value.map((item, i) => [i, anyBytes(item, `${path}[${i}]`)]));
}

export function anyBytes(value: unknown, path: string): Bytes {
  if (Array.isArray(value) && value.every((b) => Number.isInteger(b) && b >= 0 && b <= 255)) return Uint8Array.from(value as number[]);
  if (typeof value === 'string') {
    if (value.startsWith('-----BEGIN')) return fromPem(value, path);
    if (/^(?:[0-9a-f]{2})+$/.test(value)) return fromHex(value);
    try {
      return fromB64u(value.replace(/=+$/, '').replaceAll('+', '-').replaceAll('/', '_'));
    } catch { /* said below */ }
  }
  return refuse('FMT_FIELD', path, NEXT, { have: typeof value, need: 'bytes: numbers, hex, base64 or PEM' });
}

/** The first certificate; what is not strict PEM (a padded NV area) is decoded as base64. */
function fromPem(pem: string, path: string): Bytes {
  const body = /-----BEGIN CERTIFICATE-----([A-Za-z0-9+/=\s]*)-----END CERTIFICATE-----/.exec(pem)?.[1];
  if (body === undefined) return refuse('FMT_PEM', path, NEXT, { have: 'no certificate', need: 'one' });
  return anyBytes(body.replace(/\s/g, ''), path);
}

/** An NV area holds DER and zeros; anything else behind the certificate is refused. */
export function unpadded(area: Bytes, path: string): Bytes {
  const { node, rest } = readDerPrefix(area, path);
  if (rest.some((b) => b !== 0)) refuse('FMT_TRAILING', path, NEXT, { have: 'bytes behind the certificate', need: 'zeros' });
  return node.raw;
}

/** DER of the certificates of a file, DER or PEM. @throws Refusal FMT_PEM */
export const certificatesIn = (data: Bytes, path: string): Bytes[] => (data[0] === 0x30 ? [data] : readPem(data, 'CERTIFICATE', path, 8));
