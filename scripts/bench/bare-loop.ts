/**
 * The bare counting loop: a process that does nothing but `workload.work` on the same file, again and again. It says `ready`, and for
 * each number of milliseconds that it is sent it loops that long and answers how many pictures it counted, in how many milliseconds, and in
 * how many of CPU time.
 */
import { load } from '../../workloads/counter/workload.ts';
import { benchPicture, CATS } from './picture.ts';

const picture = await benchPicture();
const workload = await load();

export interface Looped { readonly counted: number; readonly ms: number; readonly cpuMs: number }

async function loop(ms: number): Promise<Looped> {
  const before = process.cpuUsage();
  const began = performance.now();
  let counted = 0;
  while (performance.now() - began < ms) {
    if ((await workload.work(picture)).count !== CATS) throw new Error('miscounted');
    counted++;
  }
  const { user, system } = process.cpuUsage(before);
  return { counted, ms: performance.now() - began, cpuMs: (user + system) / 1000 };
}

await loop(500);
process.on('message', (ms: number) => void loop(ms).then((answer) => process.send?.(answer)));
process.send?.('ready');
