/** Runbooks and the drill say the same: what a runbook tells somebody to type is what the drill types, and `ccc` knows it. */
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Command } from 'commander';
import { describe, expect, it } from 'vitest';
import { program } from '../../scripts/ccc.ts';
import { argumentsOf, type Line, LINES, Operator, RUNBOOKS, saidLast, WORDS } from '../../scripts/drill/runbook.ts';
import { SCENARIOS } from '../../scripts/drill/scenarios.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';

const FOLDER = join(ROOT, 'docs/runbooks');
const lines: readonly Line[] = LINES;
const read = (runbook: string): Promise<string> => readFile(join(FOLDER, `${runbook}.md`), 'utf8');
/** Lines to type; a command that is only named has no arguments. */
const typedIn = (text: string): string[] => [...new Set([...text.matchAll(/`(ccc [^`]+)`/g)].map(([, command]) => command as string).filter((command) => /[A-Z]{3,}|--/.test(command)))].sort();

describe('runbooks', () => {
  it('are those that there are', async () => {
    expect((await readdir(FOLDER)).sort()).toEqual(RUNBOOKS.map((name) => `${name}.md`).sort());
  });

  it.each(RUNBOOKS)('%s says what the drill types, nothing else and nothing less, and names the scenarios that do', async (runbook) => {
    const text = await read(runbook);
    const own = lines.filter((line) => line.runbook === runbook);
    expect(typedIn(text)).toEqual([...new Set(own.map(({ command }) => command))].sort());
    expect(own.length).toBeGreaterThan(0);
    const practised = text.slice(text.indexOf('Practised by'));
    for (const scenario of new Set(own.flatMap(({ scenarios }) => scenarios))) expect(practised).toContain(scenario);
  });

  it('are practised by scenarios that there are', () => {
    expect([...new Set(lines.flatMap(({ scenarios }) => scenarios))].filter((name) => name !== 'restore' && !SCENARIOS.some((one) => one === name))).toEqual([]);
  });

  it.each(lines.map(({ command }) => [command]))('ccc knows: %s', (command) => {
    const [, ...words] = command.split(' ');
    let at: Command = program();
    for (let next: Command | undefined; (next = at.commands.find((one) => one.name() === words[0])) !== undefined; words.shift()) at = next;
    expect(at.name()).not.toBe('ccc');
    expect(words.filter((word) => word.startsWith('--') && !at.options.some(({ long }) => long === word))).toEqual([]);
  });
});

describe('the operator', () => {
  const now = (): number => 0;
  const { signal } = new AbortController();

  it('puts in what words stand for, wherever they stand, and refuses those that stand for nothing', () => {
    expect(argumentsOf('ccc doctor --data FOLDER/aws', { FOLDER: '/a b' })).toEqual(['ccc', 'doctor', '--data', '/a b/aws']);
    expect(() => argumentsOf('ccc doctor --data FOLDER', {})).toThrow(/FOLDER stands for nothing/);
    for (const line of lines) expect(argumentsOf(line.command, Object.fromEntries(WORDS.map((word) => [word, 'x']))).join(' ')).not.toMatch(/[A-Z]{3,}/);
  });

  it('says what a command ended with: its error, else its last line', () => {
    expect(['failback: decide: azure\nerror HANDOVER_WAITS: Not within 60 s.\n  next: ccc cells\n', 'one\ntwo\n\n', ' \n'].map(saidLast)).toEqual(['error HANDOVER_WAITS: Not within 60 s.', 'two', undefined]);
  });

  it('says which lines of its scenario nobody typed', () => {
    const operator = new Operator({ scenario: 'broker-restart', words: {}, now, signal });
    expect(operator.left().map(({ command }) => command)).toEqual(['ccc doctor --data FOLDER/aws']);
    operator.typed.push({ at: 0, runbook: 'lost-broker', command: 'ccc doctor --data FOLDER/aws', exit: 0, seconds: 1 });
    expect(operator.left()).toEqual([]);
  });

  it('types in a process of its own, and an answer other than the runbook\'s is said', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'ccc-runbook-'));
    try {
      const [OLD, NEW] = [join(folder, 'old'), join(folder, 'new')];
      await writeFile(OLD, '{}');
      await writeFile(NEW, '{}');
      const operator = new Operator({ scenario: 'revoked-measurement', words: { OLD, NEW }, now, signal });
      // The same: nothing to put into force, and the exit code says so.
      await expect(operator.type('compromised-image', 'ccc policy diff OLD NEW')).rejects.toMatchObject({ code: 'RUNBOOK_LINE', message: expect.stringContaining('ended with 0, not 1') });
      expect(operator.typed).toMatchObject([{ command: 'ccc policy diff OLD NEW', exit: 0 }]);
      await expect(operator.typeAgain('compromised-image', 'ccc policy diff OLD NEW', 2)).rejects.toMatchObject({ code: 'RUNBOOK_LINE' });
      await writeFile(NEW, JSON.stringify({ revision: 2 }));
      await operator.typeAgain('compromised-image', 'ccc policy diff OLD NEW');
      expect(operator.typed.map(({ exit }) => exit)).toEqual([0, 0, 0, 1]);
    } finally {
      await rm(folder, { recursive: true });
    }
  }, 60_000);
});
