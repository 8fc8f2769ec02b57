/** The main job, end to end, on this machine: start a cell, count pictures in it, verify everything, show what its operator can see. */
import { mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { addKey, addTenant, SCOPES } from '../cell/admin.ts';
import { at, writeWhole } from '../cell/folder.ts';
import { operatorView, type Place, plaintextIn } from '../cell/operator-view.ts';
import { pageAddress, readProfile } from '../cell/profile.ts';
import { type RunningCell, startCell } from '../cell/start.ts';
import { stopSignal, untilStopped } from '../cli/interrupt.ts';
import { clientOptions, countAll, type Line, lineOk, type Picture } from '../cli/counting.ts';
import { EXIT, json, note, paint, progress, say, table, UserError } from '../cli/output.ts';
import { makeProfile } from './tenant.ts';
import { SIMULATED } from './up.ts';

const TENANT = 'demo';
const ZONE = 'local';

async function ownPictures(files: readonly string[]): Promise<Picture[]> {
  return Promise.all(files.map(async (file) => {
    try {
      return { file, bytes: new Uint8Array(await readFile(file)) };
    } catch (error) {
      throw new UserError('FILE', `${file}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}.`, 'Name pictures that exist: npm run demo -- photo.jpg other.png', EXIT.usage);
    }
  }));
}

interface Run { readonly lines: Line[]; readonly receipts: ReadonlyMap<string, string>; readonly firstCount: number | undefined; readonly view: readonly Place[]; readonly windows: number; readonly found: readonly string[] }

async function countIn(cell: RunningCell, pictures: readonly Picture[], signal: AbortSignal, began: number): Promise<Run> {
  await addTenant(cell.folder, TENANT, ZONE);
  const { key } = await addKey(cell.folder, TENANT, SCOPES);
  await makeProfile(cell.folder, TENANT, ZONE, key);
  const client = await clientOptions(cell.folder, await readProfile(cell.folder), signal);
  const folder = join(cell.folder, 'receipts');
  await mkdir(folder, { recursive: true });
  const receipts = new Map<string, string>();
  let firstCount: number | undefined;
  const live = progress('count');
  const lines = await countAll(pictures, client, 'confidential', live.update, async ({ file, counted }) => {
    if (counted === undefined) return;
    firstCount ??= (performance.now() - began) / 1000;
    const path = join(folder, `${basename(file)}.receipt.json`);
    await writeWhole(path, `${JSON.stringify(counted.receipt, null, 2)}\n`);
    receipts.set(file, path);
  });
  live.done();
  note('Looking through everything that the operator of this cell could see ...');
  const view = await operatorView(cell.folder, cell.databaseUrl);
  return { lines, receipts, firstCount, view, ...plaintextIn(view, pictures.map((p) => p.bytes)) };
}

function printTable({ lines }: Run): void {
  say(table(['picture', 'expected', 'counted', 'attested by', 'claims digest', 'ms'], lines.map((l) => [
    l.file, l.hard ? 'hard' : l.expected === undefined ? '' : String(l.expected), l.counted?.counted === undefined ? (l.counted?.code ?? l.error?.code ?? '') : String(l.counted.counted),
    l.counted === undefined ? '' : `${l.counted.platform}${l.counted.simulated ? ' (simulated)' : ''}`, l.counted?.claimsDigest.slice(0, 16) ?? '', String(l.ms),
  ])));
  for (const { file, error } of lines) if (error) note(paint('red', `${file}: ${error.message}`, process.stderr));
}

/** Printable bytes as they are, others as a dot: enough to see that there is nothing to see. */
const glimpse = (data: Uint8Array): string => [...data.subarray(0, 48)].map((c) => (c >= 32 && c < 127 ? String.fromCharCode(c) : '.')).join('');

function printView({ view, windows, found }: Run): void {
  say(paint('bold', 'What the operator of this cell could see'));
  say(table(['place', 'items', 'bytes', 'begins with'], view.filter((p) => p.items > 0).map((p) => [p.place, String(p.items), String(p.bytes), glimpse(p.content[0] ?? new Uint8Array())])));
  say(found.length === 0
    ? paint('green', `None of ${windows.toLocaleString('en')} 32-byte windows of the pictures is in any of it, neither raw nor as base64 or hex.`)
    : paint('red', `Plaintext was found in: ${found.join(', ')}. This is a defect; please report it.`));
}

export async function demo(files: string[], options: { keep?: boolean; json?: boolean }): Promise<number> {
  const own = await ownPictures(files);
  const install = Number(process.env['CCC_INSTALL_MS'] ?? 0) / 1000;
  const folder = await mkdtemp(join(tmpdir(), 'ccc-demo-'));
  const stop = stopSignal();
  const began = performance.now();
  const live = progress('cell');
  let cell: RunningCell | undefined;
  try {
    const [started, pictures] = await Promise.all([
      startCell(folder, { counters: 2, page: options.keep === true, log: createLog('demo'), onProgress: live.update }),
      own.length > 0 ? own : demoPictures(undefined, live.update),
    ]);
    cell = started;
    const start = (performance.now() - began) / 1000;
    live.done(`ready after ${start.toFixed(1)} s: gateway, broker, two counters, PostgreSQL`);
    const run = await countIn(cell, pictures, stop, began);
    if (stop.aborted) return EXIT.interrupted;
    const ok = run.lines.length === pictures.length && run.lines.every(lineOk) && run.found.length === 0;
    const round = (s: number) => Math.round(s * 100) / 100;
    if (options.json) {
      json({
        ok,
        pictures: run.lines.map((l) => ({
          file: l.file, ...(l.expected === undefined ? {} : { expected: l.expected }), ...(l.hard ? { hard: true } : {}), counted: l.counted?.counted ?? null, boxes: l.counted?.boxes ?? [],
          platform: l.counted?.platform ?? null, claimsDigest: l.counted?.claimsDigest ?? null, receipt: l.counted === undefined ? null : (options.keep ? run.receipts.get(l.file) : l.counted.receipt), ms: l.ms,
          ...(l.counted?.code ?? l.error?.code ? { code: l.counted?.code ?? l.error?.code } : {}),
        })),
        seconds: { install: round(install), start: round(start), firstCount: run.firstCount === undefined ? null : round(run.firstCount) },
        simulated: cell.cell.simulated, notice: SIMULATED,
        ...(options.keep ? { url: cell.url, folder } : {}),
      });
    } else {
      printTable(run);
      say(paint('yellow', SIMULATED));
      say('');
      printView(run);
      say('');
      say(`install ${install.toFixed(1)} s, start ${start.toFixed(1)} s, first verified count ${(run.firstCount ?? 0).toFixed(1)} s after the start`);
      say(ok ? paint('green', 'Every result was verified and every expected number was counted.') : paint('red', 'Not every picture was counted and verified as expected.'));
      say(options.keep ? '' : 'Go on: npm run demo -- --keep (page and API stay up), npm run demo -- your.jpg, npx ccc up (a cell that keeps its data), npx ccc --help');
    }
    if (options.keep && !stop.aborted) await keep(cell, stop);
    return stop.aborted && !options.keep ? EXIT.interrupted : ok ? EXIT.ok : EXIT.failed;
  } finally {
    await cell?.stop();
    await rm(folder, { recursive: true, force: true });
  }
}

async function keep(cell: RunningCell, signal: AbortSignal): Promise<void> {
  note(`The cell stays up; Ctrl-C ends it and removes its folder ${cell.folder}.`);
  note(`  page  ${pageAddress(cell.url, await readProfile(cell.folder))}`);
  note(`  API   ${cell.url}/v1/openapi.json`);
  note(`  from your own machine's code: npx ccc page --data ${cell.folder}`);
  note(`  receipts in ${join(cell.folder, 'receipts')}: npx ccc verify FILE --data ${cell.folder}`);
  note(`  logs in ${at(cell.folder).logs}`);
  await untilStopped(signal);
  note('stopping');
}
