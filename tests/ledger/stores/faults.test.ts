/** What a store that fails, lies or is slow gets us to do: over a fetch of the test's own, which records what was sent. */
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { digestOf } from '../../../workloads/ledger/blobs.ts';
import { openStore, parseStoreUrl } from '../../../workloads/ledger/stores/open.ts';

interface Sent { readonly method: string; readonly url: string; readonly headers: Headers; readonly body: Uint8Array }
type Reply = (sent: Sent) => Response | Promise<Response>;

const URLS = { s3: 's3://bucket-1?region=eu-central-1', azblob: 'azblob://account1/messages', gs: 'gs://bucket-1' } as const;
type Name = keyof typeof URLS;
const NAMES = Object.keys(URLS) as Name[];
const SECRET = 'SECRET';
const STORED: Readonly<Record<Name, () => Response>> = {
  s3: () => new Response(null, { status: 200 }), azblob: () => new Response(null, { status: 201 }),
  gs: (): Response => Response.json({ md5Hash: 'CY9rzUYh03PK3k6DJie09g==' }), // MD5 of "test"
};
const TEST = new TextEncoder().encode('test');
const DIGEST = digestOf(TEST);

const isMetadata = (url: string) => url.startsWith('http://169.254.169.254/');
let tokens = 0;
function metadata({ url, method }: Sent): Response {
  tokens++;
  if (method === 'PUT') return new Response('session');
  if (url.endsWith('/security-credentials/')) return new Response('role');
  if (url.endsWith('/role')) return Response.json({ AccessKeyId: 'AKIA', SecretAccessKey: `${SECRET}-key`, Token: `${SECRET}-token-${tokens}`, Expiration: new Date(NOW + 3_600_000).toISOString() });
  return Response.json({ access_token: `${SECRET}-token-${tokens}`, expires_in: 3_600 });
}
const NOW = Date.UTC(2026, 10, 24);

async function store(name: Name, reply: Reply, { now = () => NOW, credentials = metadata as Reply, url = URLS[name] as string, env = {} as Record<string, string> } = {}) {
  const sent: Sent[] = [];
  const pauses: number[] = [];
  const fetch_ = async (target: string | URL | Request, init: RequestInit = {}): Promise<Response> => {
    const call: Sent = { method: init.method ?? 'GET', url: String(target), headers: new Headers(init.headers), body: new Uint8Array((init.body as Uint8Array | undefined) ?? []) };
    expect(init.redirect).toBe('error');
    expect(init.signal).toBeInstanceOf(AbortSignal);
    if (isMetadata(call.url)) return credentials(call);
    sent.push(call);
    return reply(call);
  };
  const blobs = await openStore({ url, folder: '/nowhere', around: { fetch: fetch_ as typeof fetch, env, now, sleep: async (ms) => void pauses.push(ms), random: () => 0.5 } });
  return { blobs, sent, pauses };
}

const status = (code: number, body = '') => () => new Response(body, { status: code });
const then = (...replies: Reply[]): Reply => { let n = 0; return (call) => (replies[n++] ?? replies.at(-1)!)(call); };

