/**
 * The bare counting loop: a process that does nothing but `workload.work` on the same file, again and again. It says `ready`, and for
 * each number of milliseconds that it is sent it loops that long and answers how many pictures it counted in how many milliseconds.
 */
import { load } from '../../workloads/counter/workload.ts';
import { benchPicture, CATS } from './picture.ts';

const picture = await benchPicture();
const workload = await load();

async function loop(ms: number): Promise<{ counted: number; ms: number }> {
  const began = performance.now();
  let counted = 0;
  while (performance.now() - began < ms) {
    if ((await workload.work(picture)).count !== CATS) throw new Error('miscounted');
    counted++;
  }
  return { counted, ms: performance.now() - began };
}

await loop(500);
process.on('message', (ms: number) => void loop(ms).then((answer) => process.send?.(answer)));
process.send?.('ready');
