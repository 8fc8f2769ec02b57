/**
 * The little of each cloud's API that the stores use, over a map, strict about what the documents promise: checksums are compared on arrival, a conditional put replaces
 * nothing, a list has pages. For machines without the engines of engines.ts; it is our own reading of the documents, so it proves less.
 */
import { createHash } from 'node:crypto';
import type { EngineName } from './engines.ts';
import { entraToken } from './metadata.ts';

export interface SmallStore {
  readonly fetch: typeof fetch;
  readonly objects: Map<string, Uint8Array<ArrayBuffer>>;
  /** What the way does to bytes before the store has them. */
  mangle(change: (data: Uint8Array<ArrayBuffer>) => Uint8Array<ArrayBuffer>): void;
}

const PAGE = 2;
const md5 = (data: Uint8Array): string => createHash('md5').update(data).digest('base64');
const sha256 = (data: Uint8Array, form: 'hex' | 'base64'): string => createHash('sha256').update(data).digest(form);
const answer = (status: number, body: string | Uint8Array<ArrayBuffer> | null = null, headers: Record<string, string> = {}): Response => new Response(body, { status, headers });
const xmlError = (status: number, code: string): Response => answer(status, `<?xml version="1.0"?><Error><Code>${code}</Code></Error>`);

type Objects = SmallStore['objects'];
interface Asked { readonly method: string; readonly url: URL; readonly headers: Headers; readonly body: Uint8Array<ArrayBuffer>; readonly objects: Objects }

function page(objects: Objects, from: string): { names: string[]; last: string | undefined } {
  const rest = [...objects.keys()].sort().filter((name) => name > from);
  return { names: rest.slice(0, PAGE), last: rest.length > PAGE ? rest[PAGE - 1] : undefined };
}

function s3({ method, url, headers, body, objects }: Asked): Response {
  if (!headers.get('authorization')?.startsWith('AWS4-HMAC-SHA256 Credential=ASIA')) return xmlError(403, 'AccessDenied');
  const name = url.pathname.split('/')[2];
  if (name === undefined) {
    const { names, last } = page(objects, url.searchParams.get('start-after') ?? '');
    return answer(200, `<ListBucketResult><IsTruncated>${last !== undefined}</IsTruncated>${names.map((key) => `<Contents><Key>${encodeURIComponent(key)}</Key></Contents>`).join('')}</ListBucketResult>`);
  }
  const found = objects.get(name);
  switch (method) {
    case 'PUT':
      if (headers.get('x-amz-content-sha256') !== sha256(body, 'hex')) return xmlError(400, 'XAmzContentSHA256Mismatch');
      if (headers.get('x-amz-checksum-sha256') !== sha256(body, 'base64')) return xmlError(400, 'BadDigest');
      if (headers.get('if-none-match') === '*' && found !== undefined) return xmlError(412, 'PreconditionFailed');
      objects.set(name, body);
      return answer(200);
    case 'DELETE': objects.delete(name); return answer(204);
    case 'HEAD': return answer(found === undefined ? 404 : 200);
    default: return found === undefined ? xmlError(404, 'NoSuchKey') : answer(200, found);
  }
}

function azblob({ method, url, headers, body, objects }: Asked): Response {
  const failed = (status: number, code: string): Response => answer(status, null, { 'x-ms-error-code': code });
  if (!headers.get('authorization')?.startsWith('Bearer ey') || headers.get('x-ms-version') !== '2023-11-03') return failed(403, 'AuthenticationFailed');
  const name = url.pathname.split('/')[2];
  if (name === undefined) {
    const { names, last } = page(objects, (url.searchParams.get('marker') ?? '').replace(/^<&>/, ''));
    return answer(200, `<EnumerationResults><Blobs>${names.map((key) => `<Blob><Name>${key}</Name></Blob>`).join('')}</Blobs>${last === undefined ? '<NextMarker />' : `<NextMarker>&lt;&amp;&gt;${last}</NextMarker>`}</EnumerationResults>`);
  }
  const found = objects.get(name);
  switch (method) {
    case 'PUT':
      if (headers.get('x-ms-blob-type') !== 'BlockBlob') return failed(400, 'InvalidHeaderValue');
      if (headers.get('content-md5') !== md5(body)) return failed(400, 'Md5Mismatch');
      if (headers.get('if-none-match') === '*' && found !== undefined) return failed(409, 'BlobAlreadyExists');
      objects.set(name, body);
      return answer(201);
    case 'DELETE': return objects.delete(name) ? answer(202) : failed(404, 'BlobNotFound');
    default: return found === undefined ? failed(404, 'BlobNotFound') : answer(200, method === 'HEAD' ? null : found);
  }
}

function gs({ method, url, headers, body, objects }: Asked): Response {
  const failed = (status: number, reason: string): Response => Response.json({ error: { errors: [{ reason }] } }, { status });
  if (!headers.get('authorization')?.startsWith('Bearer token')) return failed(401, 'authError');
  if (url.pathname.startsWith('/upload/')) {
    const boundary = /boundary=(\S+)$/.exec(headers.get('content-type') ?? '')?.[1];
    const [, head = '', media = ''] = Buffer.from(body).toString('latin1').split(`--${boundary}`);
    const { name, md5Hash } = JSON.parse(head.slice(head.indexOf('\r\n\r\n') + 4)) as { name: string; md5Hash: string };
    const data = new Uint8Array(Buffer.from(media.slice(media.indexOf('\r\n\r\n') + 4, -2), 'latin1'));
    if (md5(data) !== md5Hash) return failed(400, 'invalid');
    if (url.searchParams.get('ifGenerationMatch') === '0' && objects.has(name)) return failed(412, 'conditionNotMet');
    objects.set(name, data);
    return Response.json({ md5Hash });
  }
  const name = url.pathname.split('/')[6];
  if (name === undefined) {
    const { names, last } = page(objects, url.searchParams.get('pageToken') ?? '');
    return Response.json({ ...(names.length === 0 ? {} : { items: names.map((each) => ({ name: each })) }), ...(last === undefined ? {} : { nextPageToken: last }) });
  }
  const found = objects.get(name);
  if (method === 'DELETE') return objects.delete(name) ? answer(204) : failed(404, 'notFound');
  if (found === undefined) return failed(404, 'notFound');
  return url.searchParams.get('alt') === 'media' ? answer(200, found) : Response.json({ name });
}

const SERVE = { s3, azblob, gs } as const;
const LATER = Date.UTC(2100, 0);

function metadata(url: string, method: string): Response {
  if (method === 'PUT') return new Response('session');
  if (url.endsWith('/security-credentials/')) return new Response('role');
  if (url.endsWith('/role')) return Response.json({ AccessKeyId: 'ASIA', SecretAccessKey: 'x', Token: 'y', Expiration: new Date(LATER).toISOString() });
  return Response.json({ access_token: url.includes('resource=') ? entraToken(Date.now()) : 'token', expires_in: 3_600 });
}

export function smallStore(name: EngineName): SmallStore {
  const objects: Objects = new Map();
  let change = (data: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> => data;
  const serve = async (target: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const { method = 'GET' } = init;
    if (String(target).startsWith('http://169.254.169.254/')) return metadata(String(target), method);
    return SERVE[name]({ method, url: new URL(String(target)), headers: new Headers(init.headers), body: change(new Uint8Array((init.body as Uint8Array | undefined) ?? [])), objects });
  };
  return { fetch: serve as typeof fetch, objects, mangle: (how) => { change = how; } };
}
