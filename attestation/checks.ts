/**
 * What a verifier has carried out. Each check is recorded where it is made, so the list in an acceptance cannot name one that
 * did not run; failures are collected, so a refusal names all of them.
 */
import type { Check } from './claims.ts';
import { type Reason, Refusal, type RefusalCode } from './refusal.ts';

export interface Failure { readonly code: RefusalCode; readonly have?: string; readonly need?: string; readonly next: string }

export class CheckList {
  readonly #reasons: Reason[] = [];
  readonly #done = new Map<string, Check>();

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
    return [...this.#done.values()];
  }

  #record(id: string, path: string, result: Check['result']): void {
    const evidenceRef = path.replace(/\[\d+\]/g, '[]');
    this.#done.set(`${id} ${evidenceRef}`, { id, result, evidenceRef });
  }
}
