/** What a service lends for a while (credentials, tokens), kept until shortly before it ends. One request at a time; `stale` asks anew whatever is kept. */
import type { Clock } from '../../protocol/clock.ts';

export interface Lent<T> { readonly value: T; /** Epoch ms. */ readonly endsAt: number }
export type Kept<T> = (stale: boolean) => Promise<T>;

const EARLY_MS = 300_000;

export function kept<T>(ask: () => Promise<Lent<T>>, now: Clock): Kept<T> {
  let last: Lent<T> | undefined;
  let asking: Promise<Lent<T>> | undefined;
  return async (stale) => {
    if (!stale && last !== undefined && now() < last.endsAt - EARLY_MS) return last.value;
    asking ??= ask().then((fresh) => (last = fresh)).finally(() => { asking = undefined; });
    return (await asking).value;
  };
}
