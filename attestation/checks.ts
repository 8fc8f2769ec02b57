/**
 * What a verifier has carried out. Each check is recorded where it is made, so the list in an acceptance cannot name one that
 * did not run; failures are collected, so a refusal names all of them.
 */
import type { Expectation } from './adapter.ts';
import { type Bytes, bytes } from './bytes.ts';
import type { Check } from './claims.ts';
import type { Evidence, Platform } from './evidence.ts';
import { printable, type Reason, Refusal, type RefusalCode, refuse } from './refusal.ts';

export interface Failure { readonly code: RefusalCode; readonly have?: string; readonly need?: string; readonly next: string }

export class CheckList {
  readonly #reasons: Reason[] = [];
  /** As they came; what is the same check of the same place is one in the end. */
  readonly #records: { readonly id: string; readonly path: string; readonly result: Check['result'] }[] = [];

  /** Records that check `id` was made of what is at `path`; `failure` is built only when it does not hold. */
  that(id: string, path: string, holds: boolean, failure: () => Failure): boolean {
    this.#record(id, path, 'pass');
    if (!holds) this.#reasons.push({ ...failure(), path });
    return holds;
  }

  /** A check that this kind of verification leaves out; appraisal lowers the tier for it. */
  skipped(id: string, path: string): void {
    this.#record(id, path, 'skipped-by-policy');
  }

  /** Runs a parser: its refusal becomes reasons of this list. */
  parse<T>(id: string, path: string, parser: () => T): T | undefined {
    this.#record(id, path, 'pass');
    try {
      return parser();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#reasons.push(...error.reasons);
      return undefined;
    }
  }

  /** What another list recorded, behind what this one has: for parts that run side by side. */
  append(other: CheckList): void {
    this.#reasons.push(...other.#reasons);
    this.#records.push(...other.#records);
  }

  get failed(): boolean {
    return this.#reasons.length > 0;
  }

  /** @throws Refusal with every failing check */
  refuseIfFailed(): void {
    if (this.failed) throw new Refusal(this.#reasons);
  }

  /** The checks of an acceptance. */
  get done(): Check[] {
    this.refuseIfFailed();
    const done = new Map<string, Check>();
    for (const { id, path, result } of this.#records) {
      const evidenceRef = path.replace(/\[\d+\]/g, '[]');
      done.set(`${id} ${evidenceRef}`, { id, result, evidenceRef });
    }
    return [...done.values()];
  }

  #record(id: string, path: string, result: Check['result']): void {
    this.#records.push({ id, path, result });
  }
}

/**
 * The verifier chose this adapter; evidence and expectation must be for it. @param prefix first word of the check's name
 * @returns a copy: the caller's buffer cannot change between check and use, and parsers see a plain Uint8Array
 */
export function checkPlatform(platform: Platform, prefix: string, evidence: Evidence, expect: Pick<Expectation, 'platform' | 'binding'>, checks: CheckList): Bytes {
  const named = [evidence.platform, expect.platform, expect.binding.platform];
  checks.that(`${prefix}-PLATFORM`, 'evidence.platform', named.every((p) => p === platform), () => ({ code: 'BINDING_PLATFORM', have: printable(named.join(', ')), need: platform, next: 'Verify the evidence with the adapter of its platform.' }));
  if (!(evidence.document instanceof Uint8Array)) refuse('FMT_FIELD', 'evidence.document', 'Hand over the document as bytes.', { have: typeof evidence.document, need: 'bytes' });
  return bytes(evidence.document);
}