describe.each(NAMES)('%s', (name) => {
  it.each([408, 429, 500, 502, 503, 504])('asks again after %i, after a pause that grows', async (code) => {
    const { blobs, sent, pauses } = await store(name, then(status(code), status(code), STORED[name]));
    expect(await blobs.put(TEST)).toBe(DIGEST);
    expect(sent).toHaveLength(3);
    expect(pauses).toEqual([150, 300]);
  });

  it('asks again when nobody answered', async () => {
    const { blobs, sent } = await store(name, then(() => { throw Object.assign(new TypeError('fetch failed'), { cause: { code: 'ECONNRESET' } }); }, STORED[name]));
    expect(await blobs.put(TEST)).toBe(DIGEST);
    expect(sent).toHaveLength(2);
  });

  it('gives up after four attempts, and says why without what is secret', async () => {
    const { blobs, sent } = await store(name, status(503, `<Error><Code>SlowDown</Code><Message>${SECRET}</Message></Error>`));
    const error = await blobs.put(TEST).catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'BLOB_UNAVAILABLE', message: 'The store failed: 503 SlowDown.' });
    expect(sent).toHaveLength(4);
    expect(JSON.stringify([error, (error as Error).stack, (error as Error).cause])).not.toContain(SECRET);
  });

  it('says no address of a connection that failed', async () => {
    const { blobs } = await store(name, () => { throw Object.assign(new TypeError(`${SECRET} refused`), { cause: { code: 'ECONNREFUSED', address: SECRET } }); });
    const error = await blobs.get(DIGEST).catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'BLOB_UNAVAILABLE', message: 'The store failed: ECONNREFUSED.' });
    expect(JSON.stringify([error, (error as Error).stack, (error as Error).cause])).not.toContain(SECRET);
  });

  it.each([400, 403, 405])('does not repeat what is refused: %i', async (code) => {
    const { blobs, sent } = await store(name, status(code));
    await expect(blobs.put(TEST)).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    await expect(blobs.get(DIGEST)).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    await expect(blobs.has(DIGEST)).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    await expect(blobs.list()).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    expect(sent).toHaveLength(4);
  });

  it('takes a new token once, when the old one is refused', async () => {
    const { blobs, sent } = await store(name, then(status(401), STORED[name]));
    expect(await blobs.put(TEST)).toBe(DIGEST);
    const [first, second] = sent.map(({ headers }) => `${headers.get('authorization')} ${headers.get('x-amz-security-token')}`);
    expect(first).not.toBe(second);
    const again = await store(name, status(401));
    await expect(again.blobs.put(TEST)).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    expect(again.sent).toHaveLength(2);
  });

  it('keeps its token until five minutes before its end', async () => {
    let at = NOW;
    const { blobs } = await store(name, STORED[name], { now: () => at });
    const asked = async () => { const before = tokens; await blobs.put(TEST); return tokens - before; };
    const each = name === 's3' ? 3 : 1;
    expect([await asked(), await asked()]).toEqual([each, 0]);
    at += 3_300_000;
    expect(await asked()).toBe(each);
  });

  it('lives on what it has while the metadata service fails, until that ends', async () => {
    let at = NOW;
    let down = false;
    const { blobs } = await store(name, STORED[name], { now: () => at, credentials: (call) => (down ? new Response(SECRET, { status: 500 }) : metadata(call)) });
    await blobs.put(TEST);
    down = true;
    at += 3_400_000;
    expect(await blobs.put(TEST)).toBe(DIGEST);
    at += 3_600_000;
    await expect(blobs.put(TEST)).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE', message: 'The metadata service gives no credentials: 500.' });
  });

  it.each(['{"secret":"SECRET"}', 'SECRET', '[]'])('says nothing of credentials it cannot read: %s', async (text) => {
    const { blobs } = await store(name, STORED[name], { credentials: (call) => (call.method === 'PUT' || call.url.endsWith('/security-credentials/') ? metadata(call) : new Response(text)) });
    const error = await blobs.put(TEST).catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    expect(JSON.stringify([error, (error as Error).stack, (error as Error).cause])).not.toContain(SECRET);
  });

  it('sends the store a checksum, and asks it to replace nothing', async () => {
    const { blobs, sent: [call] } = await store(name, STORED[name]).then(async (s) => { await s.blobs.put(TEST); return s; });
    expect(blobs).toBeDefined();
    const text = Buffer.from(call!.body).toString('latin1');
    if (name === 'gs') {
      expect(new URL(call!.url).searchParams.get('ifGenerationMatch')).toBe('0');
      expect(text).toContain('"md5Hash":"CY9rzUYh03PK3k6DJie09g=="');
    } else {
      expect(call!.headers.get('if-none-match')).toBe('*');
      expect(text).toBe('test');
      if (name === 's3') {
        expect(call!.headers.get('x-amz-content-sha256')).toBe(DIGEST);
        expect(Buffer.from(call!.headers.get('x-amz-checksum-sha256')!, 'base64').toString('hex')).toBe(DIGEST);
        expect(call!.headers.get('authorization')).toMatch(/SignedHeaders=host;if-none-match;x-amz-checksum-sha256;x-amz-content-sha256;x-amz-date;x-amz-security-token,/);
      } else expect(call!.headers.get('content-md5')).toBe('CY9rzUYh03PK3k6DJie09g==');
    }
  });

  it('believes no bytes with another digest', async () => {
    const { blobs } = await store(name, status(200, 'other'));
    await expect(blobs.get(DIGEST)).rejects.toMatchObject({ code: 'BLOB_CORRUPT' });
  });

  it('reads no more than any message has', async () => {
    const { blobs } = await store(name, () => new Response(new ReadableStream({ pull: (c) => c.enqueue(new Uint8Array(16 * 2 ** 20)) }), { status: 200 }));
    await expect(blobs.get(DIGEST)).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
  });

  it('does not follow a list without end', async () => {
    const page = { s3: `<IsTruncated>true</IsTruncated><Key>${DIGEST}</Key>`, azblob: `<Name>${DIGEST}</Name><NextMarker>again</NextMarker>`, gs: JSON.stringify({ items: [{ name: DIGEST }], nextPageToken: 'again' }) }[name];
    const { blobs, sent } = await store(name, status(200, page));
    await expect(blobs.list()).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    expect(sent).toHaveLength(2);
  });

  it('goes on to the next page from where one ends, and lists nothing that is no digest', async () => {
    const [a, b] = ['a'.repeat(64), 'b'.repeat(64)];
    const pages = {
      s3: [`<IsTruncated>true</IsTruncated><Key>${a}</Key><Key>a%2Bz</Key>`, `<IsTruncated>false</IsTruncated><Key>${b}</Key>`],
      azblob: [`<Name>${a}</Name><Name>other</Name><NextMarker>x&amp;y</NextMarker>`, `<Name>${b}</Name><NextMarker />`],
      gs: [JSON.stringify({ items: [{ name: a }, { name: 'other' }], nextPageToken: 'x&y' }), JSON.stringify({ items: [{ name: b }] })],
    }[name];
    const { blobs, sent } = await store(name, then(...pages.map((page) => status(200, page))));
    expect(await blobs.list()).toEqual([a, b]);
    const query = new URL(sent[1]!.url).searchParams;
    expect(query.get({ s3: 'start-after', azblob: 'marker', gs: 'pageToken' }[name])).toBe(name === 's3' ? 'a+z' : 'x&y');
  });
});

