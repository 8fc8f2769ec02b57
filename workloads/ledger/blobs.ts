/**
 * Ciphertext by its SHA-256 digest: the port, and the file system behind it. Object stores of clouds: stores/open.ts. Written here rather than through Apache OpenDAL: the
 * pinned `opendal` does not load on GLIBC 2.36 (Debian 12), and its `fs` service syncs the file but not the folder that names it, so that a message behind an
 * acknowledged job could be gone after a power failure.
 *
 * Layout: `<folder>/ab/cd/abcd...`; a file appears under its name only once it is complete and on disk.
 */
import { createHash, randomUUID } from 'node:crypto';
import { type FileHandle, mkdir, open, readFile, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { LedgerError, errorCode } from './errors.ts';

export interface Blobs {
  /** Stored, and on disk, when this resolves. Again with the same bytes: nothing happens. @throws LedgerError BLOB_NO_SPACE, BLOB_UNAVAILABLE */
  put(data: Uint8Array): Promise<string>;
  /** @throws LedgerError BLOB_MISSING, BLOB_CORRUPT, BLOB_UNAVAILABLE */
  get(digest: string): Promise<Bytes>;
  has(digest: string): Promise<boolean>;
  /** false: it was not there, or the store's retention keeps it for now. */
  delete(digest: string): Promise<boolean>;
  /** All digests, in order. */
  list(): Promise<string[]>;
  /** Whether it takes and gives bytes now, without leaving one more object each time where objects cannot be deleted. Absent: put, get and delete show it. */
  probe?(): Promise<boolean>;
}

const DIGEST = /^[0-9a-f]{64}$/;
const INCOMING = 'incoming';
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export const digestOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

/** What an interrupted write left is removed. */
export async function openBlobs({ folder }: { folder: string }): Promise<Blobs> {
  const incoming = join(folder, INCOMING);
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true, mode: 0o700 });

  const pathOf = (digest: string): string => {
    // The digest becomes a path: nothing but a digest may.
    if (!DIGEST.test(digest)) throw new LedgerError('BLOB_DIGEST', 'a digest is 64 lower-case hex digits');
    return join(folder, digest.slice(0, 2), digest.slice(2, 4), digest);
  };
  const has = (digest: string): Promise<boolean> => stat(pathOf(digest)).then((s) => s.isFile(), () => false);

  /** Folders whose own names are on disk: synced once by this process since they were made or found. */
  const lasting = new Set<string>();

  /** The names, too, must be on disk: the file's in its folder, and a new folder's in the one above. */
  async function syncNames(path: string): Promise<void> {
    const second = dirname(path);
    await syncFolder(second);
    for (const each of [second, dirname(second)]) {
      if (lasting.has(each)) return void lasting.add(second);
      await syncFolder(dirname(each));
    }
    // Only now, and the lower one last: whoever finds it here need not look further.
    lasting.add(dirname(second)).add(second);
  }

  async function makeFolder(path: string): Promise<void> {
    const made = await mkdir(path, { recursive: true, mode: 0o700 });
    if (made === undefined) return;
    // What was just made is not known, whatever was there before somebody removed it.
    lasting.delete(path);
    if (made !== path) lasting.delete(dirname(path));
  }

  return {
    async put(data) {
      const digest = digestOf(data);
      const path = pathOf(digest);
      const temporary = join(incoming, randomUUID());
      try {
        // What is there but damaged is written anew.
        if (await readFile(path).then((found) => digestOf(found) === digest, () => false)) {
          await syncNames(path);
          return digest;
        }
        await makeFolder(dirname(path));
        const file = await open(temporary, 'wx', 0o600);
        await whole(file, data);
        await rename(temporary, path);
        await syncNames(path);
        return digest;
      } catch (error) {
        await rm(temporary, { force: true }).catch(() => {});
        throw named(error);
      }
    },
    async get(digest) {
      const path = pathOf(digest);
      const data = await readFile(path).catch((error: unknown) => { throw named(error); });
      if (digestOf(data) !== digest) throw new LedgerError('BLOB_CORRUPT', `The stored bytes of ${digest} are not the ones that were put.`);
      return bytes(data);
    },
    has,
    async delete(digest) {
      const path = pathOf(digest);
      if (!(await has(digest))) return false;
      await rm(path, { force: true });
      await syncFolder(dirname(path));
      return true;
    },
    async list() {
      const found: string[] = [];
      for (const a of await readdir(folder)) {
        if (!/^[0-9a-f]{2}$/.test(a)) continue;
        for (const b of await readdir(join(folder, a))) for (const name of await readdir(join(folder, a, b))) if (DIGEST.test(name)) found.push(name);
      }
      return found.sort();
    },
  };
}

async function whole(file: FileHandle, data: Uint8Array): Promise<void> {
  try {
    await file.writeFile(data);
    await file.sync();
  } finally {
    await file.close();
  }
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return; // folders cannot be opened there; NTFS journals names
  const handle = await open(folder, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

function named(error: unknown): unknown {
  if (error instanceof LedgerError) return error;
  const code = errorCode(error) ?? '';
  if (NO_SPACE.has(code)) return new LedgerError('BLOB_NO_SPACE', 'The store is full.', { cause: error });
  if (code === 'ENOENT') return new LedgerError('BLOB_MISSING', 'There is no such blob.', { cause: error });
  if (code !== '') return new LedgerError('BLOB_UNAVAILABLE', `The store failed: ${code}.`, { cause: error });
  return error;
}
