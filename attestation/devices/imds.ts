/**
 * Metadata services, as far as attesters need them. They are the host's: what they say is evidence to verify, never a fact.
 *
 *   Azure    GET  /metadata/THIM/amd/certification   {"vcekCert": PEM, "certificateChain": PEM of ASK and ARK, "tcbm": hex, ...}; header Metadata: true
 *            POST /acc/tdquote {"report": base64url of the TDREPORT}   {"quote": base64url}
 *   Google   GET  /computeMetadata/v1/instance/id, /instance/zone, /project/numeric-project-id; header Metadata-Flavor: Google
 *
 * Sources: Azure "Trusted Hardware Identity Management"; guest attestation of TDX VMs; Compute Engine "View and query VM metadata". Node only.
 */
import { b64u, type Bytes, fromB64u, text } from '../bytes.ts';
import { type Fetch, get, HttpFailure } from '../collateral/http.ts';
import { readJsonObject } from '../formats/json-span.ts';
import { readPem } from '../formats/pem.ts';
import type { GceInstance } from '../hardware/tdx/gce.ts';
import { printable, Refusal, refuse } from '../refusal.ts';

export const AZURE_METADATA = 'http://169.254.169.254';
export const GOOGLE_METADATA = 'http://metadata.google.internal';
const LIMIT = 65_536;
const TIMEOUT_MS = 10_000;
/** The service asks for a pause now and then (status 429, 5xx). */
const ATTEMPTS = 4;

export interface MetadataOptions {
  readonly fetch: Fetch;
  /** Origin of the service. */
  readonly base?: string;
  readonly wait?: (ms: number) => Promise<void>;
}

const failed = (path: string, have: string, need: string): never => refuse('ATTESTER_FAILED', path, 'See whether the VM may reach its metadata service, and whether the service knows this kind of VM.', { have: printable(have, 120), need });

async function ask(path: string, base: string, { fetch, wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); }) }: MetadataOptions, headers: Readonly<Record<string, string>>, body?: string): Promise<Bytes> {
  const url = new URL(path, base);
  // `get` bounds size and time; a body makes it a POST
  const send: Fetch = body === undefined ? fetch : (to, init) => fetch(to, { ...init, method: 'POST', body, headers: { ...headers, 'content-type': 'application/json' } });
  for (let attempt = 1; ; attempt++) {
    try {
      return (await get({ url, headers, limit: LIMIT, read: () => [] }, { fetch: send, timeoutMs: TIMEOUT_MS, now: () => 0 })).bytes;
    } catch (error) {
      if (!(error instanceof HttpFailure)) throw error;
      if (error.kind !== 'busy' || attempt === ATTEMPTS) return failed(url.pathname, error.message, 'an answer');
      await wait(100 * 2 ** attempt);
    }
  }
}

/** One text member of a JSON answer. */
function member(answer: Bytes, name: string, path: string): string {
  let value: unknown;
  try {
    value = readJsonObject(answer, path, { maxBytes: LIMIT, maxDepth: 3, code: 'FMT_JSON', next: '' }).get(name)?.value;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
  }
  return typeof value === 'string' ? value : failed(`${path}.${name}`, 'no such text', 'a text');
}

/** Certificates of this very VM's processor. */
export async function azureVcek(options: MetadataOptions): Promise<{ readonly vek: Bytes; readonly issuers: readonly Bytes[] }> {
  const path = '/metadata/THIM/amd/certification';
  const answer = await ask(path, options.base ?? AZURE_METADATA, options, { metadata: 'true' });
  const pem = (name: string, limit: number): Bytes[] => {
    try {
      return readPem(member(answer, name, path), 'CERTIFICATE', `${path}.${name}`, limit);
    } catch (error) {
      if (!(error instanceof Refusal) || error.code === 'ATTESTER_FAILED') throw error;
      return failed(`${path}.${name}`, error.reasons[0]?.have ?? 'no PEM', 'certificates in PEM');
    }
  };
  const [vek] = pem('vcekCert', 1) as [Bytes];
  return { vek, issuers: pem('certificateChain', 2) };
}

/** A TD quote over the report_data of this TDREPORT. @param report 1024 bytes */
export async function azureTdQuote(report: Bytes, options: MetadataOptions): Promise<Bytes> {
  const path = '/acc/tdquote';
  const quote = member(await ask(path, options.base ?? AZURE_METADATA, options, { metadata: 'true' }, JSON.stringify({ report: b64u(report) })), 'quote', path);
  try {
    return fromB64u(quote.replace(/={1,2}$/, ''));
  } catch {
    return failed(`${path}.quote`, `${quote.length} characters`, 'base64url');
  }
}

/** Who Google says that this machine is. */
export async function googleInstance(options: MetadataOptions): Promise<GceInstance> {
  const read = async (name: string): Promise<string> => text(await ask(`/computeMetadata/v1/${name}`, options.base ?? GOOGLE_METADATA, options, { 'metadata-flavor': 'Google' })).trim();
  const number = (name: string, value: string): bigint => (/^[1-9]\d{0,19}$/.test(value) ? BigInt(value) : failed(name, value, 'a number'));
  const [instance, project, place] = await Promise.all([read('instance/id'), read('project/numeric-project-id'), read('instance/zone')]);
  const zone = /^projects\/\d+\/zones\/([a-z0-9-]{1,63})$/.exec(place)?.[1] ?? failed('instance/zone', place, 'projects/<number>/zones/<zone>');
  return { instanceId: number('instance/id', instance), numericalProjectId: number('project/numeric-project-id', project), zone };
}
