/** Starts bare counting loops, one process each, and lets some of them run at once. */
import { type ChildProcess, fork } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Looped } from './bare-loop.ts';

export interface BareLoops {
  /** Pictures a second of the first `count` processes together, and CPU milliseconds a picture. */
  run(count: number, ms: number): Promise<{ readonly perSecond: number; readonly cpuMs: number }>;
  stop(): void;
}

const answer = <T>(child: ChildProcess): Promise<T> => new Promise((done, failed) => {
  child.once('message', (value) => done(value as T));
  child.once('exit', () => failed(new Error('a bare counting loop ended')));
});

export async function bareLoops(count: number): Promise<BareLoops> {
  const children = Array.from({ length: count }, () => fork(fileURLToPath(new URL('./bare-loop.ts', import.meta.url)), { stdio: 'inherit' }));
  const stop = () => { for (const child of children) child.kill('SIGKILL'); };
  try {
    await Promise.all(children.map((child) => answer<string>(child)));
  } catch (error) {
    stop();
    throw error;
  }
  return {
    stop,
    async run(several, ms) {
      const answers = await Promise.all(children.slice(0, several).map((child) => {
        const said = answer<Looped>(child);
        child.send(ms);
        return said;
      }));
      const sum = (of: (a: Looped) => number) => answers.reduce((total, a) => total + of(a), 0);
      return { perSecond: sum((a) => (1000 * a.counted) / a.ms), cpuMs: sum((a) => a.cpuMs) / sum((a) => a.counted) };
    },
  };
}
