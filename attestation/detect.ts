/**
 * What a file is, by its first look: which parser is worth a try. Nobody is trusted for it: whatever is chosen verifies from its first byte on, and evidence that is
 * taken for something else is refused as that.
 */
import { type Bytes, text } from './bytes.ts';
import { parseCrl } from './formats/crl.ts';
import { readPem } from './formats/pem.ts';
import { type Certificate, parseCertificate } from './formats/x509.ts';

export interface Detected {
  /** As corpora name it (corpus/registry.ts); '' for what has no verdict of its own. */
  readonly platform: string;
  readonly kind: string;
}

const found = (platform: string, kind: string): Detected => ({ platform, kind });
const ascii = (data: Bytes, from: number, to: number): string => new TextDecoder('latin1').decode(data.subarray(from, to));
const u16 = (data: Bytes, at: number): number => (data[at] ?? 0) | ((data[at + 1] ?? 0) << 8);
const u32 = (data: Bytes, at: number): number => (u16(data, at) | (u16(data, at + 2) << 16)) >>> 0;

/** Alone, or with the header of Azure's request data behind it. */
const SNP_SIZES: ReadonlySet<number> = new Set([1184, 1204]);

/** @returns undefined for what looks like nothing known */
export function detect(data: Bytes): Detected | undefined {
  if (ascii(data, 0, 4) === 'HCLA') return found('azure-cvm', 'hcl-report');
  if (u16(data, 2) === 2 && u32(data, 4) === 0x81 && (u16(data, 0) === 4 || u16(data, 0) === 5)) return found('intel-tdx', 'tdx-quote');
  if (u16(data, 0) === 3 && u16(data, 2) === 2 && data.length > 436) return found('intel-tdx', 'sgx-quote');
  if (data[0] === 0x84 && data[1] === 0x44 || (data[0] === 0xd2 && data[1] === 0x84 && data[2] === 0x44)) return found('aws-nitro', ascii(data, 0, data.length).includes('nitrotpm_pcrs') ? 'nitrotpm-attestation-document' : 'nitro-attestation-document');
  if (SNP_SIZES.has(data.length) && u32(data, 0) >= 1 && u32(data, 0) <= 16) return found('amd-sev-snp', 'snp-report');
  if (ascii(data, 32, 48) === 'Spec ID Event03\0') return found(u32(data, 0) === 1 ? 'intel-tdx' : 'gcp-vtpm', 'event-log');
  if (ascii(data, 0, 4) === '\xffTCG') return found('gcp-vtpm', 'tpm-quote');
  if (data[0] === 0x30) return der(data);
  return textual(data);
}

function der(data: Bytes): Detected | undefined {
  const certificate = attempt(() => parseCertificate(data, 'file'));
  if (certificate !== undefined) return certificateKind([certificate], 'der');
  return attempt(() => parseCrl(data, 'file')) === undefined ? undefined : found('', 'crl-der');
}

function certificateKind(chain: readonly Certificate[], form: 'der' | 'pem'): Detected {
  const [first] = chain;
  if (first?.commonName === 'SEV-VCEK' || first?.commonName === 'SEV-VLEK') return found('amd-sev-snp', `${first.commonName === 'SEV-VCEK' ? 'vcek' : 'vlek'}-${form}`);
  if (first?.extensions.has('1.3.6.1.4.1.11129.2.1.21') === true) return found('gcp-vtpm', 'gce-ak-cert');
  if (/\.ConfidentialVM\.Azure\.windows\.net$/.test(first?.commonName ?? '')) return found('azure-cvm', `ak-cert-${form}`);
  return found('', form === 'pem' ? 'cert-chain-pem' : 'cert-der');
}

function textual(data: Bytes): Detected | undefined {
  const source = data.length > 4 * 1024 * 1024 ? undefined : attempt(() => text(data).trim());
  if (source === undefined) return undefined;
  if (source.startsWith('-----BEGIN CERTIFICATE-----')) {
    const chain = attempt(() => readPem(source, 'CERTIFICATE', 'file', 8).map((d) => parseCertificate(d, 'file')));
    return chain === undefined ? undefined : certificateKind(chain, 'pem');
  }
  if (/^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*$/.test(source)) return token(source);
  if (source.startsWith('{')) return object(attempt(() => JSON.parse(source) as Record<string, unknown>));
  return source.startsWith('[') && Array.isArray(attempt(() => JSON.parse(source) as unknown)) ? found('amd-sev-snp', 'cert-chain-hex-json') : undefined;
}

function token(source: string): Detected | undefined {
  const claims = attempt(() => JSON.parse(atob((source.split('.')[1] as string).replaceAll('-', '+').replaceAll('_', '/'))) as { iss?: unknown });
  if (typeof claims?.iss !== 'string') return undefined;
  if (claims.iss.endsWith('.attest.azure.net')) return found('azure-maa', 'maa-jwt');
  return claims.iss.includes('confidentialcomputing.googleapis.com') ? found('gcp-confidential-space', 'confidential-space-jwt') : undefined;
}

function object(json: Record<string, unknown> | undefined): Detected | undefined {
  if (json === undefined) return undefined;
  const has = (...names: string[]): boolean => names.every((name) => Object.hasOwn(json, name));
  if (typeof json['v'] === 'string' && json['v'].startsWith('ccc-receipt/')) return found('ccc', 'receipt');
  if (has('keys')) return found('', has('vm-configuration') || has('user-data') ? 'runtime-data-json' : 'jwks');
  if (has('tcbInfo') || has('enclaveIdentity') || has('tcb_info')) return found('', 'tdx-collateral');
  if (has('hcl') || has('hcl_report') || has('hcl_report_base64') || has('report', 'quote') || has('platform', 'evidence')) return found('azure-cvm', 'azure-evidence-json');
  if (has('message', 'signature', 'pcrs')) return found('azure-cvm', 'tpm-quote');
  return undefined;
}

function attempt<T>(work: () => T): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
