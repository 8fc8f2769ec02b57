/**
 * Amazon S3, and what speaks its API ("Amazon S3 API Reference": PutObject, GetObject, HeadObject, DeleteObject, ListObjectsV2). Path-style addresses, so that a name
 * with dots has a certificate too. What the bucket does with encryption, versions and locks is the bucket's own setting.
 */
import { AwsV4Signer } from 'aws4fetch';
import { LedgerError } from '../errors.ts';
import { type Answer, type Authorize, type Call, send, type Surroundings } from './http.ts';
import type { ObjectStore } from './objects.ts';
import { awsKeys } from './tokens.ts';

export interface S3Config { readonly bucket: string; readonly region: string; readonly endpoint?: string }

/** SHA-256 of nothing. */
const EMPTY = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const PAGE = 1_000;

export function s3({ bucket, region, endpoint }: S3Config, around: Surroundings): ObjectStore {
  const base = `${endpoint ?? `https://s3.${region}.amazonaws.com`}/${bucket}`;
  const keys = awsKeys(around);
  const authorize: Authorize = async (call, stale) => {
    const signer = new AwsV4Signer({ ...call, ...(await keys(stale)), service: 's3', region, datetime: new Date(around.now()).toISOString().replace(/[:-]|\.\d{3}/g, '') });
    const { headers } = await signer.sign();
    return { ...call, headers: Object.fromEntries(new Headers(headers)) };
  };
  const ask = (method: Call['method'], name: string, more: { headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> } = {}): Promise<Answer> =>
    send({ method, url: `${base}${name}`, ...(more.body === undefined ? {} : { body: more.body }), headers: { 'x-amz-content-sha256': EMPTY, ...more.headers } }, authorize, around);
  const failed = ({ status, code }: Answer): LedgerError => new LedgerError('BLOB_UNAVAILABLE', `The store failed: ${status} ${code}.`);
  const has = async (digest: string): Promise<boolean> => {
    const answer = await ask('HEAD', `/${digest}`);
    if (answer.status === 404) return false;
    if (answer.status !== 200) throw failed(answer);
    return true;
  };

  return {
    async put(digest, data, onlyNew) {
      // The payload's digest is signed, and the store compares it and keeps it with the object.
      const answer = await ask('PUT', `/${digest}`, {
        body: new Uint8Array(data), headers: { 'x-amz-content-sha256': digest, 'x-amz-checksum-sha256': Buffer.from(digest, 'hex').toString('base64'), 'content-type': 'application/octet-stream', ...(onlyNew ? { 'if-none-match': '*' } : {}) },
      });
      if (answer.status === 412 && onlyNew) return 'present';
      if (answer.status !== 200) throw failed(answer);
      return 'stored';
    },
    async get(digest) {
      const answer = await ask('GET', `/${digest}`, { headers: { 'x-amz-checksum-mode': 'ENABLED' } });
      if (answer.status === 404 && answer.code !== 'NoSuchBucket') return undefined;
      if (answer.status !== 200) throw failed(answer);
      return answer.body;
    },
    has,
    async delete(digest) {
      // Its answer does not say whether there was anything.
      if (!await has(digest)) return 'absent';
      const answer = await ask('DELETE', `/${digest}`);
      if (answer.status !== 204 && answer.status !== 200) throw failed(answer);
      return 'deleted';
    },
    async page(from) {
      const answer = await ask('GET', `?list-type=2&encoding-type=url&max-keys=${PAGE}${from === undefined ? '' : `&start-after=${encodeURIComponent(from)}`}`);
      if (answer.status !== 200) throw failed(answer);
      const xml = new TextDecoder().decode(answer.body);
      const names = [...xml.matchAll(/<Key>([^<]{1,4096})<\/Key>/g)].map(([, name]) => plain(name as string));
      const last = names.at(-1);
      if (!/<IsTruncated>\s*true\s*<\/IsTruncated>/.test(xml)) return { names };
      if (last === undefined) throw failed(answer);
      return { names, next: last };
    },
  };
}

/** As `encoding-type=url` writes names. */
function plain(name: string): string {
  try {
    return decodeURIComponent(name.replaceAll('+', ' '));
  } catch {
    return name;
  }
}
