/** Synthesis of all stacks: what `cdktf synth` starts, against the same sources as most projects load them. */
import { spawn } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { z } from 'zod';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { load } from './machine.ts';
import { highWaterMiB, tree } from './processes.ts';
import { atMost, type Section } from './section.ts';

const SOURCES = ['stacks', 'modules', 'attestation', 'measurements.lock.json', 'promotions.json', 'package.json'] as const;
const PLAIN_MAIN = `import { App } from 'cdktf';\nimport { synthesizeInto } from './all.ts';\nconst app = new App({ skipValidation: true });\nsynthesizeInto(app);\napp.synth();\n`;
/**
 * Told by the process itself when it ends, on descriptor 3: its user and system time in microseconds, its peak memory (VmHWM of proc(5)) in KiB. Not `maxRSS`
 * of resourceUsage: that begins with what the process that started it had (getrusage(2), kept over execve), and this one holds models and pictures.
 */
const REPORT = `data:text/javascript,${encodeURIComponent(`import { readFileSync, writeSync } from 'node:fs';
process.on('exit', () => writeSync(3, JSON.stringify({ ...process.resourceUsage(), peak: Number(/^VmHWM:\\s+(\\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))[1]) })));`)}`;
const usageSchema = z.object({ userCPUTime: z.number(), systemCPUTime: z.number(), peak: z.number() });

export interface Cost { /** Seconds. */ readonly wall: number; /** Seconds. */ readonly cpu: number; /** MiB. */ readonly peak: number; readonly stacks: ReadonlyMap<string, string> }

/** The command of cdktf.json. */
export const appCommand = (): string => z.object({ app: z.string() }).parse(JSON.parse(readFileSync(join(ROOT, 'cdktf.json'), 'utf8'))).app;

/** What it gives to Node: flags, and the entry. */
export function appArguments(): string[] {
  const given = /&& node ((?:--\S+ )*stacks\/start\.mjs)$/.exec(appCommand())?.[1];
  if (given === undefined) throw new Error(`cdktf.json: not what this benchmark knows: ${appCommand()}`);
  return given.split(' ');
}

/**
 * The whole command, type check and synthesis, as cdktf starts it: by a shell. Peak: the most that the processes alive at one moment ever had together, by
 * VmHWM, looked at every 50 ms. CPU: of all of them, from /proc in hundredths of a second; 0 where there is no /proc.
 */
export async function wholeCommand(): Promise<Omit<Cost, 'stacks'>> {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-synth-'));
  const before = await ended();
  const began = performance.now();
  const child = spawn(appCommand(), { shell: true, cwd: ROOT, env: { ...process.env, PATH: `${join(ROOT, 'node_modules', '.bin')}:${process.env['PATH']}`, CDKTF_OUTDIR: outdir }, stdio: 'ignore', timeout: 300_000 });
  const exit = new Promise<number | null>((done, failed) => child.once('error', failed).once('exit', done));
  let [peak, looking] = [0, true];
  const look = (async () => {
    for (; looking && child.pid !== undefined; await delay(50)) peak = Math.max(peak, await highWaterMiB(child.pid));
  })();
  try {
    const code = await exit;
    const wall = (performance.now() - began) / 1000;
    if (code !== 0) throw new Error(`${appCommand()} ended with ${code}`);
    return { wall, cpu: (await ended() - before) / 1000, peak };
  } finally {
    looking = false;
    await look;
    rmSync(outdir, { recursive: true, force: true });
  }
}

const ended = async (): Promise<number> => (await tree(process.pid))[0]?.endedMs ?? 0;

/** One synthesis in a process of its own. @param args flags and entry, within `folder` */
export async function synthesis(folder: string, args: readonly string[]): Promise<Cost> {
  const outdir = mkdtempSync(join(tmpdir(), 'ccc-synth-'));
  try {
    const began = performance.now();
    const child = spawn(process.execPath, ['--import', REPORT, ...args], { cwd: folder, env: { ...process.env, CDKTF_OUTDIR: outdir }, stdio: ['ignore', 'ignore', 'pipe', 'pipe'], timeout: 300_000 });
    let [err, report] = ['', ''];
    child.stderr?.on('data', (chunk: Buffer) => { err = (err + chunk.toString('utf8')).slice(-2_000); });
    child.stdio[3]?.on('data', (chunk: Buffer) => { report += chunk.toString('utf8'); });
    const code = await new Promise<number | null>((done, failed) => child.once('error', failed).once('close', done));
    if (code !== 0) throw new Error(`synthesis ended with ${code}:\n${err}`);
    const wall = (performance.now() - began) / 1000;
    const { userCPUTime, systemCPUTime, peak } = usageSchema.parse(JSON.parse(report));
    const stacks = new Map(readdirSync(join(outdir, 'stacks')).map((name) => [name, readFileSync(join(outdir, 'stacks', name, 'cdk.tf.json'), 'utf8')]));
    return { wall, cpu: (userCPUTime + systemCPUTime) / 1e6, peak: peak / 1024, stacks };
  } finally {
    rmSync(outdir, { recursive: true, force: true });
  }
}

