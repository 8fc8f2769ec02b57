/** Azure Blob Storage ("Blob service REST API", version 2023-11-03: Put Blob, Get Blob, Get Blob Properties, Delete Blob, List Blobs), as the machine's managed identity. */
import { createHash } from 'node:crypto';
import { LedgerError } from '../errors.ts';
import { type Answer, type Authorize, type Call, send, type Surroundings } from './http.ts';
import type { ObjectStore } from './objects.ts';
import { azureToken } from './tokens.ts';

export interface AzureConfig { readonly account: string; readonly container: string; readonly endpoint?: string }

const VERSION = '2023-11-03';
const PAGE = 5_000;
/** Immutable by a policy, a legal hold, or leased by somebody: not ours to force. */
const KEPT: ReadonlySet<string> = new Set(['BlobImmutableDueToPolicy', 'BlobImmutableDueToLegalHold', 'LeaseIdMissing']);

export function azblob({ account, container, endpoint }: AzureConfig, around: Surroundings): ObjectStore {
  const base = `${endpoint ?? `https://${account}.blob.core.windows.net`}/${container}`;
  const token = azureToken(around, 'https://storage.azure.com/');
  const authorize: Authorize = async (call, stale) => ({
    ...call, headers: { ...call.headers, 'x-ms-version': VERSION, 'x-ms-date': new Date(around.now()).toUTCString(), authorization: `Bearer ${await token(stale)}` },
  });
  const ask = (method: Call['method'], name: string, more: { headers?: Record<string, string>; body?: Uint8Array<ArrayBuffer> } = {}): Promise<Answer> =>
    send({ method, url: `${base}${name}`, headers: more.headers ?? {}, ...(more.body === undefined ? {} : { body: more.body }) }, authorize, around);
  const failed = ({ status, code }: Answer): LedgerError => new LedgerError('BLOB_UNAVAILABLE', `The store failed: ${status} ${code}.`);

  return {
    async put(digest, data, onlyNew) {
      const answer = await ask('PUT', `/${digest}`, {
        // The store compares the MD5 on arrival and keeps it: it guards the way, the name guards the content.
        body: new Uint8Array(data), headers: { 'x-ms-blob-type': 'BlockBlob', 'content-md5': createHash('md5').update(data).digest('base64'), 'content-type': 'application/octet-stream', ...(onlyNew ? { 'if-none-match': '*' } : {}) },
      });
      if (onlyNew && (answer.status === 412 || answer.code === 'BlobAlreadyExists' || KEPT.has(answer.code))) return 'present';
      if (answer.status !== 201) throw failed(answer);
      return 'stored';
    },
    async get(digest) {
      const answer = await ask('GET', `/${digest}`);
      if (answer.status === 404 && answer.code !== 'ContainerNotFound') return undefined;
      if (answer.status !== 200) throw failed(answer);
      return answer.body;
    },
    async has(digest) {
      const answer = await ask('HEAD', `/${digest}`);
      if (answer.status === 404 && answer.code !== 'ContainerNotFound') return false;
      if (answer.status !== 200) throw failed(answer);
      return true;
    },
    async delete(digest) {
      const answer = await ask('DELETE', `/${digest}`, { headers: { 'x-ms-delete-snapshots': 'include' } });
      if (answer.status === 404 && answer.code !== 'ContainerNotFound') return 'absent';
      if (KEPT.has(answer.code)) return 'kept';
      if (answer.status !== 202) throw failed(answer);
      return 'deleted';
    },
    async page(from) {
      const answer = await ask('GET', `?restype=container&comp=list&maxresults=${PAGE}${from === undefined ? '' : `&marker=${encodeURIComponent(from)}`}`);
      if (answer.status !== 200) throw failed(answer);
      const xml = new TextDecoder().decode(answer.body);
      const next = /<NextMarker>([^<]{1,4096})<\/NextMarker>/.exec(xml)?.[1];
      return { names: [...xml.matchAll(/<Name>([^<]{1,4096})<\/Name>/g)].map(([, name]) => name as string), ...(next === undefined ? {} : { next: unescaped(next) }) };
    },
  };
}

const ENTITIES: Readonly<Record<string, string>> = { '&lt;': '<', '&gt;': '>', '&quot;': '"', '&apos;': '\'', '&amp;': '&' };
const unescaped = (text: string): string => text.replace(/&(?:lt|gt|quot|apos|amp);/g, (entity) => ENTITIES[entity] ?? entity);
