/** The figures as Markdown and as text. */
import type { Goal, Section } from './section.ts';

const row = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`;
const table = (head: readonly string[], rows: readonly (readonly string[])[]): string[] => [row(head), row(head.map(() => '---')), ...rows.map(row)];

export const goalLine = ({ what, have, need, holds }: Goal): string => `${what}: ${have.toFixed(2)}, goal ${need}: ${holds ? 'reached' : 'not reached'}`;

export function section(s: Section): string[] {
  return [
    `## ${s.title}`, '', ...s.about, '', ...table(s.head, s.rows), '',
    ...(s.more === undefined ? [] : [...table(s.more.head, s.more.rows), '']),
    ...s.goals.map((g) => `- ${goalLine(g)}`), ...(s.goals.length > 0 ? [''] : []),
    `Load average when it was done: ${s.load}.`, '',
  ];
}

export function document(facts: readonly (readonly [string, string])[], sections: readonly Section[], about: { readonly date: string; readonly seconds: number; readonly load: string }): string {
  return [
    '# Figures', '',
    `Written by \`npm run bench -- --write\`, which took ${Math.round(about.seconds)} s on ${about.date}. What is compared ran in turn, so that other load on the machine hit both sides.`, '',
    ...table(['', ''], facts), '',
    `Load average at the start: ${about.load}. A machine with other work on it gives worse figures, ratios least of all.`, '',
    ...sections.flatMap(section),
  ].join('\n').trimEnd().concat('\n');
}
