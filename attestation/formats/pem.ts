/**
 * Strict PEM (RFC 7468): blocks of one label, base64 in lines of 64 characters as every encoder writes it (the last one shorter, LF or CR LF),
 * nothing before, between or behind them but line ends. One spelling per certificate: nothing can hide between two blocks.
 */
import { type Bytes, text } from '../bytes.ts';
import { refuse } from '../refusal.ts';

export type PemLabel = 'CERTIFICATE' | 'X509 CRL' | 'PUBLIC KEY';

const LINE = 64;
/** Per file: chains of a dozen certificates are far smaller. */
const MAX_SIZE = 1024 * 1024;
const NEXT = 'Send the PEM as its issuer publishes it, without text around the blocks.';
const BASE64 = /^[A-Za-z0-9+/]*={0,2}$/;

/** @param limit most blocks; at least one is required. @returns DER of each block. @throws Refusal FMT_PEM */
export function readPem(data: Bytes | string, label: PemLabel, path: string, limit: number): Bytes[] {
  const bad = (have: string, need?: string): never => refuse('FMT_PEM', path, NEXT, need === undefined ? { have } : { have, need });
  if (data.length > MAX_SIZE) bad(`${data.length} characters`, `at most ${MAX_SIZE}`);
  let source: string;
  try {
    source = typeof data === 'string' ? data : text(data);
  } catch {
    return bad('bytes that are not text');
  }
  const [begin, end] = [`-----BEGIN ${label}-----`, `-----END ${label}-----`];
  const out: Bytes[] = [];
  let body: string[] | undefined;
  for (const line of source.split(/\r?\n/)) {
    if (body === undefined) {
      if (line === '') continue;
      if (line !== begin) return bad('text outside of a block', begin);
      if (out.length === limit) return bad(`more than ${limit} blocks`, `at most ${limit}`);
      body = [];
    } else if (line === end) {
      if (body.some((l, i) => l.length > LINE || (l.length < LINE && i < (body as string[]).length - 1))) return bad('lines of another length', `lines of ${LINE}`);
      const decoded = decode(body.join(''));
      if (decoded === undefined) return bad('a body that is not canonical base64');
      out.push(decoded);
      body = undefined;
    } else body.push(line);
  }
  if (body !== undefined) return bad('a block without its end', end);
  return out.length === 0 ? bad('no block', begin) : out;
}

/** `undefined`: not base64, or not the one spelling of these bytes. */
function decode(base64: string): Bytes | undefined {
  if (base64 === '' || base64.length % 4 !== 0 || !BASE64.test(base64)) return undefined;
  const binary = atob(base64);
  const out = new Uint8Array(binary.length);
  for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
  // Bits behind the last byte must be zero: only the last group can have any
  return btoa(binary.slice(-(binary.length % 3 || 3))) === base64.slice(-4) ? out : undefined;
}
