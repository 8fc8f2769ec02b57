import { modelCheck as check } from '../../workloads/detectors/check.ts';
import { EXIT, json, progress, say } from '../cli/output.ts';

export async function modelCheck(file: string | undefined, options: { json?: boolean }): Promise<number> {
  const live = progress('model');
  const verdict = await check(file, live.update);
  live.done();
  if (options.json) json(verdict);
  else for (const [key, value] of Object.entries(verdict)) say(`${key.padEnd(12)} ${typeof value === 'object' ? JSON.stringify(value) : String(value)}`);
  return verdict.ok ? EXIT.ok : EXIT.failed;
}
