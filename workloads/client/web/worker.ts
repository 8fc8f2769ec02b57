/** Encrypts and verifies, off the page's thread. */
import './no-eval.ts';
import './buffer-shim.ts';
import { fromB64u } from '../../../attestation/bytes.ts';
import type { JobEvent } from '../../protocol/messages.ts';
import { createApi, type Api } from '../api.ts';
import { countPicture } from '../count.ts';
import { encryptMessage } from '../esdk-browser.ts';
import { verifyReceipt } from '../receipt.ts';
import { memorySeen } from '../seen.ts';
import { memoryJobs } from '../store.ts';
import { connect } from './connect.ts';
import type { Action, Refused } from './model.ts';
import { operatorView } from './operator.ts';
import { toRefused } from './refused.ts';
import type { Settings } from './settings.ts';
import { stepChanges } from './step-changes.ts';
import type { FromWorker, ToWorker } from './worker-protocol.ts';

const scope = globalThis as unknown as { postMessage(message: FromWorker): void; addEventListener(type: 'message', listener: (event: MessageEvent<ToWorker>) => void): void };
const post = (message: FromWorker): void => scope.postMessage(message);

interface Connected { readonly settings: Settings; readonly api: Api; readonly seen: ReturnType<typeof memorySeen> }
let connected: Connected | undefined;
/** Pictures at once: enough to keep the cell busy, few enough to keep memory small. */
const AT_ONCE = 3;
const NOT_CONNECTED: Refused = {
  code: 'BROKER_UNVERIFIED', title: 'No cell has proven itself to this page', reasons: [{ code: 'BROKER_UNVERIFIED', path: 'connection', next: 'Connect to a cell whose evidence verifies; nothing was encrypted or sent.' }],
};
const jobs = memoryJobs();
const queue: Extract<ToWorker, { type: 'count' }>[] = [];
let working = 0;

async function onConnect({ settings, seen: entries }: Extract<ToWorker, { type: 'connect' }>): Promise<void> {
  connected = undefined;
  const seen = memorySeen(entries);
  const api = createApi({ url: location.origin, apiKey: settings.apiKey });
  const connection = await connect(api, settings, seen, location.origin, Date.now);
  if (connection.state === 'verified') connected = { settings, api, seen };
  post({ type: 'seen', seen: seen.entries() });
  post({ type: 'action', action: { type: 'connection', connection } });
}

async function count({ id, picture, classification }: Extract<ToWorker, { type: 'count' }>): Promise<void> {
  const act = (action: Action): void => post({ type: 'action', action });
  act({ type: 'start', id, at: Date.now() });
  try {
    // No cell proved itself: nothing is encrypted, nothing is sent.
    if (connected === undefined) return act({ type: 'refused', id, refused: NOT_CONNECTED, at: Date.now() });
    const { settings, api, seen } = connected;
    const changes = stepChanges(id, () => performance.now());
    const counted = await countPicture({
      api: watched(api, (event) => changes.requeued(event).forEach(act)), seen, jobs, classification, esdk: { encryptMessage }, bytes: new Uint8Array(picture), ownerKey: fromB64u(settings.ownerKey),
      tenant: settings.tenant, zone: settings.zone, cell: settings.cell, audience: location.origin, now: Date.now,
      onStep: (report) => {
        changes.report(report).forEach(act);
        const operator = operatorView(report, picture.byteLength);
        if (operator !== undefined) act({ type: 'operator', id, operator });
      },
    });
    post({ type: 'seen', seen: seen.entries() });
    const { outcome, code, result, receipt } = counted;
    act({ type: 'verdict', id, verdict: { outcome, code, result, receipt }, at: Date.now() });
  } catch (error) {
    act({ type: 'refused', id, refused: toRefused(error), at: Date.now() });
  }
}

/** The same API; events that put a job back into the queue are shown on their way. */
function watched(api: Api, onRequeued: (event: JobEvent) => void): Api {
  return {
    ...api,
    async* events(...args) {
      for await (const event of api.events(...args)) {
        if (event.event === 'requeued') onRequeued(event);
        yield event;
      }
    },
  };
}

function next(): void {
  while (working < AT_ONCE) {
    const item = queue.shift();
    if (item === undefined) return;
    working++;
    void count(item).finally(() => { working--; next(); });
  }
}

async function onRecheck({ id, receipt, ownerKey }: Extract<ToWorker, { type: 'recheck' }>): Promise<void> {
  try {
    const { checks } = await verifyReceipt(receipt, fromB64u(ownerKey), Math.floor(Date.now() / 1000));
    post({ type: 'action', action: { type: 'recheck', id, recheck: { state: 'done', checks } } });
  } catch (error) {
    post({ type: 'action', action: { type: 'recheck', id, recheck: { state: 'refused', refused: toRefused(error) } } });
  }
}

scope.addEventListener('message', ({ data }) => {
  if (data.type === 'connect') void onConnect(data);
  else if (data.type === 'recheck') void onRecheck(data);
  else {
    queue.push(data);
    next();
  }
});