it('S3: a writer that meets another one tries again', async () => {
  const { blobs, sent } = await store('s3', then(status(409, '<Error><Code>ConditionalRequestConflict</Code></Error>'), STORED.s3));
  expect(await blobs.put(TEST)).toBe(DIGEST);
  expect(sent).toHaveLength(2);
});

it('S3: keys that ended early are asked for anew', async () => {
  const { blobs, sent } = await store('s3', then(status(400, '<Error><Code>ExpiredToken</Code></Error>'), STORED.s3));
  expect(await blobs.put(TEST)).toBe(DIGEST);
  expect(sent[0]!.headers.get('x-amz-security-token')).not.toBe(sent[1]!.headers.get('x-amz-security-token'));
});

it('S3: keys of the environment, and those of a pod, come first', async () => {
  const none: Reply = () => { throw new Error('asked'); };
  const keys = await store('s3', STORED.s3, { credentials: none, env: { AWS_ACCESS_KEY_ID: 'AKIAENV', AWS_SECRET_ACCESS_KEY: 'x' } });
  await keys.blobs.put(TEST);
  expect(keys.sent[0]!.headers.get('authorization')).toContain('Credential=AKIAENV/20261124/eu-central-1/s3/aws4_request');
  let asked: Sent | undefined;
  const pod = await store('s3', (call) => {
    if (!call.url.startsWith('http://127.0.0.1:9/')) return STORED.s3();
    asked = call;
    return Response.json({ AccessKeyId: 'AKIAPOD', SecretAccessKey: 'x', Token: 'y', Expiration: new Date(NOW + 3_600_000).toISOString() });
  }, { credentials: none, env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: 'http://127.0.0.1:9/v1/credentials', AWS_CONTAINER_AUTHORIZATION_TOKEN: 'pod-token' } });
  await pod.blobs.put(TEST);
  expect(asked!.headers.get('authorization')).toBe('pod-token');
  expect(pod.sent.at(-1)!.headers.get('authorization')).toContain('Credential=AKIAPOD/');
});

