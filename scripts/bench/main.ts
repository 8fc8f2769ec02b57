/** `npm run bench`: the figures of docs/figures.md, in one run of about four minutes. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { ensureDefaultModel } from '../../workloads/detectors/model.ts';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { note, say } from '../cli/output.ts';
import { bareLoops } from './bare-loops.ts';
import { benchCell } from './cell.ts';
import { counting } from './counting.ts';
import { demo } from './demo.ts';
import { evidence } from './evidence.ts';
import { failover, ROUNDS } from './failover.ts';
import { ledgerGrowth } from './failover-ledger.ts';
import { document, goalLine, section } from './figures.ts';
import { load, machine } from './machine.ts';
import { atRest, memory } from './memory.ts';
import { benchPicture } from './picture.ts';
import { pipeline } from './pipeline.ts';
import { releasing } from './release.ts';
import type { Section } from './section.ts';
import { synthesizing } from './synth.ts';
import { verifying } from './verify.ts';

const PARTS = ['counting', 'verify', 'evidence', 'cell', 'failover', 'synth', 'demo'] as const;
type Part = (typeof PARTS)[number];
const USAGE = `usage: npm run bench -- [--only ${PARTS.join('|')}]... [--quick] [--write]

  --only PART  this part only; may be given several times. cell = pipeline, release, memory
  --quick      fewer rounds: to see that it works, not to quote
  --write      write docs/figures.md
`;
const COUNTERS = 2;
const MEMORY_JOBS = 40;

/** One cell for everything that needs one. The pipeline comes last: it takes the counters away one by one. */
async function cellParts(quick: boolean, sections: Section[]): Promise<string> {
  const [picture, bare] = await Promise.all([benchPicture(), bareLoops(COUNTERS)]);
  try {
    note('starting a cell');
    const cell = await benchCell(COUNTERS);
    try {
      const resting = await atRest(cell);
      note('memory');
      sections.push(await memory(cell, resting, await cell.messages(MEMORY_JOBS, picture)));
      note('release');
      sections.push(await releasing(cell, quick ? 40 : 200));
      note('pipeline');
      sections.push(await pipeline({ cell, bare, picture, rounds: quick ? 2 : 3, secondsEach: quick ? 3 : 6 }));
      return cell.databaseVersion;
    } finally {
      await cell.close();
    }
  } finally {
    bare.stop();
  }
}

async function main(): Promise<number> {
  const { values } = parseArgs({ options: { only: { type: 'string', multiple: true }, quick: { type: 'boolean' }, write: { type: 'boolean' }, help: { type: 'boolean' } } });
  const chosen = values.only ?? PARTS;
  if (values.help === true || !chosen.every((part) => (PARTS as readonly string[]).includes(part))) {
    process.stderr.write(USAGE);
    return values.help === true ? 0 : 2;
  }
  const quick = values.quick === true;
  const wanted = (part: Part) => chosen.includes(part);
  const began = performance.now();
  const [date, loadAtStart] = [new Date().toISOString(), load()];
  const sections: Section[] = [];
  let postgres = 'not asked';

  await ensureDefaultModel(note);
  if (wanted('counting')) { note('counting'); sections.push(await counting(quick ? 30 : 150)); }
  if (wanted('verify')) { note('verifying'); sections.push(await verifying(quick ? 200 : 1000)); }
  if (wanted('evidence')) { note('evidence of every kind'); sections.push(...await evidence(quick ? 40 : 300)); }
  if (wanted('cell')) postgres = await cellParts(quick, sections);
  if (wanted('failover')) {
    note('failover');
    sections.push(await failover(quick ? { rounds: [200], samples: 20, drainSeconds: 30 } : { rounds: ROUNDS }), await ledgerGrowth(quick ? [1_000] : [1_000, 10_000, 100_000]));
  }
  if (wanted('synth')) { note('synthesis of the stacks'); sections.push(await synthesizing(quick ? 1 : 3)); }
  if (wanted('demo')) { note('demo, in a clone'); sections.push(await demo(1)); }

  const seconds = (performance.now() - began) / 1000;
  const facts = machine(postgres);
  for (const [label, value] of facts) say(`${label}: ${value}`);
  say(`load average at the start: ${loadAtStart}\n`);
  for (const one of sections) say(section(one).join('\n'));
  if (values.write === true) {
    await writeFile(join(ROOT, 'docs', 'figures.md'), document(facts, sections, { date, seconds, load: loadAtStart }));
    note('wrote docs/figures.md');
  }
  const missed = sections.flatMap((s) => s.goals).filter((g) => !g.holds);
  for (const goal of missed) note(`below the goal: ${goalLine(goal)}`);
  note(`took ${seconds.toFixed(0)} s`);
  return 0;
}

process.exit(await main());
