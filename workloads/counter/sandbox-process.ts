/** One child process of the sandbox: started with least rights, asked one thing at a time, killed when it breaks a cap. */
import { spawn } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
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
export type Answer = { readonly message: Message } | { readonly death: Death };

export interface SandboxProcess {
  readonly pid: number | undefined;
  readonly alive: boolean;
  /** Sends a picture (or waits for `ready` without one) and waits for one message. Not to be called again before the answer. */
  ask(picture: Uint8Array | undefined, caps: Caps): Promise<Answer>;
  kill(): Promise<void>;
}

const WATCH_MS = 50;
const MAX_HEAP_MB = 256;
const ROOT = fileURLToPath(new URL('../..', import.meta.url));

/** Code, packages and the model; not the whole checkout, in which a data folder with keys may lie. */
function nodeFlags(program: string, modelFile: string): string[] {
  const readable = [join(ROOT, 'workloads'), join(ROOT, 'attestation'), join(ROOT, 'node_modules'), realpathSync(join(ROOT, 'node_modules')), join(ROOT, 'package.json'), program, modelFile];
  return ['--permission', '--allow-addons', ...readable.map((path) => `--allow-fs-read=${path}`), `--max-old-space-size=${MAX_HEAP_MB}`, '--disallow-code-generation-from-strings', '--no-warnings'];
}

async function residentBytes(pid: number): Promise<number> {
  const status = await readFile(`/proc/${pid}/status`, 'latin1').catch(() => '');
  return 1024 * Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1] ?? 0);
}

function parse(line: string): Answer {
  try {
    return { message: messageSchema.parse(JSON.parse(line)) };
  } catch {
    return { death: 'broken' };
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
  let waiting: ((answer: Answer) => void) | undefined;
  let line = '';

  function settle(answer: Answer): void {
    const settled = waiting;
    waiting = undefined;
    if (!('message' in answer)) child.kill('SIGKILL');
    settled?.(answer);
  }
  const ended = new Promise<void>((done) => {
    const end = () => {
      alive = false;
      settle({ death: 'crashed' });
      done();
    };
    child.once('exit', end).once('error', end);
  });
  down.on('error', () => {}); // its exit says it all
  up.on('error', () => {});
  up.setEncoding('utf8').on('data', (text: string) => {
    line += text;
    const end = line.indexOf('\n');
    if (end < 0 && line.length <= MAX_LINE) return;
    // One answer to one question: more than that, or one that nobody asked for, is a process out of control.
    if (end !== line.length - 1 || end > MAX_LINE || waiting === undefined) return void settle({ death: 'broken' });
    const complete = line.slice(0, -1);
    line = '';
    settle(parse(complete));
  });

  return {
    pid: child.pid,
    get alive() { return alive && !child.killed; },
    ask(picture, caps) {
      return new Promise((resolve) => {
        if (!alive || child.killed || waiting !== undefined) return resolve({ death: 'crashed' });
        let left = caps.timeoutMs;
        let last = performance.now();
        const watch = setInterval(() => {
          const now = performance.now();
          left -= Math.min(now - last, 2 * WATCH_MS);
          last = now;
          if (left <= 0) return settle({ death: 'timeout' });
          void residentBytes(child.pid as number).then((rss) => { if (rss > caps.maxRssBytes && waiting === mine) settle({ death: 'memory' }); });
        }, WATCH_MS);
        const mine = (answer: Answer) => {
          clearInterval(watch);
          resolve(answer);
        };
        waiting = mine;
        if (picture === undefined) return;
        const header = Buffer.alloc(HEADER_LENGTH);
        header.writeUInt32BE(picture.length);
        down.write(header);
        down.write(picture);
      });
    },
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}
