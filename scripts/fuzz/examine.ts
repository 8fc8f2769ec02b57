/** One case: refused, or the very same claims; nothing else thrown; in time. */
import type { Bytes } from '../../attestation/bytes.ts';
import type { CorpusFile } from '../../attestation/corpus/judge.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { seen, type Subject } from './corpus.ts';

/** Milliseconds that no case may take. */
export const LIMIT_MS = 50;
const TRIES = 4;
/** What takes longer by the clock is run again and measured in the processor's time. */
const SUSPECT_MS = 10;

export type Outcome = 'refused' | 'same' | 'less' | 'other' | 'error' | 'slow';
export interface Result { readonly outcome: Outcome; readonly ms: number; readonly detail?: string }

/** Nothing signs these by themselves: other bytes are another log, which the registers of a quote or a TD have to vouch for. */
const SELF_MADE: ReadonlySet<string> = new Set(['event-log']);
/** Several signed quotes side by side: without one of them the others still hold. */
const SEVERAL: ReadonlySet<string> = new Set(['go-tpm-tools-attestation-pb']);

/** A busy machine makes anything slow: what takes more than the limit of the processor's time, every time, is slow. */
async function timed<T>(work: () => T | Promise<T>): Promise<{ value: T; ms: number }> {
  const began = performance.now();
  const value = await work();
  let best = performance.now() - began;
  for (let n = 1; best > SUSPECT_MS && n < TRIES; n++) {
    const cpu = process.cpuUsage();
    await work();
    const { user, system } = process.cpuUsage(cpu);
    best = Math.min(best, (user + system) / 1000);
  }
  return { value, ms: best };
}

const detailOf = (error: unknown): string => (error instanceof Error ? (error.stack ?? error.message).slice(0, 2000) : String(error));

/** What good collateral adds. Without it a list is `unchecked` and the second verdict is not there or `invalid`: that is a refusal too. */
const lost = (claims: string): string => claims.replace(/"revocation":"(?:good|unchecked)"/, '').replace(/,"verdictWithCollateral":"(?:valid|invalid)"/, '');

/** Kinds that bring an event log along, which nothing signs: an event whose data is no longer the measured one tells nothing, and its fact is `null`. */
const WITH_LOG: ReadonlyMap<string, RegExp> = new Map([['go-tpm-tools-attestation-pb', /(?<="technology":)"[^"]*"/]]);

/** @param companions changed ones, beside the vector as it is */
export async function examineVector({ vector, judge, claims }: Subject, data: Bytes, companions?: readonly CorpusFile[]): Promise<Result> {
  const began = performance.now();
  try {
    const { value, ms } = await timed(() => judge({ ...vector, bytes: data, ...(companions === undefined ? {} : { companions }) }));
    if (ms > LIMIT_MS) return { outcome: 'slow', ms, detail: `${ms.toFixed(1)} ms` };
    if (value.verdict === 'invalid') return value.codes.length > 0 && !value.codes.includes('INTERNAL') ? { outcome: 'refused', ms } : { outcome: 'error', ms, detail: `codes: ${value.codes.join(' ')}` };
    const have = seen(value);
    if (companions !== undefined && have !== claims && lost(have) === lost(claims) && value.verdictWithCollateral !== 'valid') return { outcome: 'refused', ms };
    const fact = WITH_LOG.get(vector.kind);
    if (fact !== undefined && have !== claims && have === claims.replace(fact, 'null')) return { outcome: 'less', ms };
    return have === claims ? { outcome: 'same', ms } : { outcome: 'other', ms, detail: `expected ${claims}\nhave     ${have}` };
  } catch (error) {
    return { outcome: 'error', ms: performance.now() - began, detail: detailOf(error) };
  }
}

/** A parser: what it returns is not judged, only how it fails and how long it takes. */
export async function examineReader(read: (data: Bytes) => void, data: Bytes): Promise<Result> {
  const began = performance.now();
  try {
    const { value, ms } = await timed(() => {
      try {
        read(data);
        return 'same' as const;
      } catch (error) {
        if (error instanceof Refusal) return 'refused' as const;
        throw error;
      }
    });
    return ms > LIMIT_MS ? { outcome: 'slow', ms, detail: `${ms.toFixed(1)} ms` } : { outcome: value, ms };
  } catch (error) {
    return { outcome: 'error', ms: performance.now() - began, detail: detailOf(error) };
  }
}

/** @param whole a part of its own was dropped, doubled or moved, rather than a byte changed */
export const isFinding = (outcome: Outcome, kind: string, whole: boolean): boolean => outcome === 'error' || outcome === 'slow' || (outcome === 'other' && !SELF_MADE.has(kind) && !(whole && SEVERAL.has(kind)));
