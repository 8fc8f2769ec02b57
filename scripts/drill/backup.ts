/**
 * Backup of a running cell and its way back, by PostgreSQL's low-level API for base backups (PostgreSQL manual, "Making a Base Backup Using the Low Level API"): the
 * embedded server from npm has no pg_basebackup, and that API is what pg_basebackup uses.
 *
 *   cell.json policy.jws directory.jws measurements.lock.json owner/public.txt   what the owner signed, what the cell is
 *   broker/sealer.key       opens the sealed tenant keys: of a development cell only; in a cloud this is the KMS key, which is not copied
 *   simulated/              the machines of a development cell
 *   store/                  ciphertext, after the database, so that each job there has its message
 *   pg/data, pg/secrets.json
 */
import { chown, cp, mkdir, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import pg from 'pg';
import { at } from '../cell/folder.ts';

export interface Backup {
  readonly folder: string;
  readonly bytes: number;
  readonly seconds: number;
  /** Heads of the audit chains at its end, by cell: what a restored one has to contain. */
  readonly heads: Readonly<Record<string, { readonly seq: number; readonly hash: string }>>;
}

const NOBODY = 65_534;
const SIGNED = ['cell.json', 'policy.jws', 'directory.jws', 'measurements.lock.json'] as const;
const OWN = ['owner', 'broker', 'simulated', 'store'] as const;
/** Made anew by the server, or of its present run only. */
const NOT_COPIED = new Set(['postmaster.pid', 'postmaster.opts', 'pg_wal', 'pg_replslot', 'pg_dynshmem', 'pg_notify', 'pg_serial', 'pg_snapshots', 'pg_stat_tmp', 'pg_subtrans']);

export async function sizeOf(folder: string): Promise<number> {
  const names = await readdir(folder, { recursive: true, withFileTypes: true });
  const sizes = await Promise.all(names.filter((one) => one.isFile()).map((one) => stat(join(one.parentPath, one.name)).then((s) => s.size, () => 0)));
  return sizes.reduce((a, b) => a + b, 0);
}

async function superuser(folder: string, databaseUrl: string): Promise<pg.Client> {
  const { superuser: password } = JSON.parse(await readFile(join(at(folder).postgres, 'secrets.json'), 'utf8')) as { superuser: string };
  const { hostname, port } = new URL(databaseUrl);
  const client = new pg.Client({ host: hostname, port: Number(port), user: 'postgres', password, database: 'postgres' });
  client.on('error', () => {});
  await client.connect();
  return client;
}

async function copyData(from: string, to: string): Promise<void> {
  await mkdir(to, { recursive: true, mode: 0o700 });
  await cp(from, to, {
    recursive: true,
    filter: async (path) => {
      const name = relative(from, path);
      // A relation that is dropped while it is copied is gone for good: recovery drops it again.
      return !NOT_COPIED.has(name) && await stat(path).then(() => true, () => false);
    },
  });
  for (const empty of NOT_COPIED) if (empty.startsWith('pg_')) await mkdir(join(to, empty), { recursive: true, mode: 0o700 });
  await mkdir(join(to, 'pg_wal', 'archive_status'), { recursive: true, mode: 0o700 });
}

/** While the cell runs. @param to an empty folder */
export async function backup(folder: string, databaseUrl: string, to: string): Promise<Backup> {
  const began = performance.now();
  await mkdir(to, { recursive: true, mode: 0o700 });
  const data = join(at(folder).postgres, 'data');
  const client = await superuser(folder, databaseUrl);
  try {
    // The log from here to the end of the copy must still be there when the copy is done.
    const { rows: [{ slot } = { slot: '' }] } = await client.query<{ slot: string }>(`select slot_name as slot from pg_create_physical_replication_slot($1, true, true)`, [`ccc_backup_${process.pid}`]);
    if (slot === '') throw new Error('no slot for the backup');
    await client.query(`select pg_backup_start('ccc', true)`);
    await copyData(data, join(to, 'pg', 'data'));
    const { rows: [label] } = await client.query<{ labelfile: string; spcmapfile: string }>('select labelfile, spcmapfile from pg_backup_stop(false)');
    if (label === undefined) throw new Error('the backup did not end');
    await writeFile(join(to, 'pg', 'data', 'backup_label'), label.labelfile, { mode: 0o600 });
    // Segments that are recycled meanwhile were not needed any more.
    for (const name of await readdir(join(data, 'pg_wal'))) if (/^[0-9A-F]{24}$/.test(name)) await cp(join(data, 'pg_wal', name), join(to, 'pg', 'data', 'pg_wal', name)).catch((error: NodeJS.ErrnoException) => { if (error.code !== 'ENOENT') throw error; });
    await cp(join(at(folder).postgres, 'secrets.json'), join(to, 'pg', 'secrets.json'));
    const ledger = new pg.Client({ connectionString: databaseUrl });
    await ledger.connect();
    const { rows: heads } = await ledger.query<{ cell: string; seq: string; hash: string }>('select cell, seq, hash from audit_heads').finally(() => ledger.end());
    for (const name of SIGNED) await cp(join(folder, name), join(to, name));
    for (const name of OWN) await cp(join(folder, name), join(to, name), { recursive: true });
    // Private halves of the owner stay where they are: a backup that could sign policies would be the owner.
    await rm(join(to, 'owner', 'owner.jwk'), { force: true });
    return { folder: to, bytes: await sizeOf(to), seconds: (performance.now() - began) / 1000, heads: Object.fromEntries(heads.map(({ cell, seq, hash }) => [cell, { seq: Number(seq), hash }])) };
  } finally {
    await client.query(`select pg_drop_replication_slot(slot_name) from pg_replication_slots where slot_name = $1`, [`ccc_backup_${process.pid}`]).catch(() => {});
    await client.end();
  }
}

/** Into a folder in which no cell ever was. @returns what was copied, bytes and seconds; the server recovers when it starts */
export async function restore(from: string, to: string): Promise<{ readonly bytes: number; readonly seconds: number }> {
  const began = performance.now();
  if ((await readdir(to).catch(() => [])).length > 0) throw new Error(`${to} is not empty: a restore into a cell would mix two histories`);
  await mkdir(to, { recursive: true });
  await cp(from, to, { recursive: true });
  if (process.getuid?.() === 0) {
    const data = join(to, 'pg', 'data');
    await chown(data, NOBODY, NOBODY);
    for (const one of await readdir(data, { recursive: true, withFileTypes: true })) await chown(join(one.parentPath, one.name), NOBODY, NOBODY);
  }
  return { bytes: await sizeOf(to), seconds: (performance.now() - began) / 1000 };
}
