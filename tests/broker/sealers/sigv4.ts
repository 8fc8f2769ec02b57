/** AWS Signature Version 4, recomputed from what arrived (AWS IAM User Guide, "Create a signed AWS API request"): independent of the library that signs. */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import type { Heard } from './loopback.ts';

const sha = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');
const mac = (key: string | Buffer, text: string): Buffer => createHmac('sha256', key).update(text, 'utf8').digest();

/** @returns why not, or undefined */
export function signatureProblem(heard: Heard, secretOf: (accessKeyId: string, token: string | undefined) => string | undefined, scope: { readonly region: string; readonly service: string; readonly now: number }): string | undefined {
  const match = /^AWS4-HMAC-SHA256 Credential=([^/]+)\/(\d{8})\/([^/]+)\/([^/]+)\/aws4_request, SignedHeaders=([a-z0-9;-]+), Signature=([0-9a-f]{64})$/.exec(heard.headers['authorization'] ?? '');
  if (match === null) return 'MissingAuthenticationTokenException';
  const [, id = '', date = '', region = '', service = '', names = '', signature = ''] = match;
  const stamp = heard.headers['x-amz-date'] ?? '';
  const secret = secretOf(id, heard.headers['x-amz-security-token']);
  if (secret === undefined) return 'UnrecognizedClientException';
  if (region !== scope.region || service !== scope.service || !stamp.startsWith(date)) return 'InvalidSignatureException';
  const signedAt = Date.parse(stamp.replace(/^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/, '$1-$2-$3T$4:$5:$6Z'));
  if (!(Math.abs(scope.now - signedAt) <= 300_000)) return 'InvalidSignatureException';
  const headers = names.split(';');
  for (const needed of ['host', 'x-amz-date', 'x-amz-security-token', 'x-amz-target']) if (!headers.includes(needed)) return 'IncompleteSignatureException';
  const canonical = [heard.method, heard.path, '', ...headers.map((name) => `${name}:${(heard.headers[name] ?? '').trim()}`), '', names, sha(heard.body)].join('\n');
  const text = ['AWS4-HMAC-SHA256', stamp, `${date}/${region}/${service}/aws4_request`, sha(canonical)].join('\n');
  const key = ['aws4_request'].reduce((k, part) => mac(k, part), mac(mac(mac(`AWS4${secret}`, date), region), service));
  return timingSafeEqual(mac(key, text), Buffer.from(signature, 'hex')) ? undefined : 'InvalidSignatureException';
}
