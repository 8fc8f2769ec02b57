/**
 * `Blobs` over an object store. An object's name is its digest, so it is written once (a conditional put) and never changes; what the store gives back is believed
 * only if it has that digest. A bucket whose retention forbids deleting keeps what was swept until that ends: `delete` then says false.
 */
import { type Bytes, bytes } from '../../../attestation/bytes.ts';
import { type Blobs, digestOf } from '../blobs.ts';
import { LedgerError } from '../errors.ts';

export interface Page { readonly names: readonly string[]; /** Where to go on; absent: that was all. */ readonly next?: string }

export interface ObjectStore {
  /** With `onlyNew` the store itself refuses to replace: `present`. The digest is of the data, for its own check on arrival. */
  put(digest: string, data: Uint8Array, onlyNew: boolean): Promise<'stored' | 'present'>;
  get(digest: string): Promise<Uint8Array<ArrayBuffer> | undefined>;
  has(digest: string): Promise<boolean>;
  delete(digest: string): Promise<'deleted' | 'absent' | 'kept'>;
  /** Names in order, `undefined` first. */
  page(from: string | undefined): Promise<Page>;
}

const DIGEST = /^[0-9a-f]{64}$/;
const MAX_PAGES = 100_000;

/** What a probe asks to write: always the same, so that one object is there in all. */
const PROBE = new TextEncoder().encode('Confidential Cat Counter: this store takes and gives bytes.');
const PROBE_DIGEST = digestOf(PROBE);

const named = (digest: string): string => {
  if (!DIGEST.test(digest)) throw new LedgerError('BLOB_DIGEST', 'a digest is 64 lower-case hex digits');
  return digest;
};

export function objectBlobs(store: ObjectStore): Blobs {
  const whole = (digest: string, data: Uint8Array): boolean => digestOf(data) === digest;
  return {
    async put(data) {
      const digest = digestOf(data);
      if (await store.put(digest, data, true) === 'stored') return digest;
      // An answer that was lost, or another gateway: what is there is compared, and written anew if it is damaged.
      const found = await store.get(digest);
      if (found === undefined || !whole(digest, found)) await store.put(digest, data, false);
      return digest;
    },
    async get(digest): Promise<Bytes> {
      const data = await store.get(named(digest));
      if (data === undefined) throw new LedgerError('BLOB_MISSING', 'There is no such blob.');
      if (!whole(digest, data)) throw new LedgerError('BLOB_CORRUPT', `The stored bytes of ${digest} are not the ones that were put.`);
      return bytes(data);
    },
    async probe() {
      // Refused because it is there is as good as written: who may not write is told so first.
      await store.put(PROBE_DIGEST, PROBE, true);
      const found = await store.get(PROBE_DIGEST);
      return found !== undefined && whole(PROBE_DIGEST, found);
    },
    has: async (digest) => await store.has(named(digest)),
    delete: async (digest) => await store.delete(named(digest)) === 'deleted',
    async list() {
      const found: string[] = [];
      let from: string | undefined;
      for (let n = 0; n < MAX_PAGES; n++) {
        const { names, next } = await store.page(from);
        for (const name of names) if (DIGEST.test(name) && name !== PROBE_DIGEST) found.push(name);
        if (next === undefined) return found.sort();
        // A store that repeats itself would be read for ever.
        if (next === from) break;
        from = next;
      }
      throw new LedgerError('BLOB_UNAVAILABLE', 'The store\'s list of names does not end.');
    },
  };
}
