/** The reviewer's rules hold for every stack of every environment, and each of the deliberate weakenings is noticed by the rule that it belongs to. */
import { describe, expect, test } from 'vitest';
import { excepted, EXCEPTIONS } from './exceptions.ts';
import { graph } from './graph.ts';
import { mutated, MUTATIONS } from './mutations.ts';
import { type Finding, findings } from './rule.ts';
import { RULES } from './rules/index.ts';
import { templates } from './template.ts';

const TODAY = new Date().toISOString().slice(0, 10);
const key = (f: Finding): string => `${f.rule} ${f.stack} ${f.address}: ${f.why}`;

describe.each(RULES.map((rule) => [rule.id, rule] as const))('%s', (_, rule) => {
  test.each(templates().map((t) => [t.stack, t] as const))(`%s: ${rule.title}`, (__, t) => {
    expect(findings([rule], templates(), (x) => x === t).filter((f) => !excepted(f, TODAY)).map(key)).toEqual([]);
  });
});

describe('weakenings', () => {
  const before = new Set(findings(RULES, templates()).map(key));

  test.each(MUTATIONS.map((m) => [m.id, m] as const))('%s is noticed', (_, mutation) => {
    const changed = mutated(mutation, templates());
    const all = templates().map((t) => (t.stack === changed.stack ? changed : t));
    const news = findings(RULES, all, (t) => t === changed).filter((f) => !before.has(key(f)));
    expect(news.filter((f) => f.rule === mutation.rule).map(key)).not.toEqual([]);
    // A weakening, not a wreck: the stack still hangs together but for what was taken away.
    expect(graph(changed).cycles).toEqual([]);
  });

  test('there are enough of them, each named once, for every rule', () => {
    expect(MUTATIONS.length).toBeGreaterThanOrEqual(60);
    expect(new Set(MUTATIONS.map((m) => m.id)).size).toBe(MUTATIONS.length);
    expect(RULES.map((r) => r.id).filter((id) => !MUTATIONS.some((m) => m.rule === id))).toEqual([]);
  });
});

test('exceptions have a reason, a day, and something that they except', () => {
  const said = findings(RULES, templates());
  for (const e of EXCEPTIONS) {
    expect(e.reason.length, e.rule).toBeGreaterThan(20);
    expect(e.expires >= TODAY, `${e.rule} ${String(e.address)} expired on ${e.expires}`).toBe(true);
    expect(said.some((f) => e.rule === f.rule && e.stack.test(f.stack) && e.address.test(f.address)), `${e.rule} ${String(e.address)} excepts nothing`).toBe(true);
  }
});
