/**
 * Keeps hostile pictures away from the keys: the counter's main process never parses one. A warm child process does, with an empty
 * environment, nothing to print to, and Node's permission model (it reads its code and model; no writes, no processes, no workers). It
 * gets as many pictures at once as the workload says, a time cap and a memory cap, and what it says is checked against the result schema.
 *
 * Limits. Node's permission model binds JavaScript, not native code: whoever takes over libvips stays in a process without keys, inside
 * the TEE, but may read other files of this user, and what he says about later pictures of the same process may be a lie.
 */
import { fileURLToPath } from 'node:url';
import type { z } from 'zod';
import { modelPath } from '../detectors/pinned.ts';
import { type RejectionCode, WorkRejected } from './rejected.ts';
import { MAX_PICTURE } from './sandbox-messages.ts';
import { type Death, type SandboxProcess, startProcess } from './sandbox-process.ts';
import { Turns } from './turns.ts';
import { resultSchema } from './workload.ts';

export { WorkRejected } from './rejected.ts';

export type WorkResult = z.infer<typeof resultSchema>;
export type WorkModel = WorkResult['model'];

/** Ours, not the picture's: the job is tried again. */
export class SandboxError extends Error {
  /** WORK_FAILED, SANDBOX_START, SANDBOX_CLOSED, SANDBOX_PROTOCOL, SANDBOX_MODEL (a fresh child has another model), or the workload's own (MODEL_MISSING, MODEL_ALTERED, ...). */
  readonly code: string;
  constructor(code: string) {
    super(code);
    this.name = 'SandboxError';
    this.code = code;
  }
}

export interface SandboxOptions {
  /** The ONNX file; the pinned default model of this checkout unless told. */
  readonly modelFile?: string;
  /** For one picture in a warm process. */
  readonly timeoutMs?: number;
  readonly maxRssBytes?: number;
  readonly startTimeoutMs?: number;
  /** Another child program, for tests. */
  readonly program?: string;
}

export interface Sandbox {
  /** What counts, reported by the child after it had compared the model's digest. */
  readonly model: WorkModel;
  readonly modelDigest: string;
  /** How many calls of `run` are worked on at the same time; more of them wait. */
  readonly atOnce: number;
  /** Of the warm child, if one is running. */
  readonly pid: number | undefined;
  /**
   * Takes ownership of `bytes`: they are zeros afterwards. Calls are served in their order.
   * @throws WorkRejected when the picture is at fault; a time-out, too much memory or a crash count as that only when they
   *   happen twice without another picture in the same process at that time, the second time in a fresh one
   * @throws SandboxError for everything else
   */
  run(bytes: Uint8Array): Promise<WorkResult>;
  close(): Promise<void>;
}

interface Started { readonly process: SandboxProcess; readonly model: WorkModel; readonly atOnce: number }

const DEFAULT_TIMEOUT_MS = 20_000;
const DEFAULT_MAX_RSS = 1_500 * 2 ** 20;
const DEFAULT_START_TIMEOUT_MS = 60_000;
const MAX_DEATHS = 2;
const BLAME: Readonly<Record<Exclude<Death, 'broken'>, RejectionCode>> = { timeout: 'WORK_TIMEOUT', memory: 'WORK_MEMORY', crashed: 'WORK_CRASHED' };

/** Resolves once a child is warm. @throws SandboxError MODEL_MISSING, MODEL_ALTERED, SANDBOX_START */
export async function createSandbox(options: SandboxOptions = {}): Promise<Sandbox> {
  const { modelFile = modelPath(), maxRssBytes = DEFAULT_MAX_RSS } = options;
  const program = options.program ?? fileURLToPath(new URL('./sandbox-child.ts', import.meta.url));
  const caps = { timeoutMs: options.timeoutMs ?? DEFAULT_TIMEOUT_MS, maxRssBytes };
  let current: SandboxProcess | undefined;
  let closed = false;
  let starting: Promise<SandboxProcess> | undefined;
  let last: Promise<unknown> = Promise.resolve();

  async function start(): Promise<Started> {
    if (closed) throw new SandboxError('SANDBOX_CLOSED');
    const process_ = startProcess(program, modelFile);
    current = process_;
    const answer = await process_.ask(undefined, { timeoutMs: options.startTimeoutMs ?? DEFAULT_START_TIMEOUT_MS, maxRssBytes });
    if ('message' in answer && answer.message.kind === 'ready') return { process: process_, model: answer.message.model, atOnce: answer.message.at_once };
    await process_.kill();
    throw new SandboxError('message' in answer && answer.message.kind === 'unready' ? answer.message.code : 'SANDBOX_START');
  }

  async function startAgain(): Promise<SandboxProcess> {
    const { process: fresh, model: other } = await start();
    if (isSame(other)) return fresh;
    await fresh.kill();
    throw new SandboxError('SANDBOX_MODEL');
  }

  /** The warm child; a fresh one, once for all who need it, when there is none or when only a fresh one will do. */
  async function warm(alone: boolean): Promise<SandboxProcess> {
    if (starting === undefined && current?.alive === true && (!alone || current.fresh)) return current;
    if (starting === undefined) await current?.kill();
    starting ??= startAgain().finally(() => { starting = undefined; });
    return starting;
  }

  async function serve(bytes: Uint8Array): Promise<WorkResult> {
    let deaths = 0;
    for (let alone = false; ; alone = true) {
      const { answer, asked } = await turns.take(alone ? 'alone' : 'shared', async () => {
        const child = await warm(alone);
        return { asked: child, answer: await child.ask(bytes, caps) };
      });
      if ('message' in answer) {
        const { message } = answer;
        if (message.kind === 'result' && isSame(message.result.model)) return message.result;
        if (message.kind === 'rejected') throw new WorkRejected(message.code);
        await asked.kill(); // after an error of ours the next picture gets a fresh process
        throw new SandboxError(message.kind === 'failed' ? message.code : 'SANDBOX_PROTOCOL');
      }
      // Who is to blame among several is not known: each has a process to itself from then on.
      if (!answer.mine) continue;
      if (answer.death === 'broken') throw new SandboxError('SANDBOX_PROTOCOL');
      if (++deaths === MAX_DEATHS) throw new WorkRejected(BLAME[answer.death]);
    }
  }

  const { model, atOnce } = await start();
  const turns = new Turns(atOnce);
  const isSame = (other: WorkModel) => other.name === model.name && other.digest === model.digest && other.threshold === model.threshold;
  return {
    model,
    modelDigest: model.digest,
    atOnce,
    get pid() { return current?.alive === true ? current.pid : undefined; },
    async run(bytes) {
      if (bytes.length > MAX_PICTURE) throw new WorkRejected('IMAGE_TOO_LARGE');
      const mine = serve(bytes).finally(() => bytes.fill(0));
      last = Promise.allSettled([last, mine]);
      return mine;
    },
    async close() {
      closed = true;
      await current?.kill();
      await last;
    },
  };
}
