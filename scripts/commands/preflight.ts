/** `ccc preflight <cloud> --env <env>`: everything that a first apply would stumble over, at once. Reads only. */
import { z } from 'zod';
import { type Cloud, type EnvironmentName, ENVIRONMENTS } from '../../modules/environments.ts';
import { readLock } from '../../modules/measurements.ts';
import { preflightChecks, type Check } from '../clouds/preflight-checks.ts';
import { call, spelled } from '../clouds/tool.ts';
import { EXIT, json, note, paint, say } from '../cli/output.ts';

export interface Finding { readonly check: string; readonly problem?: string; readonly next?: string; readonly command: string }

async function run(cloud: Cloud, { name, args, judge, next }: Check): Promise<Finding> {
  const command = spelled(cloud, args);
  const { ok, out, err } = await call(cloud, args);
  const wrong = (problem: string): Finding => ({ check: name, problem, next, command });
  if (!ok) return wrong(err.trim().split('\n').at(-1)?.slice(0, 300) || 'the command failed and said nothing');
  try {
    const problem = judge(out.trim() === '' ? undefined : JSON.parse(out));
    return problem === undefined ? { check: name, command } : wrong(problem);
  } catch (error) {
    if (!(error instanceof SyntaxError) && !(error instanceof z.ZodError)) throw error;
    return wrong('an answer that says nothing about it');
  }
}

/** Exit 0: nothing found; 1: problems, or no tool or login. */
export async function preflight(cloud: Cloud, options: { readonly env: EnvironmentName; readonly json?: boolean }): Promise<number> {
  const [login, ...others] = preflightChecks(cloud, ENVIRONMENTS[options.env], readLock());
  if (login === undefined) throw new TypeError('no checks');
  const first = await run(cloud, login);
  // In a wrong account all else would be about something else.
  const findings = [first, ...(first.problem === undefined ? await Promise.all(others.map((check) => run(cloud, check))) : [])];
  const problems = findings.filter(({ problem }) => problem !== undefined);
  if (options.json === true) json({ ok: problems.length === 0, cloud, environment: options.env, findings });
  else for (const { check, problem, next } of findings) {
    say(problem === undefined ? `${paint('green', 'ok')}       ${check}` : `${paint('red', 'problem')}  ${check}: ${problem}`);
    if (next !== undefined) note(`         next: ${next}`);
  }
  return problems.length === 0 ? EXIT.ok : EXIT.failed;
}
