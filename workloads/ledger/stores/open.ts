/**
 * Which store holds ciphertext. Absent: a folder. Otherwise one address:
 *
 *   s3://BUCKET?region=REGION    azblob://ACCOUNT/CONTAINER    gs://BUCKET
 *
 * each with `endpoint=https://...` for another service that speaks the same API (plain http to this machine only). Code of a cloud loads where it is used.
 */
import { type Blobs, openBlobs } from '../blobs.ts';
import { LedgerError } from '../errors.ts';
import { type Surroundings, surroundings } from './http.ts';
import { objectBlobs } from './objects.ts';

export type StoreAddress =
  | { readonly at: 's3'; readonly bucket: string; readonly region: string; readonly endpoint?: string }
  | { readonly at: 'azblob'; readonly account: string; readonly container: string; readonly endpoint?: string }
  | { readonly at: 'gs'; readonly bucket: string; readonly endpoint?: string };

const FORMS = {
  s3: { host: /^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$/, path: /^$/, needs: ['region'] },
  azblob: { host: /^[a-z0-9]{3,24}$/, path: /^\/([a-z0-9]|[a-z0-9](?:[a-z0-9]|-(?!-)){1,61}[a-z0-9])$/, needs: [] },
  gs: { host: /^[a-z0-9][a-z0-9_.-]{1,220}[a-z0-9]$/, path: /^$/, needs: [] },
} as const;
const REGION = /^[a-z]{2}(?:-[a-z]+)+-\d{1,2}$/;
const wrong = (need: string): LedgerError => new LedgerError('BLOB_CONFIG', `STORE_URL: ${need}.`);

/** @throws LedgerError BLOB_CONFIG */
export function parseStoreUrl(text: string): StoreAddress {
  const match = /^(s3|azblob|gs):\/\/([^/?#@:]+)(\/[^?#]*)?(?:\?([^#]*))?$/.exec(text);
  if (match === null) throw wrong('use s3://BUCKET?region=REGION, azblob://ACCOUNT/CONTAINER or gs://BUCKET');
  const [, scheme, host = '', path = '', query = ''] = match;
  const at = scheme as keyof typeof FORMS;
  const form = FORMS[at];
  if (!form.host.test(host) || !form.path.test(path)) throw wrong(at === 'azblob' ? 'the account or the container has no such name' : 'no bucket has such a name');
  const given = [...new URLSearchParams(query)];
  const settings = new Map(given);
  if (settings.size !== given.length || given.some(([name]) => name !== 'endpoint' && !(form.needs as readonly string[]).includes(name))) throw wrong(`only ${[...form.needs, 'endpoint'].join(' and ')} can be set, once`);
  const endpoint = settings.get('endpoint');
  const more = endpoint === undefined ? {} : { endpoint: endpointOf(endpoint) };
  if (at === 's3') {
    const region = settings.get('region') ?? '';
    if (!REGION.test(region)) throw wrong('region=REGION is missing or is none');
    return { at, bucket: host, region, ...more };
  }
  return at === 'gs' ? { at, bucket: host, ...more } : { at, account: host, container: path.slice(1), ...more };
}

/** Tokens travel there: TLS, or this machine. */
function endpointOf(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const near = url?.protocol === 'http:' && ['127.0.0.1', '[::1]', 'localhost'].includes(url.hostname);
  if (url === undefined || !(url.protocol === 'https:' || near) || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '') throw wrong('the endpoint is an https address without a query');
  return url.href.replace(/\/$/, '');
}

/** @throws LedgerError BLOB_CONFIG */
export async function openStore({ url, folder, around }: { readonly url: string | undefined; readonly folder: string; readonly around?: Partial<Surroundings> }): Promise<Blobs> {
  if (url === undefined || url === '') return openBlobs({ folder });
  const address = parseStoreUrl(url);
  const place = surroundings(around);
  switch (address.at) {
    case 's3': return objectBlobs((await import('./s3.ts')).s3(address, place));
    case 'azblob': return objectBlobs((await import('./azblob.ts')).azblob(address, place));
    case 'gs': return objectBlobs((await import('./gcs.ts')).gcs(address, place));
  }
}
