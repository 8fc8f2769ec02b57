/** What whoever runs the cell can see: every row of the database, every byte of the store, every log line. */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import pg from 'pg';
import { at } from './folder.ts';
import { leakSearch } from './leak-search.ts';

export interface Place { readonly place: string; readonly items: number; readonly bytes: number; readonly content: readonly Uint8Array[] }

async function filesIn(folder: string): Promise<Uint8Array[]> {
  const names = await readdir(folder, { recursive: true });
  const files = await Promise.all(names.map(async (n) => ((await stat(join(folder, n))).isFile() ? new Uint8Array(await readFile(join(folder, n))) : undefined)));
  return files.filter((f) => f !== undefined);
}

const place = (name: string, content: Uint8Array[]): Place => ({ place: name, items: content.length, bytes: content.reduce((n, c) => n + c.length, 0), content });

/** bytea as its bytes, everything else as the text that the server sends. */
export async function databaseRows(url: string): Promise<Place[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows: tables } = await client.query<{ name: string }>(`select table_name as name from information_schema.tables where table_schema = 'public' and table_type = 'BASE TABLE' order by 1`);
    const places: Place[] = [];
    for (const { name } of tables) {
      const { rows } = await client.query<Record<string, unknown>>(`select * from ${client.escapeIdentifier(name)}`);
      const content = rows.map((row) => Buffer.concat(Object.entries(row).flatMap(([key, value]) => [Buffer.from(`${key}=`), Buffer.isBuffer(value) ? value : Buffer.from(typeof value === 'string' ? value : JSON.stringify(value) ?? ''), Buffer.from('\n')])));
      places.push(place(`table ${name}`, content));
    }
    return places;
  } finally {
    await client.end();
  }
}

export async function operatorView(folder: string, databaseUrl: string): Promise<Place[]> {
  const [rows, store, logs] = await Promise.all([databaseRows(databaseUrl), filesIn(at(folder).store), filesIn(at(folder).logs)]);
  return [...rows, place('ciphertext store', store), place('logs of all processes', logs)];
}

/** Names of the places in which a 32-byte window of one of the pictures was found; empty is the only good answer. */
export function plaintextIn(places: readonly Place[], pictures: readonly Uint8Array[]): { windows: number; found: string[] } {
  const { windows, search } = leakSearch(...pictures);
  return { windows, found: places.filter((p) => p.content.some((c) => search(c) !== undefined)).map((p) => p.place) };
}