it.each(['http://example.org/keys', 'ftp://127.0.0.1/', 'nothing'])('S3: no setting sends for keys to %s', async (uri) => {
  const opened = store('s3', STORED.s3, { env: { AWS_CONTAINER_CREDENTIALS_FULL_URI: uri } }).then(({ blobs }) => blobs.put(TEST));
  await expect(opened).rejects.toMatchObject({ code: 'BLOB_CONFIG' });
});

it.each([['azblob', 409, '<Error><Code>BlobImmutableDueToPolicy</Code></Error>'], ['gs', 403, '{"error":{"errors":[{"reason":"retentionPolicyNotMet"}]}}']] as const)('%s: what its retention keeps is not deleted, and that is no failure', async (name, code, body) => {
  const { blobs } = await store(name, status(code, body));
  expect(await blobs.delete(DIGEST)).toBe(false);
});

it('a bucket that is not there is a failure, not a missing object', async () => {
  for (const [name, body] of [['s3', '<Error><Code>NoSuchBucket</Code></Error>'], ['azblob', '<Error><Code>ContainerNotFound</Code></Error>'], ['gs', '{}']] as const) {
    const { blobs } = await store(name, status(404, body));
    await expect(blobs.get(DIGEST), name).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
    await expect(blobs.put(TEST), name).rejects.toMatchObject({ code: 'BLOB_UNAVAILABLE' });
  }
});

describe('STORE_URL', () => {
  it('reads what the stacks write', () => {
    expect(parseStoreUrl('s3://ccc-prod.images?region=eu-central-1')).toEqual({ at: 's3', bucket: 'ccc-prod.images', region: 'eu-central-1' });
    expect(parseStoreUrl('azblob://cccprodstore/messages')).toEqual({ at: 'azblob', account: 'cccprodstore', container: 'messages' });
    expect(parseStoreUrl('gs://ccc-prod-ciphertext')).toEqual({ at: 'gs', bucket: 'ccc-prod-ciphertext' });
    expect(parseStoreUrl('s3://bucket?region=us-gov-west-1&endpoint=https://minio.example:9000/')).toMatchObject({ region: 'us-gov-west-1', endpoint: 'https://minio.example:9000' });
  });

  it.each([
    's3://bucket', 's3://bucket?region=', 's3://bucket?region=x', 's3://bucket?region=eu-central-1&region=eu-west-1', 's3://bucket?region=eu-central-1&key=1', 's3://bucket/path?region=eu-central-1', 's3://a:b@bucket?region=eu-central-1', 's3://BUCKET?region=eu-central-1',
    'azblob://account', 'azblob://account/', 'azblob://account/a--b', 'azblob://account/UPPER', 'azblob://a-b/messages', 'azblob://account/messages/more', 'azblob://account/messages?sig=SECRET', 'azblob://account/messages?region=eu-central-1',
    'gs://b', 'gs://bucket/path', 'gs://bucket?endpoint=http://example.org', 'gs://bucket?endpoint=https://a:b@example.org', 'gs://bucket?endpoint=https://example.org/?x=1', 'gs://bucket?endpoint=nothing', 'gs://bucket#x',
    'https://account.blob.core.windows.net/messages', 'file:///tmp', 'bucket',
  ])('refuses %s, and repeats nothing of it', async (url) => {
    const error = await openStore({ url, folder: '/nowhere' }).catch((e: unknown) => e as Error);
    expect(error).toMatchObject({ code: 'BLOB_CONFIG' });
    expect((error as Error).message).not.toContain('SECRET');
  });

  it('never throws anything else, and never lets a name out of its place', () => {
    fc.assert(fc.property(fc.oneof(fc.string(), fc.string().map((s) => `s3://${s}`), fc.string().map((s) => `azblob://account/${s}`), fc.string().map((s) => `gs://bucket?endpoint=${s}`)), (text) => {
      try {
        const parsed = parseStoreUrl(text);
        expect('container' in parsed ? parsed.container : parsed.bucket).toMatch(/^[a-z0-9._-]+$/);
      } catch (error) {
        expect(error).toMatchObject({ code: 'BLOB_CONFIG' });
      }
    }), { numRuns: 300 });
  });
});
