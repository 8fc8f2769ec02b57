/** `ccc bench failover`: what a failover costs, and whether it grows with the jobs that wait. */
import { EXIT, json, note, say } from '../cli/output.ts';
import { failover, ROUNDS } from '../bench/failover.ts';
import { goalLine, section } from '../bench/figures.ts';

export interface BenchFailover { readonly jobs?: readonly number[]; readonly samples?: number; readonly drainSeconds?: number; readonly json?: boolean }

export async function benchFailover({ jobs = ROUNDS, samples, drainSeconds, json: asJson }: BenchFailover): Promise<number> {
  const measured = await failover({ rounds: jobs, ...(samples === undefined ? {} : { samples }), ...(drainSeconds === undefined ? {} : { drainSeconds }) });
  if (asJson === true) json({ ok: measured.goals.every(({ holds }) => holds), ...measured });
  else say(section(measured).join('\n'));
  const missed = measured.goals.filter(({ holds }) => !holds);
  for (const goal of missed) note(`below the goal: ${goalLine(goal)}`);
  return missed.length === 0 ? EXIT.ok : EXIT.failed;
}
