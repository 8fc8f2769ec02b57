/** One observer: requests of the deployment's gateways in, signed promises out. Proof first, then the decision on disk, then signatures. */
import { b64u, fromB64u } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import { jsonRoute, type Route } from '../broker/http.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import type { DirectoryInForce } from '../protocol/directory-source.ts';
import { type EpochRules, signPromise } from '../protocol/epoch.ts';
import type { SigningKey } from '../protocol/jws.ts';
import type { Log } from '../protocol/log.ts';
import { EPOCHS_PATH, type ObserverAnswer, observerRequestSchema } from '../protocol/observer.ts';
import { JtiStore, verifyPop } from '../protocol/pop.ts';
import { observe } from './core.ts';
import type { Store } from './store.ts';

export interface ObserverOptions {
  /** Its cell. */
  readonly name: string;
  readonly key: SigningKey;
  /** Asked for each request. */
  readonly directory: () => Promise<DirectoryInForce>;
  readonly store: Store;
  readonly now: Clock;
  readonly log: Log;
}

/** 10,000 tenants of 63 letters. */
const MAX_BODY = 2 << 20;

export function observerRoutes({ name, key, directory, store, now, log }: ObserverOptions): Readonly<Record<string, Route>> {
  const seen = new JtiStore();
  const rulesNow = async (): Promise<EpochRules> => {
    const { rules } = await directory();
    const listed = rules?.observers.find(({ cell }) => cell === name);
    if (rules === undefined || listed === undefined || listed.key !== keyText(key)) {
      return refuse('EPOCH_OBSERVER', 'directory.cells', 'The owner lists this observer with its key in the cell directory.', { have: listed?.key ?? 'not listed', need: keyText(key) });
    }
    return rules;
  };

  return {
    '/v1/health': {
      method: 'GET', maxBody: 0,
      async handle() {
        await rulesNow();
        await store.read([]);
        return { ok: true, observer: name };
      },
    },
    [EPOCHS_PATH]: jsonRoute(observerRequestSchema, MAX_BODY, async ({ input, body, header }): Promise<ObserverAnswer> => {
      const rules = await rulesNow();
      if (input.observer !== name) refuse('EPOCH_OBSERVER', 'observer', 'Send each observer a request of its own.', { have: input.observer, need: name });
      if (input.ask.length + input.release.length > 0) {
        const cellKey = rules.cellKey(input.cell) ?? refuse('EPOCH_CELL', 'cell', 'The owner lists the cell and its key in the directory.', { have: input.cell });
        await verifyPop({ pop: header('ccc-pop') ?? '', publicKey: fromB64u(cellKey), method: 'POST', path: EPOCHS_PATH, body, now: seconds(now), seen });
      }
      const tenants = [...new Set([...input.ask, ...input.release].map(({ tenant }) => tenant).concat(input.look))];
      const config = { name, rules };
      // The time is read once the rows are locked: nothing that was decided before is decided later.
      const { promises, denied, views } = input.ask.length + input.release.length > 0
        ? await store.decide(tenants, (rows) => observe(config, rows, input, now()))
        : observe(config, await store.read(tenants), input, now()).answer;
      if (denied.length + input.release.length > 0) log.info('epochs', { cell: input.cell, codes: [...new Set(denied.map(({ code }) => code))] });
      return { promises: await Promise.all(promises.map((promise) => signPromise(promise, key.privateKey))), denied: [...denied], views: views.map((view) => ({ ...view, leftMs: Math.ceil(view.leftMs) })) };
    }),
  };
}

const keyText = ({ publicKey }: SigningKey): string => b64u(publicKey);
