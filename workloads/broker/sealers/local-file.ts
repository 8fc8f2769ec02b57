/**
 * A sealer for development: a 32-byte AES-256-GCM key in a file of mode 0600. It proves nothing about who reads the file; who
 * has it and the database has the tenant keys. Who loses it loses them: back it up.
 *
 *   | bytes | sealed blob                                            |
 *   |-------|--------------------------------------------------------|
 *   | 4     | "ccs1"                                                 |
 *   | 16    | fingerprint of the secret: tells "another" from "broken" |
 *   | 12    | random IV                                              |
 *   | n+16  | AES-256-GCM ciphertext and tag                         |
 */
import { link, mkdir, open, readFile, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { type Bytes, bytes, concat, equal, hex, randomBytes, sha256, utf8 } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import type { KeySealer } from '../sealer.ts';

const MAGIC = utf8('ccs1');
const FINGERPRINT = 16;
const IV = 12;
const TAG = 16;
const KEY_LENGTH = 32;
const NEXT = 'Put back the backup of the sealer file that these keys were sealed with. No new key is made in its place.';

interface Secret { readonly key: CryptoKey; readonly fingerprint: Bytes }

export interface LocalSealerOptions {
  readonly file: string;
  /** Whether nothing was ever sealed: only then may a missing file be made. Asked at the first `seal`. */
  readonly nothingSealed: () => Promise<boolean>;
}

export function localFileSealer({ file, nothingSealed }: LocalSealerOptions): KeySealer {
  let loading: Promise<Secret | undefined> | undefined;
  const secret = async (): Promise<Secret | undefined> => {
    loading ??= load(file);
    try {
      const found = await loading;
      if (found === undefined) loading = undefined;
      return found;
    } catch (error) {
      loading = undefined;
      throw error;
    }
  };
  return {
    async seal(aad, plaintext) {
      let found = await secret();
      if (found === undefined) {
        if (!(await nothingSealed())) refuse('KEY_SEALER_LOST', 'sealer.file', NEXT, { have: 'no file, but sealed keys', need: file });
        await create(file);
        found = await secret();
      }
      if (found === undefined) refuse('KEY_SEALER_LOST', 'sealer.file', NEXT);
      const iv = randomBytes(IV);
      const ciphertext = await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: aad }, found.key, plaintext);
      return concat(MAGIC, found.fingerprint, iv, bytes(ciphertext));
    },
    async open(aad, sealed) {
      const found = await secret();
      if (found === undefined) refuse('KEY_SEALER_LOST', 'sealer.file', NEXT, { have: 'no file' });
      const ivAt = MAGIC.length + FINGERPRINT;
      if (sealed.length < ivAt + IV + TAG || !equal(sealed.subarray(0, MAGIC.length), MAGIC)) refuse('KEY_SEALER_LOST', 'tenant-key.sealed', NEXT, { have: 'not a blob of this sealer' });
      const fingerprint = sealed.subarray(MAGIC.length, ivAt);
      if (!equal(fingerprint, found.fingerprint)) {
        refuse('KEY_SEALER_LOST', 'sealer.fingerprint', NEXT, { have: hex(found.fingerprint), need: hex(fingerprint) });
      }
      try {
        const plaintext = await crypto.subtle.decrypt({ name: 'AES-GCM', iv: sealed.subarray(ivAt, ivAt + IV), additionalData: aad }, found.key, sealed.subarray(ivAt + IV));
        return bytes(plaintext);
      } catch {
        refuse('KEY_SEALER_LOST', 'tenant-key.sealed', 'The row was changed or belongs to another key; restore it from a backup of the ledger.');
      }
    },
    describe: () => ({ backend: 'local-file', location: file, proves: 'nothing: whoever reads this file and the database has the tenant keys (development)' }),
  };
}

async function load(file: string): Promise<Secret | undefined> {
  let raw: Bytes;
  try {
    const { mode } = await stat(file);
    if ((mode & 0o077) !== 0) refuse('KEY_SEALER_LOST', 'sealer.file', `Take the rights of others away: chmod 600 ${file}`, { have: (mode & 0o777).toString(8), need: '600' });
    raw = bytes(await readFile(file));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw error;
  }
  if (raw.length !== KEY_LENGTH) refuse('KEY_SEALER_LOST', 'sealer.file', NEXT, { have: `${raw.length} bytes`, need: `${KEY_LENGTH} bytes` });
  const fingerprint = (await sha256(concat(utf8('ccc/sealer-fingerprint/v1'), raw))).slice(0, FINGERPRINT);
  const key = await crypto.subtle.importKey('raw', raw, 'AES-GCM', false, ['encrypt', 'decrypt']);
  raw.fill(0);
  return { key, fingerprint };
}

/** Written whole or not at all, and on the disk before anything is sealed with it. */
async function create(file: string): Promise<void> {
  await mkdir(dirname(file), { recursive: true, mode: 0o700 });
  const temporary = `${file}.${hex(randomBytes(6))}.new`;
  const raw = randomBytes(KEY_LENGTH);
  const handle = await open(temporary, 'wx', 0o600);
  try {
    await handle.writeFile(raw);
    await handle.sync();
  } finally {
    raw.fill(0);
    await handle.close();
  }
  try {
    await link(temporary, file); // unlike rename, never replaces a secret that came to be meanwhile
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    await rm(temporary, { force: true });
  }
  const folder = await open(dirname(file));
  await folder.sync().finally(() => folder.close());
}
