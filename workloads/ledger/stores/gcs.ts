/** Google Cloud Storage ("Cloud Storage JSON API", v1: objects insert, get, delete, list), as the machine's or pod's service account. */
import { createHash, randomUUID } from 'node:crypto';
import { z } from 'zod';
import { LedgerError } from '../errors.ts';
import { type Answer, type Authorize, type Call, send, type Surroundings } from './http.ts';
import type { ObjectStore } from './objects.ts';
import { googleToken } from './tokens.ts';

export interface GcsConfig { readonly bucket: string; readonly endpoint?: string }

const PAGE = 1_000;
const KEPT: ReadonlySet<string> = new Set(['retentionPolicyNotMet', 'objectUnderActiveHold']);
const list = z.object({ items: z.array(z.object({ name: z.string() })).optional(), nextPageToken: z.string().min(1).max(4_096).optional() });
const inserted = z.object({ md5Hash: z.string() });

export function gcs({ bucket, endpoint = 'https://storage.googleapis.com' }: GcsConfig, around: Surroundings): ObjectStore {
  const objects = `${endpoint}/storage/v1/b/${bucket}/o`;
  const token = googleToken(around);
  const authorize: Authorize = async (call, stale) => ({ ...call, headers: { ...call.headers, authorization: `Bearer ${await token(stale)}` } });
  const ask = (method: Call['method'], url: string, more: { headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> } = {}): Promise<Answer> =>
    send({ method, url, headers: more.headers ?? {}, ...(more.body === undefined ? {} : { body: more.body }) }, authorize, around);
  const failed = ({ status, code }: Answer): LedgerError => new LedgerError('BLOB_UNAVAILABLE', `The store failed: ${status} ${code}.`);
  const read = <T>(schema: z.ZodType<T>, answer: Answer): T => {
    try {
      return schema.parse(JSON.parse(new TextDecoder().decode(answer.body)));
    } catch {
      throw new LedgerError('BLOB_UNAVAILABLE', 'The store answers in a form that is not known.');
    }
  };
  /** 404 of an object and of the bucket look alike. */
  const bucketThere = async (): Promise<void> => {
    const answer = await ask('GET', `${objects}?maxResults=1&fields=nextPageToken`);
    if (answer.status !== 200) throw failed(answer);
  };

  return {
    async put(digest, data, onlyNew) {
      // In two parts, since the metadata carries the MD5 that the store compares on arrival.
      const boundary = randomUUID();
      const md5 = createHash('md5').update(data).digest('base64');
      const head = Buffer.from(`--${boundary}\r\ncontent-type: application/json\r\n\r\n${JSON.stringify({ name: digest, md5Hash: md5 })}\r\n--${boundary}\r\ncontent-type: application/octet-stream\r\n\r\n`);
      const answer = await ask('POST', `${endpoint}/upload/storage/v1/b/${bucket}/o?uploadType=multipart&fields=md5Hash${onlyNew ? '&ifGenerationMatch=0' : ''}`, {
        body: new Uint8Array(Buffer.concat([head, data, Buffer.from(`\r\n--${boundary}--\r\n`)])), headers: { 'content-type': `multipart/related; boundary=${boundary}` },
      });
      if (onlyNew && (answer.status === 412 || KEPT.has(answer.code))) return 'present';
      if (answer.status !== 200) throw failed(answer);
      if (read(inserted, answer).md5Hash !== md5) throw new LedgerError('BLOB_UNAVAILABLE', 'The store has stored other bytes.');
      return 'stored';
    },
    async get(digest) {
      const answer = await ask('GET', `${objects}/${digest}?alt=media`);
      if (answer.status === 404) { await bucketThere(); return undefined; }
      if (answer.status !== 200) throw failed(answer);
      return answer.body;
    },
    async has(digest) {
      const answer = await ask('GET', `${objects}/${digest}?fields=name`);
      if (answer.status === 404) { await bucketThere(); return false; }
      if (answer.status !== 200) throw failed(answer);
      return true;
    },
    async delete(digest) {
      const answer = await ask('DELETE', `${objects}/${digest}`);
      if (answer.status === 404) { await bucketThere(); return 'absent'; }
      if (KEPT.has(answer.code)) return 'kept';
      if (answer.status !== 204 && answer.status !== 200) throw failed(answer);
      return 'deleted';
    },
    async page(from) {
      const answer = await ask('GET', `${objects}?fields=items(name),nextPageToken&maxResults=${PAGE}${from === undefined ? '' : `&pageToken=${encodeURIComponent(from)}`}`);
      if (answer.status !== 200) throw failed(answer);
      const { items = [], nextPageToken } = read(list, answer);
      return { names: items.map(({ name }) => name), ...(nextPageToken === undefined ? {} : { next: nextPageToken }) };
    },
  };
}