/** A copy of the sources whose entry is the one of CDKTF's template. */
export function plainCopy(): string {
  const folder = mkdtempSync(join(tmpdir(), 'ccc-plain-'));
  for (const part of SOURCES) cpSync(join(ROOT, part), join(folder, part), { recursive: true });
  symlinkSync(join(ROOT, 'node_modules'), join(folder, 'node_modules'));
  mkdirSync(join(folder, 'cdktf.out'));
  writeFileSync(join(folder, 'stacks', 'main.ts'), PLAIN_MAIN);
  return folder;
}

const camel = (name: string): string => name.replace(/-([a-z0-9])/g, (_, c: string) => c.toUpperCase());

/** `import { KmsKey } from '@cdktf/provider-aws/lib/kms-key/index.js'` as documentation and examples have it: from the index of the package. */
export function throughIndex(source: string): string {
  let count = 0;
  return source.replace(/^import \{([^}]*)\} from '(@cdktf\/provider-[a-z]+)\/lib\/([a-z0-9-]+)\/index\.js';/gm, (_, names: string, provider: string, name: string) => {
    const values = names.split(',').map((n) => n.trim()).filter((n) => n !== '' && !n.startsWith('type ')).map((n) => n.replace(' as ', ': '));
    return `import index${count} from '${provider}/lib/index.js'; const { ${values.join(', ')} } = index${count++}.${camel(name)};`;
  });
}

function rewriteAll(folder: string): void {
  for (const entry of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (entry.endsWith('.ts')) writeFileSync(join(folder, entry), throughIndex(readFileSync(join(folder, entry), 'utf8')));
  }
}

const best = <T extends { readonly cpu: number }>(costs: readonly T[]): T => costs.reduce((a, b) => (b.cpu < a.cpu ? b : a));

export async function synthesizing(rounds: number): Promise<Section> {
  if (!existsSync(join(ROOT, 'node_modules', 'cdktf'))) throw new Error('the development packages are not installed');
  const [deep, index] = [plainCopy(), plainCopy()];
  try {
    for (const part of ['stacks', 'modules']) rewriteAll(join(index, part));
    const ways = [
      { name: 'as here: deep imports, no source maps, flags of cdktf.json', folder: ROOT, args: appArguments() },
      { name: 'deep imports, nothing else', folder: deep, args: ['stacks/main.ts'] },
      { name: 'imports from the index of each package', folder: index, args: ['stacks/main.ts'] },
    ];
    const taken = new Map<string, Cost[]>(ways.map(({ name }) => [name, []]));
    const commands: Omit<Cost, 'stacks'>[] = [];
    await wholeCommand(); // fills the type checker's cache
    for (let i = 0; i < rounds; i++) {
      commands.push(await wholeCommand());
      for (const { name, folder, args } of ways) taken.get(name)?.push(await synthesis(folder, args));
    }
    const costs = ways.map(({ name }) => ({ name, ...best(taken.get(name) ?? []) }));
    const [here] = costs;
    const whole = best(commands);
    if (here === undefined) throw new Error('nothing measured');
    for (const { name, stacks } of costs) if (!same(stacks, here.stacks)) throw new Error(`${name}: other stacks than here`);
    return {
      title: 'Synthesis',
      about: [
        `All ${here.stacks.size} stacks in one process, each way from the same sources to the same bytes, the best of ${rounds} by CPU time. The first row is the whole command of cdktf.json, by a shell: with it runs the type check (unchanged sources: incremental), and its memory is that of all processes at the same time, at most.`,
        'ts-node cannot be compared: its last version needs the compiler API that TypeScript 7 does not have.',
      ],
      head: ['way', 'wall, s', 'user + system, s', 'peak memory, MiB'],
      rows: [{ name: 'the command of cdktf.json: type check, then synthesis', ...whole }, ...costs].map(({ name, wall, cpu, peak }) => [name, wall.toFixed(2), cpu.toFixed(2), peak.toFixed(0)]),
      goals: [atMost('seconds of the command of cdktf.json', whole.wall, 2), atMost('MiB of the command of cdktf.json', Math.max(whole.peak, here.peak), 300)],
      load: load(),
    };
  } finally {
    for (const folder of [deep, index]) rmSync(folder, { recursive: true, force: true });
  }
}

const same = (a: ReadonlyMap<string, string>, b: ReadonlyMap<string, string>): boolean => a.size === b.size && [...a].every(([name, text]) => b.get(name) === text);
