/** `ccc bootstrap-state <cloud> --env <env>`: the store of the states, once. Each step asks whether it is done, so that running it again changes nothing. */
import { type Cloud, type EnvironmentName, ENVIRONMENTS } from '../../modules/environments.ts';
import { EXIT, json, note, say, UserError } from '../cli/output.ts';
import { stateSteps } from '../clouds/state-steps.ts';
import { call, spelled } from '../clouds/tool.ts';

export async function bootstrapState(cloud: Cloud, options: { readonly env: EnvironmentName; readonly dryRun?: boolean; readonly json?: boolean }): Promise<number> {
  const steps = stateSteps(cloud, ENVIRONMENTS[options.env]);
  if (options.dryRun === true) {
    for (const { make } of steps) say(spelled(cloud, make));
    return EXIT.ok;
  }
  const done: { step: string; made: boolean }[] = [];
  for (const { name, exists, make } of steps) {
    const there = exists !== undefined && (await call(cloud, exists)).ok;
    if (!there) {
      const { ok, err } = await call(cloud, make);
      if (!ok) throw new UserError('STATE_STORE', `${name}: ${err.trim().split('\n').at(-1)?.slice(0, 300) ?? ''}`, `Run by hand: ${spelled(cloud, make)}`);
    }
    done.push({ step: name, made: !there });
    if (options.json !== true) note(`${there ? 'there' : 'done '}  ${name}`);
  }
  if (options.json === true) json({ ok: true, cloud, environment: options.env, steps: done });
  return EXIT.ok;
}
