/** Requests of a holder to the observers, many tenants in one, and what becomes of the answers. */
import { Refusal } from '../../attestation/refusal.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { type EpochPromise, type EpochRules, verifyPromise } from '../protocol/epoch.ts';
import { parseJson, request } from '../protocol/http-client.ts';
import type { SigningKey } from '../protocol/jws.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import { EPOCHS_PATH, MAX_TENANTS, type ObserverAnswer, observerAnswerSchema, type ObserverRequest } from '../protocol/observer.ts';
import { paces, type Plan, type TenantAnswer } from './epochs-core.ts';

export interface Asking {
  readonly cell: string;
  readonly instance: string;
  /** The cell's key of the directory. */
  readonly key: SigningKey | undefined;
  /** Addresses of observers, by cell, where they are not those of the directory. */
  readonly observers: Readonly<Record<string, string>> | undefined;
  readonly now: Clock;
  readonly log: Log;
  /** Each answer as it comes; signatures of promises are checked. */
  readonly take: (tenant: string, observer: string, answer: TenantAnswer) => void;
}

const ANSWER_BYTES = 16 << 20;

/** @param plans by tenant */
export async function askObservers(asking: Asking, rules: EpochRules, plans: readonly (readonly [string, Plan])[]): Promise<void> {
  await Promise.all(rules.observers.map(async ({ cell: observer, url }) => {
    for (let at = 0; at < plans.length; at += MAX_TENANTS / 4) {
      const body = bodyFor(asking, observer, plans.slice(at, at + MAX_TENANTS / 4));
      if (body.ask.length + body.release.length + body.look.length === 0) continue;
      try {
        await take(asking, rules, observer, await ask(asking, rules, asking.observers?.[observer] ?? url, body));
      } catch (error) {
        asking.log.warn('observer not reached', { where: observer, ...errorFields(error) });
      }
    }
  }));
}

function bodyFor({ cell, instance }: Asking, observer: string, plans: readonly (readonly [string, Plan])[]): ObserverRequest {
  const mine = <T extends { readonly observer: string }>(tenant: string, all: readonly T[]) => all.filter((one) => one.observer === observer).map(({ observer: _, ...rest }) => ({ tenant, ...rest }));
  return {
    observer, cell, instance,
    ask: plans.flatMap(([tenant, plan]) => mine(tenant, plan.ask)),
    release: plans.flatMap(([tenant, plan]) => mine(tenant, plan.release)),
    look: plans.flatMap(([tenant, { look }]) => (look.includes(observer) ? [tenant] : [])),
  };
}

async function ask({ key, now }: Asking, rules: EpochRules, url: string, body: ObserverRequest): Promise<ObserverAnswer> {
  const proves = body.ask.length + body.release.length > 0;
  if (proves && key === undefined) throw new Error('this cell has no key to prove its requests with');
  const answer = await request(new URL(url).origin, {
    method: 'POST', path: EPOCHS_PATH, body, now: seconds(now), timeoutMs: Math.max(200, paces(rules).attempt), maxBytes: ANSWER_BYTES, ...(proves && key !== undefined ? { proof: { key: key.privateKey } } : {}),
  });
  return parseJson(observerAnswerSchema, answer);
}

async function take(asking: Asking, rules: EpochRules, observer: string, { promises, denied, views }: ObserverAnswer): Promise<void> {
  await Promise.all(promises.map(async (jws) => {
    let promise: EpochPromise;
    try {
      promise = await verifyPromise(jws, rules);
    } catch (error) {
      asking.log.warn('promise refused', { where: observer, codes: error instanceof Refusal ? error.codes : [] });
      return;
    }
    asking.take(promise.tenant, observer, { promise: { promise, jws } });
  }));
  for (const one of denied) asking.take(one.tenant, observer, { denied: one });
  for (const view of views) asking.take(view.tenant, observer, { view });
}
