/**
 * Runs the processes of one cell: PostgreSQL, gateway, broker, counters. A process that dies is started again with a growing
 * delay; when this process ends, however it ends, the others end too (their standard input closes).
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { open } from 'node:fs/promises';
import { join } from 'node:path';
import type { Log } from '../../workloads/protocol/log.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { at } from './folder.ts';
import { rotateLog } from './rotate.ts';

const FIRST_DELAY_MS = 200;
const LONGEST_DELAY_MS = 10_000;
/** A process that lived this long was not broken from the start: it starts again at the first delay. */
const STEADY_MS = 5_000;
const STOP_GRACE_MS = 10_000;
const ROTATE_MS = 60_000;
export const KILLED = 'process did not stop; killed';

export interface Supervised {
  readonly name: string;
  pid(): number | undefined;
  restarts(): number;
  /** For drills and tests: the supervisor then does what it does after a crash. */
  kill(signal: NodeJS.Signals): void;
  stop(): Promise<void>;
  /** SIGKILL, and it stays down. */
  halt(): Promise<void>;
  /** After a stop or a halt. */
  start(): void;
}

export interface Program {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
}

/** Only what a process needs: nothing of the operator's environment reaches it by accident. */
function environment(extra: Readonly<Record<string, string>> = {}): NodeJS.ProcessEnv {
  const kept = ['PATH', 'HOME', 'TMPDIR', 'LANG', 'SystemRoot', 'npm_execpath'].flatMap((key) => (process.env[key] === undefined ? [] : [[key, process.env[key]] as const]));
  return { ...Object.fromEntries(kept), CCC_SUPERVISED: '1', ...extra };
}

/** `root`: the tree whose code runs; a test shows that another one is refused. */
export function supervise(program: Program, folder: string, log: Log, root = ROOT, graceMs = STOP_GRACE_MS): Supervised {
  let child: ChildProcess | undefined;
  let stopping = false;
  let restarts = 0;
  let delay = FIRST_DELAY_MS;
  let timer: NodeJS.Timeout | undefined;
  let ended: Promise<void> = Promise.resolve();
  /** Of several runs, after stop and start in quick succession, only the last one starts a process. */
  let latest = 0;

  const run = async () => {
    const mine = ++latest;
    const path = join(at(folder).logs, `${program.name}.log`);
    const file = await open(path, 'a', 0o600);
    if (stopping || mine !== latest) return void (await file.close());
    const began = Date.now();
    // An own process group: a Ctrl-C at the terminal reaches the supervisor alone, which then stops everything in order.
    const started = spawn(process.execPath, [join(root, program.script), ...program.args], { cwd: root, detached: true, stdio: ['pipe', file.fd, file.fd], env: environment(program.env) });
    child = started;
    const rotating = setInterval(() => void rotateLog(path).catch(() => {}), ROTATE_MS).unref();
    started.stdin?.on('error', () => { /* the process is gone; its end is handled below */ });
    ended = new Promise((done) => {
      started.once('error', () => { clearInterval(rotating); done(); });
      started.once('exit', (exit, signal) => {
        clearInterval(rotating);
        done();
        child = undefined;
        if (stopping) return;
        if (Date.now() - began > STEADY_MS) delay = FIRST_DELAY_MS;
        log.warn('process ended; starting it again', { where: program.name, ...(exit === null ? {} : { exit }), ...(signal === null ? {} : { signal }), ms: delay });
        restarts += 1;
        timer = setTimeout(() => void run(), delay);
        delay = Math.min(delay * 2, LONGEST_DELAY_MS);
      });
    });
    await file.close();
  };
  void run();

  return {
    name: program.name,
    pid: () => child?.pid,
    restarts: () => restarts,
    kill: (signal) => void child?.kill(signal),
    async stop() {
      stopping = true;
      clearTimeout(timer);
      if (child === undefined) return;
      child.kill('SIGTERM');
      child.kill('SIGCONT');
      const force = setTimeout(() => {
        log.warn(KILLED, { where: program.name, ms: graceMs });
        child?.kill('SIGKILL');
      }, graceMs);
      await ended;
      clearTimeout(force);
    },
    async halt() {
      stopping = true;
      clearTimeout(timer);
      child?.kill('SIGKILL');
      if (child !== undefined) await ended;
    },
    start() {
      if (!stopping) return;
      stopping = false;
      delay = FIRST_DELAY_MS;
      void run();
    },
  };
}
