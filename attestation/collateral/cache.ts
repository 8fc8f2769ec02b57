/**
 * Collateral on disk: a file for each item, written as a whole, readable by its owner only (a host's registry entry is named by its PPID). The first line is the
 * SHA-256 of the rest; a file that does not agree with it, or whose content is not what its name says, is no file. How long an item holds is read from the item
 * again each time, never from the file around it. Only what was there is kept: that a vendor had nothing, or no answer, is not.
 */
import { createHash, randomUUID } from 'node:crypto';
import { mkdir, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { z } from 'zod';
import { b64u, type Bytes, fromB64u } from '../bytes.ts';
import { Refusal } from '../refusal.ts';
import { COLLATERAL_KINDS, type CollateralItem, type CollateralKind } from './collateral.ts';
import { checkContent, type Validity } from './content.ts';

export interface CachedItem extends CollateralItem, Validity {}

const SKEW = 60;
const recordSchema = z.strictObject({
  kind: z.enum(COLLATERAL_KINDS), key: z.string().max(512), fetchedAt: z.number().int(), bytes: z.string(),
  /** Of a bundle: until when its signer vouches for what has no dates of its own. */
  vouchedUntil: z.number().int().optional(), origin: z.enum(['vendor', 'bundle']),
});
export type CacheRecord = Omit<z.infer<typeof recordSchema>, 'bytes'> & { readonly bytes: Bytes };

const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');
const fileOf = (kind: string, key: string): string => `${kind}-${digestOf(`${kind} ${key}`).slice(0, 40)}`;

export class CollateralCache {
  readonly #folder: string;
  constructor(folder: string) {
    this.#folder = folder;
  }

  async put(record: CacheRecord): Promise<void> {
    await mkdir(this.#folder, { recursive: true, mode: 0o700 });
    const body = JSON.stringify({ ...record, bytes: b64u(record.bytes) });
    const path = join(this.#folder, fileOf(record.kind, record.key));
    const temporary = `${path}.${randomUUID()}.tmp`;
    try {
      await writeFile(temporary, `${digestOf(body)}\n${body}`, { mode: 0o600, flush: true });
      await rename(temporary, path);
    } catch (error) {
      await rm(temporary, { force: true });
      throw error;
    }
  }

  /** @param now epoch seconds. @returns undefined when there is none, or none that holds now */
  async get(kind: CollateralKind, key: string, now: number): Promise<CachedItem | undefined> {
    const record = await this.#read(fileOf(kind, key));
    return record?.kind === kind && record.key === key ? held(record, now) : undefined;
  }

  /** Everything that holds now, in a fixed order. */
  async all(now: number): Promise<(CachedItem & { readonly record: CacheRecord })[]> {
    let names: string[];
    try {
      names = await readdir(this.#folder);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
      throw error;
    }
    const out: (CachedItem & { readonly record: CacheRecord })[] = [];
    for (const name of names.filter((n) => !n.endsWith('.tmp')).sort()) {
      const record = await this.#read(name);
      const item = record !== undefined && name === fileOf(record.kind, record.key) ? held(record, now) : undefined;
      if (record !== undefined && item !== undefined) out.push({ ...item, record });
    }
    return out;
  }

  async #read(name: string): Promise<CacheRecord | undefined> {
    let content: string;
    try {
      content = await readFile(join(this.#folder, name), 'utf8');
    } catch (error) {
      if (['ENOENT', 'EISDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return undefined;
      throw error;
    }
    const line = content.indexOf('\n');
    const body = content.slice(line + 1);
    if (line !== 64 || content.slice(0, line) !== digestOf(body)) return undefined;
    try {
      const record = recordSchema.parse(JSON.parse(body));
      return { ...record, bytes: fromB64u(record.bytes) };
    } catch {
      return undefined;
    }
  }
}

/** The item of a record, if it holds at `now`. */
export function held(record: CacheRecord, now: number): CachedItem | undefined {
  const { kind, key, bytes, fetchedAt, origin, vouchedUntil } = record;
  // A clock that was turned back would make everything young
  if (fetchedAt > now + SKEW) return undefined;
  try {
    const read = checkContent(kind, key, bytes, fetchedAt, null);
    const vouched = kind === 'jwks' && origin === 'bundle' && vouchedUntil !== undefined;
    const until = vouched ? vouchedUntil : read.until;
    if (until !== null && until < now) return undefined;
    return { kind, key, bytes, fetchedAt, source: origin === 'bundle' ? 'offline' : 'cache', until, renewAt: vouched ? vouchedUntil : read.renewAt };
  } catch (error) {
    if (error instanceof Refusal) return undefined;
    throw error;
  }
}
