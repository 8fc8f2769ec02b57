/** One child process of the sandbox: started with least rights, asked one thing at a time, killed when it breaks a cap. */
import { spawn } from 'node:child_process';
import { readFileSync, realpathSync } from 'node:fs';
import { join, resolve } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { fileURLToPath } from 'node:url';
import { HEADER_LENGTH, MAX_LINE, type Message, messageSchema, UP_FD } from './sandbox-messages.ts';

export interface Caps {
  /** Milliseconds in which this process could watch: time in which it was itself stopped does not count. */
  readonly timeoutMs: number;
  /** Resident bytes; enforced where there is /proc (Linux, which TEEs run). */
  readonly maxRssBytes: number;
}
/** Why there is no answer. `broken`: it said something that the protocol does not know. */
export type Death = 'timeout' | 'memory' | 'crashed' | 'broken';
/** `mine`: no other picture was in hand meanwhile and nobody called `kill`, so only this one can be to blame. */
export type Answer = { readonly message: Message } | { readonly death: Death; readonly mine: boolean };

export interface SandboxProcess {
  readonly pid: number | undefined;
  readonly alive: boolean;
  /** No picture was sent yet. */
  readonly fresh: boolean;
  /**
   * Sends a picture (or waits for `ready` without one) and waits for its answer. May be called again before that, not oftener than
   * `ready` allows; answers come in order. A death is the answer to all.
   */
  ask(picture: Uint8Array | undefined, caps: Caps): Promise<Answer>;
  kill(): Promise<void>;
}

interface Question { readonly number: number; readonly caps: Caps; company: boolean; resolve(answer: Answer): void }

const WATCH_MS = 50;
const MAX_HEAP_MB = 256;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Code, packages and the model; not the whole checkout, in which a data folder with keys may lie. */
function nodeFlags(program: string, modelFile: string): string[] {
  const readable = [join(ROOT, 'workloads'), join(ROOT, 'attestation'), join(ROOT, 'node_modules'), realpathSync(join(ROOT, 'node_modules')), join(ROOT, 'package.json'), program, modelFile];
  return ['--permission', '--allow-addons', ...readable.map((path) => `--allow-fs-read=${path}`), `--max-old-space-size=${MAX_HEAP_MB}`, '--disallow-code-generation-from-strings', '--no-warnings'];
}

/** The kernel makes this file up as it is read: nothing to wait for. */
function residentBytes(pid: number): number {
  try {
    return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}

function parse(line: string): Message | undefined {
  try {
    return messageSchema.parse(JSON.parse(line));
  } catch {
    return undefined;
  }
}

/** The child's argument is the absolute path of the model. */
export function startProcess(program: string, model: string): SandboxProcess {
  const modelFile = resolve(model);
  // Standard output and error go nowhere: what a parser prints may quote the picture.
  const child = spawn(process.execPath, [...nodeFlags(program, modelFile), program, modelFile], { cwd: ROOT, env: {}, stdio: ['pipe', 'ignore', 'ignore', 'pipe'] });
  const down = child.stdin as Writable;
  const up = child.stdio[UP_FD] as Readable;
  let alive = true;
  /** In the order of the questions. The clock runs for the first one only: the others wait for it. */
  const waiting: Question[] = [];
  let asked = 0;
  let line = '';
  let watch: NodeJS.Timeout | undefined;
  let left = 0;
  let unwanted = false;

  function answer(message: Message): void {
    waiting.shift()?.resolve({ message });
    startClock();
  }

  function die(death: Death): void {
    child.kill('SIGKILL');
    for (const { company, resolve } of waiting.splice(0)) resolve({ death, mine: !company && !unwanted });
    startClock();
  }

  /** For whoever is the first now. Memory is the whole process's: its cap is watched as long as anybody waits. */
  function startClock(): void {
    left = waiting[0]?.caps.timeoutMs ?? 0;
    if (waiting.length === 0) {
      clearInterval(watch);
      watch = undefined;
      return;
    }
    if (watch !== undefined) return;
    let last = performance.now();
    watch = setInterval(() => {
      const now = performance.now();
      left -= Math.min(now - last, 2 * WATCH_MS);
      last = now;
      if (left <= 0) return die('timeout');
      if (residentBytes(child.pid as number) > (waiting[0]?.caps.maxRssBytes ?? Infinity)) die('memory');
    }, WATCH_MS);
  }

  /** What the first question may be answered with: `ready` and `unready`, which have no number, only when no picture was sent. */
  function take(text: string): void {
    const message = parse(text);
    const number = message === undefined ? undefined : 'number' in message ? message.number : 0;
    const early = message?.kind === 'ready' || message?.kind === 'unready';
    if (message === undefined || number !== waiting[0]?.number || early !== (number === 0)) return die('broken');
    answer(message);
  }
  const ended = new Promise<void>((done) => {
    const end = () => {
      alive = false;
      die('crashed');
      done();
    };
    child.once('exit', end).once('error', end);
  });
  down.on('error', () => {}); // its exit says it all
  up.on('error', () => {});
  up.setEncoding('utf8').on('data', (text: string) => {
    const lines = (line + text).split('\n');
    line = lines.pop() as string;
    // One answer to one question: more than that, one that nobody asked for or one that does not end, is a process out of control.
    const tooMuch = lines.length > waiting.length || (line !== '' && lines.length === waiting.length) || [...lines, line].some((l) => l.length > MAX_LINE);
    if (tooMuch) return die('broken');
    for (const complete of lines) take(complete);
  });

  return {
    pid: child.pid,
    get alive() { return alive && !child.killed; },
    get fresh() { return asked <= 1; },
    ask(picture, caps) {
      return new Promise((resolve) => {
        if (!alive || child.killed) return resolve({ death: 'crashed', mine: asked <= 1 });
        const number = asked++;
        waiting.push({ number, caps, company: false, resolve });
        if (waiting.length > 1) for (const each of waiting) each.company = true;
        if (waiting.length === 1) startClock();
        if (picture === undefined) return;
        const header = Buffer.alloc(HEADER_LENGTH);
        header.writeUInt32BE(picture.length);
        header.writeUInt32BE(number, 4);
        down.write(header);
        down.write(picture);
      });
    },
    async kill() {
      unwanted = true;
      child.kill('SIGKILL');
      await ended;
    },
  };
}
