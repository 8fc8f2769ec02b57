/** From `git clone` to the first verified count, as a newcomer sees it, with npm's cache warm. */
import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { z } from 'zod';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { load } from './machine.ts';
import { atMost, type Section } from './section.ts';

const demoSchema = z.object({ ok: z.literal(true), pictures: z.array(z.unknown()), seconds: z.object({ install: z.number(), start: z.number(), firstCount: z.number() }) });

const TIMEOUT_MS = 180_000;

/** Standard output. Standard error is kept for the error's message only. */
async function run(command: string, args: readonly string[], cwd: string): Promise<string> {
  // Nothing of the npm run that started this process, but the settings that reach the registry.
  const env = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(npm_(lifecycle|package|execpath|node_execpath|command)|CCC_|INIT_CWD$)/.test(name)));
  const child = spawn(command, args, { cwd, env, stdio: ['ignore', 'pipe', 'pipe'], timeout: TIMEOUT_MS });
  let [out, err] = ['', ''];
  child.stdout.on('data', (chunk: Buffer) => { out += chunk.toString('utf8'); });
  child.stderr.on('data', (chunk: Buffer) => { err = (err + chunk.toString('utf8')).slice(-4_000); });
  const code = await new Promise<number | null>((done, failed) => child.once('error', failed).once('close', done));
  if (code !== 0) throw new Error(`${command} ${args.join(' ')} ended with ${code}:\n${err}`);
  return out;
}

async function once(): Promise<{ clone: number; install: number; start: number; firstCount: number; all: number }> {
  const parent = await mkdtemp(join(tmpdir(), 'ccc-clone-'));
  const folder = join(parent, 'clone');
  const seconds = (from: number) => (performance.now() - from) / 1000;
  try {
    const began = performance.now();
    await run('git', ['clone', '--quiet', '--no-hardlinks', ROOT, folder], parent);
    const clone = seconds(began);
    const out = await run('npm', ['run', '--silent', 'demo', '--', '--json'], folder);
    const all = seconds(began);
    const { seconds: { install, start, firstCount } } = demoSchema.parse(JSON.parse(out));
    return { clone, install, start, firstCount, all };
  } finally {
    await rm(parent, { recursive: true, force: true });
  }
}

export async function demo(runs: number): Promise<Section> {
  const taken: Awaited<ReturnType<typeof once>>[] = [];
  for (let i = 0; i < runs; i++) taken.push(await once());
  const total = (t: (typeof taken)[number]) => t.clone + t.install + t.firstCount;
  return {
    title: 'Demo',
    about: [
      'Seconds of `git clone` (from this disk), `npm run demo -- --json` in the empty clone with npm\'s cache warm. Install: packages. Start: from the demo\'s first line to a cell that answers, weights and',
      'pictures brought, model converted, database made. First count: from the demo\'s first line to the first result that the client verified. Whole: until the demo has ended, all pictures counted and everything looked through.',
    ],
    head: ['run', 'clone', 'install', 'start', 'first count', 'clone + install + first count', 'whole'],
    rows: taken.map((t, i) => [String(i + 1), ...[t.clone, t.install, t.start, t.firstCount, total(t), t.all].map((s) => s.toFixed(1))]),
    goals: [atMost('seconds from git clone to the first verified count', Math.min(...taken.map(total)), 45)],
    load: load(),
  };
}
