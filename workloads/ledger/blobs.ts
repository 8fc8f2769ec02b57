/**
 * Ciphertext by its SHA-256 digest: the port, and the file system behind it. Object stores of clouds: stores/open.ts. Written here rather than through Apache OpenDAL: the
 * pinned `opendal` does not load on GLIBC 2.36 (Debian 12), and its `fs` service syncs the file but not the folder that names it, so that a message behind an
 * acknowledged job could be gone after a power failure.
 *
 * Layout: `<folder>/ab/abcd...`; a file appears under its name only once it is complete and on disk. What waits for the disk (creating, writing, syncing,
 * renaming) does so in another thread; each such turn costs as much as the rest of a put, so what only looks or closes takes none.
 */
import { createHash, randomUUID } from 'node:crypto';
import { closeSync, existsSync, fsync, open, openSync, writeFile } from 'node:fs';
import { mkdir, readFile, readdir, rename, rm, rmdir, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
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
const PART = /^[0-9a-f]{2}$/;
const INCOMING = 'incoming';
const NO_SPACE = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

export const digestOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex');

const inThread = { open: promisify(open), write: promisify(writeFile), sync: promisify(fsync) };

/** What an interrupted write left is removed; a store whose files lie one folder deeper, as they did once, is brought into its form. */
export async function openBlobs({ folder }: { folder: string }): Promise<Blobs> {
  const incoming = join(folder, INCOMING);
  await rm(incoming, { recursive: true, force: true });
  await mkdir(incoming, { recursive: true, mode: 0o700 });
  for (const name of await readdir(folder)) if (PART.test(name)) await raise(join(folder, name));

  const pathOf = (digest: string): string => {
    // The digest becomes a path: nothing but a digest may.
    if (!DIGEST.test(digest)) throw new LedgerError('BLOB_DIGEST', 'a digest is 64 lower-case hex digits');
    return join(folder, digest.slice(0, 2), digest);
  };
  const has = (digest: string): Promise<boolean> => stat(pathOf(digest)).then((s) => s.isFile(), () => false);

  /** Folders whose own names are on disk: synced once by this process since they were made or found. */
  const lasting = new Set<string>();

  /** The names, too, must be on disk: the file's in its folder, and a new folder's in the one above. */
  async function syncNames(path: string): Promise<void> {
    const mine = dirname(path);
    await syncFolder(mine);
    if (lasting.has(mine)) return;
    await syncFolder(folder);
    lasting.add(mine); // only now: whoever finds it here need not look further
  }

  /** Into its folder, which is made if need be, even if somebody removed it since it was last seen. */
  async function moveTo(path: string, from: string): Promise<void> {
    const mine = dirname(path);
    if (lasting.has(mine)) {
      try {
        return await rename(from, path);
      } catch (error) {
        if (errorCode(error) !== 'ENOENT') throw error;
      }
    }
    if (await mkdir(mine, { recursive: true, mode: 0o700 }) !== undefined) lasting.delete(mine);
    await rename(from, path);
  }

  return {
    async put(data) {
      const digest = digestOf(data);
      const path = pathOf(digest);
      const temporary = join(incoming, randomUUID());
      try {
        // What is there but damaged is written anew.
        if (!(existsSync(path) && await readFile(path).then((found) => digestOf(found) === digest, () => false))) {
          await write(temporary, data);
          await moveTo(path, temporary);
        }
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
      for (const part of await readdir(folder)) if (PART.test(part)) for (const name of await readdir(join(folder, part))) if (DIGEST.test(name)) found.push(name);
      return found.sort();
    },
  };
}

/** The files of folders below come up. Their names are on disk before the folders that had them go. */
async function raise(part: string): Promise<void> {
  const below = (await readdir(part)).filter((name) => PART.test(name)).map((name) => join(part, name));
  for (const old of below) for (const name of await readdir(old)) await rename(join(old, name), join(part, name));
  if (below.length > 0) await syncFolder(part);
  for (const old of below) await rmdir(old);
}

async function write(path: string, data: Uint8Array): Promise<void> {
  const file = await inThread.open(path, 'wx', 0o600);
  try {
    await inThread.write(file, data);
    await inThread.sync(file);
  } finally {
    closeSync(file);
  }
}

async function syncFolder(folder: string): Promise<void> {
  if (process.platform === 'win32') return; // folders cannot be opened there; NTFS journals names
  const handle = openSync(folder, 'r');
  try {
    await inThread.sync(handle);
  } finally {
    closeSync(handle);
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
