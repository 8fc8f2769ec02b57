/**
 * A picture of noise goes through a real cell. Not one 32-byte window of its file or of its pixels is anywhere but in the counter: not in the
 * database's rows or files, the store, the logs, nor the memory of gateway and broker, whether the picture is being counted or was. That
 * the search finds what there is to find is shown where the picture does belong: in the counter and in its sandbox.
 */
import { randomBytes } from 'node:crypto';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { at } from '../../scripts/cell/folder.ts';
import { leakSearch, type LeakSearch } from '../../scripts/cell/leak-search.ts';
import { operatorView } from '../../scripts/cell/operator-view.ts';
import { type Counted, resumeJob } from '../../workloads/client/count.ts';
import { clientOf, logOf, processOf, type TestCell, testCell, type TestClient } from './harness.ts';
import { searchMemory } from './memory.ts';
import { descendants, signal, stateOf, until } from './processes.ts';

const SIDE = 256;
const WITHIN_MS = 60_000;

type Picture = ReturnType<typeof sharp>;
interface Canary { readonly name: string; readonly file: Uint8Array; readonly pixels: Uint8Array; readonly search: LeakSearch }

async function canary(name: string, encode: (picture: Picture) => Picture): Promise<Canary> {
  const noise = sharp(randomBytes(SIDE * SIDE * 3), { raw: { width: SIDE, height: SIDE, channels: 3 } });
  const file = new Uint8Array(await encode(noise).toBuffer());
  // What a decoder makes of it, for JPEG not quite the noise that was put in.
  const pixels = new Uint8Array(await sharp(file).raw().toBuffer());
  return { name, file, pixels, search: leakSearch(file, pixels) };
}

async function filesUnder(folder: string): Promise<{ name: string; content: Uint8Array }[]> {
  const names = await readdir(folder, { recursive: true });
  const files: { name: string; content: Uint8Array }[] = [];
  for (const name of names) {
    const path = join(folder, name);
    // A server that runs makes and removes files as it likes.
    if (await stat(path).then((s) => s.isFile(), () => false)) files.push({ name, content: new Uint8Array(await readFile(path).catch(() => Buffer.alloc(0))) });
  }
  return files;
}

describe('a picture of noise', () => {
  let cell: TestCell;
  let client: TestClient;
  let canaries: Canary[];

  beforeAll(async () => {
    [cell, canaries] = await Promise.all([
      testCell(1),
      Promise.all([canary('PNG', (p) => p.png({ compressionLevel: 1 })), canary('JPEG', (p) => p.jpeg({ quality: 97, chromaSubsampling: '4:4:4' }))]),
    ]);
    client = clientOf(cell);
    // A cell is ready before its counters are; a sandbox that is stopped while it starts would count nothing.
    await until('the counter works', 2 * WITHIN_MS, async () => (await logOf(cell, 'counter-1')).some((line) => line['event'] === 'attested'), 50);
  });
  afterAll(async () => { await cell?.close(); });

  const pidOf = (name: string): number => {
    const pid = processOf(cell, name).pid();
    if (pid === undefined) throw new Error(`${name} does not run`);
    return pid;
  };

  /** Gateway and broker, held still meanwhile so that nothing moves past the search. */
  function searchTrusting(canaryOf: LeakSearch): Record<string, unknown> {
    return Object.fromEntries(['gateway', 'broker'].map((name) => {
      const pid = pidOf(name);
      signal(pid, 'SIGSTOP');
      try {
        const { bytes, hit } = searchMemory(pid, canaryOf);
        if (hit === undefined) expect(bytes).toBeGreaterThan(30_000_000);
        return [name, hit];
      } finally {
        signal(pid, 'SIGCONT');
      }
    }));
  }

  const NOWHERE = { gateway: undefined, broker: undefined };

  it('is looked for in memory that is really read: the owner\'s signed policy, which both hold, is found there', async () => {
    const policy = leakSearch(new Uint8Array(await readFile(at(cell.folder).policy)));
    expect(searchTrusting(policy)).toMatchObject({ gateway: { encoding: 'raw' }, broker: { encoding: 'raw' } });
  });

  for (const index of [0, 1]) {
    it(`${['PNG', 'JPEG'][index]}: in the counter while it is counted, and in neither gateway nor broker`, async () => {
      const { file, search, pixels } = canaries[index] as Canary;
      expect(file.length).toBeGreaterThan(50_000);
      expect(search.windows).toBeGreaterThan(0.99 * (file.length + pixels.length));
      const { jobId, message } = await client.prepare(file, await client.manifest());
      const counter = pidOf('counter-1');
      const sandbox = await until('the sandbox runs', WITHIN_MS, () => descendants(counter)[0]);

      // A sandbox that is stopped takes no more than a pipe holds: the picture stays where it was decrypted.
      signal(sandbox, 'SIGSTOP');
      let counted: Promise<Counted> | undefined;
      try {
        await client.api.submit(message);
        counted = resumeJob({ ...client, jobId });
        counted.catch(() => {});
        const inCounter = await until('the picture is in the counter', WITHIN_MS, () => searchMemory(counter, search).hit, 50);
        expect(inCounter.encoding).toBe('raw');
        // A few milliseconds at a time, until it is found in the process that opens it.
        const inSandbox = await until('the picture is in the sandbox', WITHIN_MS, async () => {
          signal(sandbox, 'SIGCONT');
          await new Promise((done) => setTimeout(done, 6));
          signal(sandbox, 'SIGSTOP');
          await until('it stands still', 1_000, () => stateOf(sandbox) === 'T', 1);
          return searchMemory(sandbox, search).hit;
        }, 0);
        expect(inSandbox.encoding).toBe('raw');
        expect(searchTrusting(search)).toEqual(NOWHERE);
      } finally {
        signal(sandbox, 'SIGCONT');
      }
      const { outcome, counted: number } = await (counted as Promise<Counted>);
      expect([outcome, number]).toEqual(['completed', 0]);
    });
  }

  it('is in neither gateway nor broker afterwards', () => {
    expect(searchTrusting(leakSearch(...canaries.flatMap(({ file, pixels }) => [file, pixels])))).toEqual(NOWHERE);
  });

  it('is nowhere that an operator can look: rows, files of the database, store, logs, and everything else in the folder', async () => {
    const searches = canaries.map((c) => c.search);
    const found = (content: Uint8Array) => searches.some(({ search }) => search(content) !== undefined);
    const places = await operatorView(cell.folder, cell.databaseUrl);
    const named = (pattern: RegExp) => places.filter((p) => pattern.test(p.place));
    expect(named(/^table (jobs|job_events|results|usage|audit|receipts|sessions|tenant_keys)$/).map((p) => p.items > 0)).toEqual(Array.from({ length: 8 }, () => true));
    expect(named(/store/)[0]?.bytes).toBeGreaterThan(canaries.reduce((n, c) => n + c.file.length, 0));
    expect(places.filter((p) => p.content.some(found)).map((p) => p.place)).toEqual([]);

    const files = await filesUnder(cell.folder);
    const database = files.filter((f) => join(cell.folder, f.name).startsWith(at(cell.folder).postgres));
    expect(database.some((f) => f.name.includes('pg_wal'))).toBe(true);
    expect(database.reduce((n, f) => n + f.content.length, 0)).toBeGreaterThan(20_000_000);
    expect(files.filter((f) => found(f.content)).map((f) => f.name)).toEqual([]);
    // The same search, over the same kinds of bytes, does find it.
    expect(found(Buffer.concat([(files[0] as { content: Uint8Array }).content, (canaries[0] as Canary).file.subarray(1000, 1040)]))).toBe(true);
  });
});
