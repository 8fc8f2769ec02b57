/**
 * The kernel's trusted security module reports (Documentation/ABI/testing/configfs-tsm-report; Linux 6.7): one folder per requester.
 *
 *   | attribute  |        |                                                                                      |
 *   |------------|--------|--------------------------------------------------------------------------------------|
 *   | inblob     | write  | report_data, 64 bytes, in one write; the kernel takes it when the file is closed       |
 *   | outblob    | read   | the report (sev_guest) or the quote (tdx_guest); reading it makes it                   |
 *   | auxblob    | read   | sev_guest: certificate table, when the host has one                                    |
 *   | provider   | read   | sev_guest, tdx_guest                                                                   |
 *   | generation | read   | counts accepted writes: another number than expected means that somebody else wrote    |
 *
 * Closing inblob reports no error (a driver that is busy or a refused length is lost): only the generation tells that the write was taken.
 * Node only.
 */
import { constants, mkdir, open, readFile, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Bytes, bytes, hex, randomBytes, text } from '../bytes.ts';
import { printable, Refusal, refuse } from '../refusal.ts';

/** What is done to the tree. Errors have a `code` (errno's name). */
export interface TsmFiles {
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  read(path: string): Promise<Bytes>;
  write(path: string, data: Bytes): Promise<void>;
}

export const kernelFiles: TsmFiles = {
  mkdir: async (path) => { await mkdir(path, { mode: 0o700 }); },
  rmdir,
  read: async (path) => bytes(await readFile(path)),
  write: async (path, data) => {
    // inblob may not be opened for reading, and is never made or truncated
    const file = await open(path, constants.O_WRONLY);
    try {
      await file.write(data);
    } finally {
      await file.close();
    }
  },
};

export type TsmProvider = 'sev_guest' | 'tdx_guest';
export interface TsmReport {
  readonly provider: TsmProvider;
  readonly report: Bytes;
  /** `null`: the host has none. */
  readonly auxiliary: Bytes | null;
}

export interface TsmOptions {
  /** Default: the kernel's. */
  readonly root?: string;
  readonly files?: TsmFiles;
  /** Waits between attempts, ms. */
  readonly wait?: (ms: number) => Promise<void>;
  readonly attempts?: number;
}

export const TSM_ROOT = '/sys/kernel/config/tsm/report';
const REPORT_DATA = 64;
const PROVIDERS: ReadonlySet<string> = new Set(['sev_guest', 'tdx_guest']);
/** The same request may succeed later: the device is in use, or the host throttles. */
const TRANSIENT: ReadonlySet<string> = new Set(['EBUSY', 'EAGAIN', 'EINTR', 'ETIMEDOUT']);
/** Where there is no auxiliary blob. */
const NONE: ReadonlySet<string> = new Set(['ENOENT', 'EOPNOTSUPP', 'ENXIO']);
const SURE: ReadonlySet<string> = new Set(['ENOENT', 'ENOTDIR', 'EACCES', 'EPERM', 'EROFS']);
const MAX_REPORT = 32_768;
const ATTEMPTS = 8;

const codeOf = (error: unknown): string => (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : '');
const failed = (path: string, have: string, need: string): never => refuse('ATTESTER_FAILED', path, 'See the kernel\'s log (dmesg) for what the security processor said, and ask again.', { have: printable(have, 80), need });

/** Somebody else wrote, or our write was not taken: this attempt's report is not believed. */
class Conflict extends Error {}

/** A report over exactly these 64 bytes. @throws Refusal ATTESTER_ABSENT, ATTESTER_FAILED */
export async function tsmReport(reportData: Bytes, options: TsmOptions = {}): Promise<TsmReport> {
  const { root = TSM_ROOT, files = kernelFiles, attempts = ATTEMPTS, wait = (ms) => new Promise((resolve) => { setTimeout(resolve, ms); }) } = options;
  if (reportData.length !== REPORT_DATA) failed('tsm.inblob', `${reportData.length} bytes`, `${REPORT_DATA}`);
  let last = 'nothing';
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (attempt > 0) await wait(10 * 2 ** attempt);
    // A folder of our own: nobody who plays by the rules writes into it
    const folder = join(root, `ccc-${hex(randomBytes(12))}`);
    try {
      await files.mkdir(folder);
    } catch (error) {
      if (TRANSIENT.has(codeOf(error))) {
        last = codeOf(error);
        continue;
      }
      return refuse(SURE.has(codeOf(error)) ? 'ATTESTER_ABSENT' : 'ATTESTER_FAILED', root, 'Mount configfs (mount -t configfs none /sys/kernel/config) in a confidential VM whose kernel has tsm reports, and run this as a user who may write there.', { have: codeOf(error) || 'no folder', need: 'the folder of TSM reports' });
    }
    try {
      return await requestOnce(folder, reportData, files);
    } catch (error) {
      if (error instanceof Refusal) throw error;
      if (!(error instanceof Conflict) && !TRANSIENT.has(codeOf(error))) failed(folder, codeOf(error) || 'an error', 'a report');
      last = error instanceof Conflict ? error.message : codeOf(error);
    } finally {
      // A folder that stays costs memory and nothing else
      await files.rmdir(folder).catch(() => {});
    }
  }
  return failed(root, `${last}, ${attempts} times`, 'a report');
}

async function requestOnce(folder: string, reportData: Bytes, files: TsmFiles): Promise<TsmReport> {
  const word = async (name: string): Promise<string> => text(await files.read(join(folder, name))).trim();
  const generation = async (): Promise<number> => {
    const value = await word('generation');
    return /^\d{1,15}$/.test(value) ? Number(value) : failed(join(folder, 'generation'), value, 'a number');
  };
  const provider = await word('provider');
  if (!PROVIDERS.has(provider)) failed(join(folder, 'provider'), provider, [...PROVIDERS].join(' or '));
  const before = await generation();
  await files.write(join(folder, 'inblob'), reportData);
  const report = await files.read(join(folder, 'outblob'));
  const auxiliary = await files.read(join(folder, 'auxblob')).catch((error: unknown) => {
    if (NONE.has(codeOf(error))) return null;
    throw error;
  });
  const after = await generation();
  if (after !== before + 1) throw new Conflict(`generation ${after} after ${before} and one write`);
  if (report.length === 0 || report.length > MAX_REPORT) failed(join(folder, 'outblob'), `${report.length} bytes`, `1 to ${MAX_REPORT}`);
  return { provider: provider as TsmProvider, report, auxiliary: auxiliary === null || auxiliary.length === 0 ? null : auxiliary };
}
