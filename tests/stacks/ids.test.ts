/**
 * Addresses of everything that is deployed are frozen: one that moves destroys and creates. `ids.txt` has a line per address, with the environments where it
 * is not in all three; `census.txt` counts by type, dev staging prod. After a wanted change: UPDATE_IDS=1 npm test -- tests/stacks/ids.test.ts
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { ENVIRONMENT_NAMES } from '../../modules/environments.ts';
import { blocks, type Template, templates } from '../rules/stacks/template.ts';

const IDS = new URL('ids.txt', import.meta.url);
const CENSUS = new URL('census.txt', import.meta.url);
const kindOf = (t: Template): string => t.stack.slice(0, -t.environment.length - 1);

function idsOf(all: readonly Template[]): string[] {
  const where = new Map<string, string[]>();
  for (const t of all) for (const { address } of blocks(t)) where.set(`${kindOf(t)} ${address}`, [...(where.get(`${kindOf(t)} ${address}`) ?? []), t.environment]);
  return [...where].map(([line, environments]) => (environments.length === ENVIRONMENT_NAMES.length ? line : `${line} ${environments.sort().join(',')}`)).sort();
}

function censusOf(all: readonly Template[]): string[] {
  const counts = new Map<string, Record<string, number>>();
  for (const t of all) {
    for (const { kind, type } of blocks(t)) {
      const key = `${kindOf(t)} ${kind === 'data' ? 'data.' : ''}${type}`;
      const row = counts.get(key) ?? {};
      row[t.environment] = (row[t.environment] ?? 0) + 1;
      counts.set(key, row);
    }
  }
  return [...counts].map(([key, row]) => `${key} ${ENVIRONMENT_NAMES.map((name) => row[name] ?? 0).join(' ')}`).sort();
}

const written = (file: URL): string[] => readFileSync(file, 'utf8').trimEnd().split('\n');
const missing = (of: readonly string[], from: readonly string[]): string[] => { const there = new Set(from); return of.filter((line) => !there.has(line)); };

if (process.env['UPDATE_IDS'] === '1') {
  writeFileSync(IDS, `${idsOf(templates()).join('\n')}\n`);
  writeFileSync(CENSUS, `${censusOf(templates()).join('\n')}\n`);
}

describe('frozen', () => {
  test('addresses: whoever moves one uses moveTo() and says so here', () => {
    const now = idsOf(templates());
    expect({ gone: missing(written(IDS), now), new: missing(now, written(IDS)) }, 'What is gone is destroyed by the next apply, with what it holds: keep the id, or resource.moveTo(). Then: UPDATE_IDS=1 npm test -- tests/stacks/ids.test.ts').toEqual({ gone: [], new: [] });
  });

  test('census: how many of each type, in each environment', () => {
    const now = censusOf(templates());
    expect({ was: missing(written(CENSUS), now), is: missing(now, written(CENSUS)) }, 'Wanted? Then: UPDATE_IDS=1 npm test -- tests/stacks/ids.test.ts').toEqual({ was: [], is: [] });
  });

  test('a renamed block is seen, in one environment too', () => {
    const [first, ...rest] = templates() as [Template, ...Template[]];
    const json = structuredClone(first.json) as { resource: Record<string, Record<string, null>> };
    const type = Object.keys(json.resource)[0] as string;
    const name = Object.keys(json.resource[type] ?? {})[0] as string;
    json.resource[type] = { ...json.resource[type], [`${name}x`]: json.resource[type]?.[name] ?? null };
    delete json.resource[type]?.[name];
    const before = idsOf(templates());
    const now = idsOf([{ ...first, json: json as never }, ...rest]);
    expect(missing(before, now)).toEqual([`${kindOf(first)} ${type}.${name}`]);
    expect(missing(now, before)).toHaveLength(2);
  });
});
