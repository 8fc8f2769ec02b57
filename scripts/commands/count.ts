import { mkdir, readFile } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { bundleSupply } from '../../attestation/collateral/bundle.ts';
import { type Counted, resumeJob } from '../../workloads/client/count.ts';
import { CLASSIFICATIONS, type EncryptionContext } from '../../workloads/protocol/context.ts';
import { cellFolder, writeWhole } from '../cell/folder.ts';
import { readProfile, type ProfileOptions } from '../cell/profile.ts';
import { stopSignal } from '../cli/interrupt.ts';
import { clientOptions, countAll, type Line, lineError, lineOk } from '../cli/counting.ts';
import { EXIT, json, note, paint, progress, say, table, UserError } from '../cli/output.ts';
import { readBundle } from './collateral.ts';
import { SIMULATED } from './up.ts';

interface CountCommand extends ProfileOptions { data?: string; classification: string; receipts: string; resume?: boolean; offline?: string; signer?: string; json?: boolean }

async function writeReceipt(folder: string, file: string, counted: Counted): Promise<string> {
  await mkdir(folder, { recursive: true });
  const path = join(folder, `${basename(file)}.receipt.json`);
  await writeWhole(path, `${JSON.stringify(counted.receipt, null, 2)}\n`);
  return path;
}

export async function count(files: string[], options: CountCommand): Promise<number> {
  const classification = options.classification as EncryptionContext['data_classification'];
  if (!CLASSIFICATIONS.includes(classification)) throw new UserError('USAGE', `Unknown classification ${options.classification}.`, `Known: ${CLASSIFICATIONS.join(', ')}.`, EXIT.usage);
  if (files.length === 0 && !options.resume) throw new UserError('USAGE', 'No picture was named.', 'ccc count FILE..., or ccc count --resume for jobs that were interrupted.', EXIT.usage);
  const folder = cellFolder(options.data);
  const profile = await readProfile(folder, options);
  const stop = stopSignal();
  const offline = options.offline === undefined ? undefined : bundleSupply(await readBundle(options.offline, options), Math.floor(Date.now() / 1000));
  const client = await clientOptions(folder, profile, stop, offline);
  const live = progress('count');
  const receipts = new Map<Line, string>();
  const done = async (line: Line) => {
    if (line.counted) receipts.set(line, await writeReceipt(options.receipts, line.file, line.counted));
  };

  const lines: Line[] = [];
  if (options.resume) {
    for (const jobId of await client.jobs.pending()) {
      const began = performance.now();
      let line: Line;
      try {
        const counted = await resumeJob({ ...client, jobId, onStep: ({ step }) => live.update(`${jobId}: ${step}`) });
        line = { file: jobId, counted, ms: Math.round(performance.now() - began) };
      } catch (error) {
        line = { file: jobId, error: lineError(error), ms: Math.round(performance.now() - began) };
      }
      lines.push(line);
      await done(line);
    }
  }
  const pictures = await Promise.all(files.map(async (file) => {
    try {
      return { file, bytes: new Uint8Array(await readFile(file)) };
    } catch (error) {
      throw new UserError('FILE', `${file}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}.`, 'Name files that exist and can be read.', EXIT.usage);
    }
  }));
  lines.push(...(await countAll(pictures, client, classification, live.update, done)));
  live.done();

  const ok = lines.every(lineOk);
  if (options.json) {
    json({
      ok,
      pictures: lines.map((l) => ({
        file: l.file, counted: l.counted?.counted ?? null, outcome: l.counted?.outcome, code: l.counted?.code ?? l.error?.code, boxes: l.counted?.boxes ?? [],
        platform: l.counted?.platform, simulated: l.counted?.simulated, claimsDigest: l.counted?.claimsDigest, receipt: receipts.get(l), ms: l.ms,
      })),
    });
  } else {
    say(table(['picture', 'cats', 'attested by', 'claims', 'receipt', 'ms'], lines.map((l) => [
      l.file, l.counted?.counted === undefined ? (l.counted?.code ?? l.error?.code ?? '') : String(l.counted.counted), l.counted?.platform ?? '', l.counted?.claimsDigest.slice(0, 12) ?? '', receipts.get(l) ?? '', String(l.ms),
    ])));
    if (lines.some((l) => l.counted?.simulated)) say(paint('yellow', SIMULATED));
  }
  for (const { file, error } of lines) if (error) note(paint('red', `${file}: ${error.message}`, process.stderr));
  if (stop.aborted) {
    note('Interrupted. Jobs that were sent go on; fetch their results with: ccc count --resume');
    return EXIT.interrupted;
  }
  if (lines.some((l) => l.error?.refused)) return EXIT.refused;
  if (lines.some((l) => l.error !== undefined && !l.error.refused)) return EXIT.unavailable;
  return ok ? EXIT.ok : EXIT.failed;
}

