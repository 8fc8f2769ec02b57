/** `ccc vectors FOLDER`: judges a corpus and compares with what its manifest expects. */
import { readFile } from 'node:fs/promises';
import { join, normalize, sep } from 'node:path';
import { z } from 'zod';
import { bytes } from '../../attestation/bytes.ts';
import type { CorpusFile, Judgement, Verdict } from '../../attestation/corpus/judge.ts';
import { judgeFor } from '../../attestation/corpus/registry.ts';
import { EXIT, paint, progress, say, table, UserError } from '../cli/output.ts';

const verdict = z.enum(['valid', 'invalid']);
const entrySchema = z.looseObject({
  file: z.string().min(1), platform: z.string(), kind: z.string(), role: z.enum(['vector', 'companion']), expected: verdict.optional(), expected_with_collateral: verdict.optional(),
  verified_at: z.union([z.string(), z.null()]).optional(), companions: z.array(z.string()).optional(), why: z.string().optional(),
});
type Entry = z.infer<typeof entrySchema>;

export interface Line {
  readonly file: string; readonly platform: string; readonly kind: string; readonly expected: Verdict | undefined; readonly expectedWithCollateral?: Verdict;
  readonly verdict: Verdict | 'unknown-kind' | 'error'; readonly verdictWithCollateral?: Verdict; readonly codes: readonly string[]; readonly claims?: unknown; readonly agrees: boolean;
}

export async function readManifest(folder: string): Promise<Entry[]> {
  let content: string;
  try {
    content = await readFile(join(folder, 'MANIFEST.json'), 'utf8');
  } catch (error) {
    throw new UserError('NO_MANIFEST', `${join(folder, 'MANIFEST.json')}: ${(error as NodeJS.ErrnoException).code ?? 'cannot be read'}.`, 'Name a folder with a MANIFEST.json.', EXIT.usage);
  }
  const parsed = z.array(entrySchema).safeParse(JSON.parse(content));
  if (!parsed.success) throw new UserError('MANIFEST_FORMAT', `MANIFEST.json: ${z.prettifyError(parsed.error).split('\n')[0]}`, 'A list of {file, platform, kind, role, expected, verified_at, companions}.', EXIT.usage);
  return parsed.data;
}

/** A manifest names files of its own folder, nothing else. */
export function inside(folder: string, file: string): string {
  const path = normalize(join(folder, file));
  if (!path.startsWith(normalize(folder + sep))) throw new UserError('MANIFEST_PATH', `${file} leaves the folder.`, 'Name files inside the folder.', EXIT.usage);
  return path;
}

export async function judgeCorpus(folder: string, onProgress: (text: string) => void = () => {}): Promise<Line[]> {
  const entries = await readManifest(folder);
  const byFile = new Map(entries.map((e) => [e.file, e]));
  const load = async (entry: Entry): Promise<CorpusFile> => ({ file: entry.file, platform: entry.platform, kind: entry.kind, bytes: bytes(await readFile(inside(folder, entry.file))) });
  const lines: Line[] = [];
  for (const entry of entries.filter((e) => e.role === 'vector')) {
    onProgress(`${lines.length} judged; ${entry.file}`);
    const about = { file: entry.file, platform: entry.platform, kind: entry.kind, expected: entry.expected, ...(entry.expected_with_collateral === undefined ? {} : { expectedWithCollateral: entry.expected_with_collateral }) };
    const judge = judgeFor(entry.platform, entry.kind);
    if (judge === undefined) {
      lines.push({ ...about, verdict: 'unknown-kind', codes: [], agrees: false });
      continue;
    }
    let judgement: Judgement;
    try {
      const companions = await Promise.all((entry.companions ?? []).map((file) => load(byFile.get(file) ?? { file, platform: entry.platform, kind: 'unlisted', role: 'companion' })));
      const at = typeof entry.verified_at === 'string' ? Date.parse(entry.verified_at) / 1000 : null;
      judgement = await judge({ ...(await load(entry)), companions, at });
    } catch (error) {
      lines.push({ ...about, verdict: 'error', codes: [error instanceof Error ? error.message.slice(0, 200) : 'INTERNAL'], agrees: false });
      continue;
    }
    const agrees = judgement.verdict === entry.expected && (entry.expected_with_collateral === undefined || judgement.verdictWithCollateral === entry.expected_with_collateral);
    const { reasons: _, ...shown } = judgement;
    lines.push({ ...about, ...shown, agrees });
  }
  return lines;
}

function totals(lines: readonly Line[]): string {
  const groups = Map.groupBy(lines, (l) => `${l.platform}\t${l.kind}`);
  return table(['platform', 'kind', 'vectors', 'agree'], [...groups].sort().map(([key, group]) => [...key.split('\t'), String(group.length), String(group.filter((l) => l.agrees).length)]));
}

export async function vectors(folder: string, options: { json?: boolean }): Promise<number> {
  const live = progress('vectors');
  const lines = await judgeCorpus(folder, process.stderr.isTTY ? live.update : undefined);
  live.done();
  const ok = lines.length > 0 && lines.every((l) => l.agrees);
  if (options.json) for (const { agrees: _, expectedWithCollateral: __, ...line } of lines) say(JSON.stringify(line));
  else {
    for (const l of lines) say(`${l.agrees ? paint('green', 'agree   ') : paint('red', 'DISAGREE')}  ${l.file}  expected ${l.expected}${l.expectedWithCollateral ? `/${l.expectedWithCollateral}` : ''}, got ${l.verdict}${l.verdictWithCollateral ? `/${l.verdictWithCollateral}` : ''}${l.codes.length > 0 ? `  ${l.codes.join(' ')}` : ''}`);
    say('');
    say(totals(lines));
    say(`${lines.filter((l) => l.agrees).length} of ${lines.length} agree`);
  }
  return ok ? EXIT.ok : EXIT.failed;
}
