/** Encrypts and verifies, off the page's thread. */
import './buffer-shim.ts';
import { fromB64u } from '../../../attestation/bytes.ts';
import { createApi, type Api } from '../api.ts';
import { verifyReceipt } from '../receipt.ts';
import { memorySeen } from '../seen.ts';
import { connect } from './connect.ts';
import { toRefused } from './refused.ts';
import type { Settings } from './settings.ts';
import type { FromWorker, ToWorker } from './worker-protocol.ts';

const scope = globalThis as unknown as { postMessage(message: FromWorker): void; addEventListener(type: 'message', listener: (event: MessageEvent<ToWorker>) => void): void };
const post = (message: FromWorker): void => scope.postMessage(message);

interface Connected { readonly settings: Settings; readonly api: Api; readonly seen: ReturnType<typeof memorySeen> }
let connected: Connected | undefined;

async function onConnect({ settings, seen: entries }: Extract<ToWorker, { type: 'connect' }>): Promise<void> {
  connected = undefined;
  const seen = memorySeen(entries);
  const api = createApi({ url: location.origin, apiKey: settings.apiKey });
  const connection = await connect(api, settings, seen, location.origin, Date.now);
  if (connection.state === 'verified') connected = { settings, api, seen };
  post({ type: 'seen', seen: seen.entries() });
  post({ type: 'action', action: { type: 'connection', connection } });
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
});
