/** The page's end of the worker. */
import type { Action } from './model.ts';
import { keepSeen } from './settings.ts';
import type { FromWorker, ToWorker } from './worker-protocol.ts';

export interface Bridge { send(message: ToWorker, transfer?: Transferable[]): void; end(): void }

export function openBridge(dispatch: (action: Action) => void): Bridge {
  const worker = new Worker(new URL('./worker.ts', import.meta.url), { type: 'module', name: 'ccc' });
  worker.addEventListener('message', ({ data }: MessageEvent<FromWorker>) => {
    if (data.type === 'seen') keepSeen(data.seen);
    else dispatch(data.action);
  });
  // A worker that cannot run verifies nothing: say so instead of waiting.
  worker.addEventListener('error', () => dispatch({
    type: 'connection',
    connection: { state: 'refused', refused: { code: 'INTERNAL', title: 'The verifier of this page does not run', reasons: [{ code: 'INTERNAL', path: 'page.worker', next: 'Use a current browser, or ccc count on the command line.' }] } },
  }));
  return { send: (message, transfer = []) => worker.postMessage(message, transfer), end: () => worker.terminate() };
}
