/**
 * The process that opens pictures. It has no keys, an empty environment, no terminal, and Node's permission model allows it to
 * read its code and its model, nothing else. It says `ready` once and then answers one picture at a time.
 */
import { Socket } from 'node:net';
import { isRejectionCode } from './rejected.ts';
import { HEADER_LENGTH, MAX_PICTURE, type Message, UP_FD } from './sandbox-messages.ts';
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

async function answer(workload: Workload, bytes: Buffer): Promise<void> {
  try {
    say({ kind: 'result', result: await workload.work(bytes) });
  } catch (error) {
    const code = codeOf(error);
    say(isRejectionCode(code) ? { kind: 'rejected', code } : { kind: 'failed', code });
  } finally {
    bytes.fill(0);
  }
}

function listen(workload: Workload): void {
  let header = Buffer.alloc(0);
  let picture: Buffer | undefined;
  let filled = 0;
  process.stdin.on('data', (chunk: Buffer) => {
    for (let at = 0; at < chunk.length || (picture !== undefined && filled === picture.length);) {
      if (picture === undefined) {
        const more = chunk.subarray(at, at + HEADER_LENGTH - header.length);
        header = Buffer.concat([header, more]);
        at += more.length;
        if (header.length < HEADER_LENGTH) return;
        const length = header.readUInt32BE();
        if (length > MAX_PICTURE) process.exit(1);
        [picture, filled, header] = [Buffer.alloc(length), 0, Buffer.alloc(0)];
      }
      const part = chunk.subarray(at, at + picture.length - filled);
      picture.set(part, filled);
      filled += part.length;
      at += part.length;
      if (filled < picture.length) return;
      void answer(workload, picture);
      picture = undefined;
    }
  });
}

process.stdin.on('end', () => process.exit(0));
const modelFile = process.argv[2];
try {
  const workload = await load(modelFile === undefined ? {} : { modelFile });
  listen(workload);
  say({ kind: 'ready', model: workload.model });
} catch (error) {
  say({ kind: 'unready', code: codeOf(error) });
  process.stdin.resume();
}
