/** Loops over evidence of every kind, for wherever verifiers run: this thread, worker threads, a browser. Isomorphic. */
import { ChainCache } from '../../attestation/chain-cache.ts';
import { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import { bare, type Kind, kinds } from './evidence-kinds.ts';

/** Private keys of the simulation by name, so that each loop need not make RSA keys of its own. */
export type Keys = Record<string, string>;
export const ringOf = (keys: Keys): KeyRing => new KeyRing({ get: (name) => keys[name], set: (name, value) => { keys[name] = value; } });

export type What = 'bare' | 'own' | 'cold' | 'warm';
export type Cases = Readonly<Record<What, () => Promise<unknown>>>;

/** `bare`: all signatures that it cannot do without; `own`: those that are verified every time. */
export async function casesOf(kind: Kind, ring: KeyRing): Promise<Cases> {
  const chainCache = new ChainCache();
  return { bare: await bare(kind.least, ring), own: await bare(kind.own ?? kind.least, ring), cold: () => kind.verify(kind.trust), warm: () => kind.verify({ ...kind.trust, chainCache }) };
}

/** Cases by the name of the evidence. @param now epoch seconds */
export async function loops(keys: Keys, now: number): Promise<ReadonlyMap<string, Cases>> {
  const ring = ringOf(keys);
  const out = new Map<string, Cases>();
  for (const kind of (await kinds(ring, now)).all) out.set(kind.name, await casesOf(kind, ring));
  return out;
}

const middle = (values: number[]): number => values.sort((a, b) => a - b)[Math.floor(values.length / 2)] as number;

/** Milliseconds of one call, the median of batches that run in turn: a browser's clock is too coarse for a single call. */
export async function inBatches(keys: Keys, now: number, batches: number, size: number): Promise<{ readonly name: string; readonly times: Record<What, number> }[]> {
  const out = [];
  for (const [name, cases] of await loops(keys, now)) {
    const samples: Record<What, number[]> = { bare: [], own: [], cold: [], warm: [] };
    for (let batch = -1; batch < batches; batch++) {
      for (const what of Object.keys(samples) as What[]) {
        const began = performance.now();
        for (let i = 0; i < size; i++) await cases[what]();
        if (batch >= 0) samples[what].push((performance.now() - began) / size);
      }
    }
    out.push({ name, times: { bare: middle(samples.bare), own: middle(samples.own), cold: middle(samples.cold), warm: middle(samples.warm) } });
  }
  return out;
}
