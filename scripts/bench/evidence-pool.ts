/** Verification by one worker thread and by one for each core, against bare signatures by as many. */
import { availableParallelism } from 'node:os';
import { Worker } from 'node:worker_threads';
import type { Keys, What } from './evidence-loop.ts';
import type { Asked, Given } from './evidence-worker.ts';
import { load } from './machine.ts';
import { ratio, type Section } from './section.ts';

const answer = <T>(worker: Worker): Promise<T> => new Promise((done, failed) => {
  worker.once('message', (value: T) => { worker.off('error', failed); done(value); });
  worker.once('error', failed);
});

/** @param ms of each loop */
export async function evidencePool(names: readonly string[], keys: Keys, now: number, ms: number): Promise<Section> {
  const cores = availableParallelism();
  const given: Given = { keys, now };
  const workers = Array.from({ length: cores }, () => new Worker(new URL('./evidence-worker.ts', import.meta.url), { workerData: given }));
  try {
    await Promise.all(workers.map((worker) => answer(worker)));
    const run = async (name: string, what: What, threads: number): Promise<number> => {
      const rates = await Promise.all(workers.slice(0, threads).map((worker) => {
        const said = answer<number>(worker);
        worker.postMessage({ name, what, ms } satisfies Asked);
        return said;
      }));
      return rates.reduce((sum, rate) => sum + rate, 0);
    };
    const rows: string[][] = [];
    for (const name of names) {
      const [ownOne, warmOne, ownAll, warmAll] = [await run(name, 'own', 1), await run(name, 'warm', 1), await run(name, 'own', cores), await run(name, 'warm', cores)];
      rows.push([name, ownOne.toFixed(0), warmOne.toFixed(0), ratio(ownOne / warmOne), ownAll.toFixed(0), warmAll.toFixed(0), ratio(ownAll / warmAll), ratio(warmAll / warmOne)]);
    }
    return {
      title: 'Verifying evidence by a pool of threads',
      about: [
        `Verifications a second, warm, by one worker thread and by ${cores}, each doing one after the other; beside them the signatures of the evidence itself, bare, by as many threads.`,
        'WebCrypto has threads of its own, shared by all workers, so that one thread uses more than one core already. No process of a cell has such a pool.',
      ],
      head: ['evidence', '1 thread: own signatures/s', 'warm/s', 'cost, own = 1', `${cores} threads: own signatures/s`, 'warm/s', 'cost, own = 1', `warm, ${cores} threads / 1`],
      rows, goals: [], load: load(),
    };
  } finally {
    await Promise.all(workers.map((worker) => worker.terminate()));
  }
}
