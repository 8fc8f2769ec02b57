/** A reviewer's rule over synthesized stacks, and what it says. */
import type { Block, Template } from './template.ts';

export interface Finding {
  readonly rule: string;
  readonly stack: string;
  /** Address of the block, or of what is missing. */
  readonly address: string;
  readonly why: string;
}

/** Says what is wrong with one block, or with the stack as a whole. */
export type Say = (on: Block | string, why: string) => void;

export interface Rule {
  readonly id: string;
  readonly title: string;
  check(t: Template, say: Say, all: readonly Template[]): void;
}

export function findings(rules: readonly Rule[], all: readonly Template[], only: (t: Template) => boolean = () => true): Finding[] {
  const found: Finding[] = [];
  for (const t of all) {
    if (!only(t)) continue;
    for (const rule of rules) rule.check(t, (on, why) => found.push({ rule: rule.id, stack: t.stack, address: typeof on === 'string' ? on : on.address, why }), all);
  }
  return found;
}
