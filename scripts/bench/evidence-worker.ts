/** A thread that verifies: says `ready`, then loops over what it is sent for so many milliseconds and answers how often a second. */
import { parentPort, workerData } from 'node:worker_threads';
import { useNativeSha256 } from '../../workloads/protocol/sha256-native.ts';
import { type Keys, loops, type What } from './evidence-loop.ts';

export interface Given { readonly keys: Keys; readonly now: number }
export interface Asked { readonly name: string; readonly what: What; readonly ms: number }

const port = parentPort;
if (port === null) throw new Error('this is a worker thread');
const { keys, now } = workerData as Given;
useNativeSha256();
const all = await loops(keys, now);

async function loop({ name, what, ms }: Asked): Promise<number> {
  const work = all.get(name)?.[what];
  if (work === undefined) throw new Error(`no such evidence: ${name}`);
  for (let i = 0; i < 30; i++) await work();
  const began = performance.now();
  let done = 0;
  while (performance.now() - began < ms) {
    await work();
    done += 1;
  }
  return (1000 * done) / (performance.now() - began);
}

port.on('message', (asked: Asked) => void loop(asked).then((perSecond) => port.postMessage(perSecond)));
port.postMessage('ready');
