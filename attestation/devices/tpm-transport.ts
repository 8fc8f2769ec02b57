/**
 * How commands reach a TPM: the kernel's device (/dev/tpmrm0, with its resource manager), or the socket of swtpm, which carries the same bytes. One
 * command at a time, one answer each. Node only.
 */
import { constants, open } from 'node:fs/promises';
import { connect, type NetConnectOpts } from 'node:net';
import { type Bytes, bytes, concat } from '../bytes.ts';
import { refuse } from '../refusal.ts';

export interface TpmTransport {
  /** One command, header included, and the whole answer to it. */
  exchange(command: Bytes): Promise<Bytes>;
  close(): Promise<void>;
}

/** Tag, size, code. */
export const TPM_HEADER = 10;
/** Largest answer that the kernel passes on (TPM_BUFSIZE). */
const MAX_RESPONSE = 4096;
const DEVICE = '/dev/tpmrm0';

const reasonOf = (error: unknown): string => (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string' ? error.code : 'an error').slice(0, 40);

/** Runs what it is given one after the other, whatever becomes of each. */
function inTurn(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (work) => {
    const next = last.then(work, work);
    last = next.catch(() => {});
    return next;
  };
}

/** @throws Refusal ATTESTER_ABSENT, ATTESTER_FAILED */
export async function tpmDevice(path = DEVICE): Promise<TpmTransport> {
  const turn = inTurn();
  const handle = await open(path, constants.O_RDWR).catch((error: unknown) => refuse('ATTESTER_ABSENT', path, 'Run this on a machine with a TPM, as a user who may open the device (group tss).', { have: reasonOf(error), need: 'a TPM 2.0 device' }));
  return {
    exchange: (command) => turn(async () => {
      try {
        // The driver takes a command as one write and hands the answer over as one read
        await handle.write(command);
        const { buffer, bytesRead } = await handle.read(new Uint8Array(MAX_RESPONSE), 0, MAX_RESPONSE, null);
        return bytes(buffer.subarray(0, bytesRead));
      } catch (error) {
        return refuse('ATTESTER_FAILED', path, 'See the kernel\'s log; the TPM did not answer.', { have: reasonOf(error), need: 'an answer' });
      }
    }),
    close: () => handle.close(),
  };
}

/** @param to Unix path, or host and port @throws Refusal ATTESTER_ABSENT, ATTESTER_FAILED */
export async function tpmSocket(to: NetConnectOpts, timeoutMs = 20_000): Promise<TpmTransport> {
  const where = 'path' in to ? to.path : `${to.host ?? 'localhost'}:${to.port}`;
  const socket = connect(to);
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', () => resolve()).once('error', reject);
  }).catch((error: unknown) => refuse('ATTESTER_ABSENT', where, 'Start the software TPM, or use the device.', { have: reasonOf(error), need: 'a TPM that listens' }));
  socket.on('error', () => {});
  const turn = inTurn();
  const failed = (have: string): never => refuse('ATTESTER_FAILED', where, 'See the log of the software TPM.', { have, need: 'one whole answer per command' });
  return {
    exchange: (command) => turn(async () => {
      if (socket.destroyed) failed('a connection that ended');
      const answer = await new Promise<Bytes | string>((resolve) => {
        let [data, done] = [new Uint8Array(), false];
        const finish = (result: Bytes | string): void => {
          if (done) return;
          done = true;
          clearTimeout(timer);
          socket.off('data', onData).off('close', onClose);
          // What arrives late must never be the next command's answer
          if (typeof result === 'string') socket.destroy();
          resolve(result);
        };
        const onData = (part: Uint8Array): void => {
          data = concat(data, part);
          const size = data.length < TPM_HEADER ? undefined : new DataView(data.buffer).getUint32(2);
          if (size !== undefined && (size > MAX_RESPONSE || data.length > size)) finish(`an answer of ${data.length} bytes that says ${size}`);
          else if (data.length === size) finish(data);
        };
        const onClose = (): void => finish('a connection that ended');
        const timer = setTimeout(() => finish(`no answer within ${timeoutMs} ms`), timeoutMs);
        socket.on('data', onData).once('close', onClose);
        socket.write(command);
      });
      return typeof answer === 'string' ? failed(answer) : answer;
    }),
    close: async () => {
      if (!socket.destroyed) await new Promise<void>((resolve) => { socket.once('close', () => resolve()).destroy(); });
    },
  };
}
