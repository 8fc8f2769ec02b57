/** A part of a verification: writes into the whole's CheckList under names of its own, and knows whether its own checks failed. */
import type { CheckList, Failure } from './checks.ts';

export class Judge {
  readonly #checks: CheckList;
  readonly #prefix: string;
  failed = false;

  /** @param prefix first word of the checks' names: "SNP" makes "SNP-CHAIN-ROOT" */
  constructor(checks: CheckList, prefix: string) {
    this.#checks = checks;
    this.#prefix = prefix;
  }

  that(id: string, path: string, holds: boolean, failure: () => Failure): boolean {
    if (!holds) this.failed = true;
    return this.#checks.that(`${this.#prefix}-${id}`, path, holds, failure);
  }

  parse<T>(id: string, path: string, parser: () => T): T | undefined {
    const result = this.#checks.parse(`${this.#prefix}-${id}`, path, parser);
    if (result === undefined) this.failed = true;
    return result;
  }

  skipped(id: string, path: string): void {
    this.#checks.skipped(`${this.#prefix}-${id}`, path);
  }
}

/** For people; a time that no Date can hold is shown as it is. */
export const iso = (seconds: number): string => (Math.abs(seconds) <= 8.64e12 ? new Date(seconds * 1000).toISOString() : String(seconds));
