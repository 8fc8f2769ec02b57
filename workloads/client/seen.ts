/**
 * The highest revision seen, so that a hostile gateway cannot show an old, once valid document. Same number, other bytes is a fork and
 * refused likewise. What is stored is public; losing it loses only the memory.
 */
import { refuse, type RefusalCode } from '../../attestation/refusal.ts';

export interface SeenStore {
  get(key: string): Promise<string | undefined>;
  set(key: string, value: string): Promise<void>;
}

export function memorySeen(entries: Iterable<readonly [string, string]> = []): SeenStore & { entries(): [string, string][] } {
  const map = new Map<string, string>(entries);
  return { get: async (key) => map.get(key), set: async (key, value) => void map.set(key, value), entries: () => [...map] };
}

export interface Mark { readonly key: string; readonly number: number; readonly digest: string; readonly code: RefusalCode }

/** @throws Refusal with the mark's code */
export async function checkMark(seen: SeenStore, { key, number, digest, code }: Mark): Promise<void> {
  const value = await seen.get(key);
  if (value === undefined) return;
  const stored = /^(\d+) (.+)$/.exec(value);
  // Damaged is not empty: what was seen is unknown, so nothing can be said to be newer.
  if (stored === null) return refuse(code, key, 'The memory of what was seen is damaged. If you know how, delete what this client has seen.', { have: 'no number and digest' });
  const highest = Number(stored[1]);
  if (number < highest || (number === highest && digest !== stored[2])) {
    refuse(code, key, 'An older or another document than one seen before: somebody replays it. If the owner really began anew, delete what this client has seen.', {
      have: `${number} ${digest}`, need: number < highest ? `at least ${highest}` : `${highest} ${stored[2]}`,
    });
  }
}

/** Only after everything else held: a refused document must not raise the bar. */
export async function keepMark(seen: SeenStore, { key, number, digest }: Mark): Promise<void> {
  const highest = Number(/^(\d+) /.exec((await seen.get(key)) ?? '')?.[1] ?? -1);
  if (number > highest) await seen.set(key, `${number} ${digest}`);
}
