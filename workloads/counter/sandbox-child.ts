/**
 * The process that opens pictures. It has no keys, an empty environment, no terminal, and Node's permission model allows it to
 * read its code and its model, nothing else. It says `ready` once and then answers each picture, in their order; it may be sent the
 * next ones before it has answered, as many as the workload takes at once.
 */
import { Socket } from 'node:net';
import { isRejectionCode } from './rejected.ts';
import { HEADER_LENGTH, MAX_AT_ONCE, MAX_PICTURE, type Message, UP_FD } from './sandbox-messages.ts';
import { load, type Workload } from './workload.ts';

const up = new Socket({ fd: UP_FD, readable: false, writable: true });
const say = (message: Message): void => void up.write(`${JSON.stringify(message)}\n`);

function codeOf(error: unknown): string {
  const code = error instanceof Error && 'code' in error ? error.code : undefined;
  return typeof code === 'string' && /^[A-Z][A-Z0-9_]{0,63}$/.test(code) ? code : 'WORK_FAILED';
}

/** The parent decides when this process ends: by closing standard input, also by dying. Ctrl-C in a terminal reaches both. */
process.on('SIGINT', () => {});
process.on('SIGTERM', () => {});

async function answer(workload: Workload, bytes: Buffer, number: number): Promise<Message> {
  try {
    return { kind: 'result', number, result: await workload.work(bytes) };
  } catch (error) {
    const code = codeOf(error);
    return isRejectionCode(code) ? { kind: 'rejected', number, code } : { kind: 'failed', number, code };
  } finally {
    bytes.fill(0);
  }
}

function listen(workload: Workload): void {
  let header = Buffer.alloc(0);
  let picture: Buffer | undefined;
  let filled = 0;
  let number = 0;
  /** A picture that is done before the one before it waits for its turn to speak. */
  let said: Promise<void> = Promise.resolve();
  process.stdin.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length || (picture !== undefined && filled === picture.length);) {
      if (picture === undefined) {
        const more = chunk.subarray(at, at + HEADER_LENGTH - header.length);
        header = Buffer.concat([header, more]);
        at += more.length;
        if (header.length < HEADER_LENGTH) return;
        const length = header.readUInt32BE();
        number = header.readUInt32BE(4);
        if (length > MAX_PICTURE) process.exit(1);
        [picture, filled, header] = [Buffer.alloc(length), 0, Buffer.alloc(0)];
      }
      const part = chunk.subarray(at, at + picture.length - filled);
      picture.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < picture.length) return;
      const answered = answer(workload, picture, number);
      said = said.then(async () => say(await answered));
      picture = undefined;
    }
  });
}

process.stdin.on('end', () => process.exit(0));
const modelFile = process.argv[2];
try {
  const workload = await load(modelFile === undefined ? {} : { modelFile });
  listen(workload);
  say({ kind: 'ready', model: workload.model, at_once: Math.min(MAX_AT_ONCE, workload.atOnce ?? 1) });
} catch (error) {
  say({ kind: 'unready', code: codeOf(error) });
  process.stdin.resume();
}
