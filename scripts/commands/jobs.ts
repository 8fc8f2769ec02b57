import { cellFolder } from '../cell/folder.ts';
import { readProfile, type ProfileOptions } from '../cell/profile.ts';
import { clientApi } from '../cli/counting.ts';
import { EXIT, json, say, table } from '../cli/output.ts';

export async function jobs(options: ProfileOptions & { data?: string; state?: string; limit: number; json?: boolean }): Promise<number> {
  const folder = cellFolder(options.data);
  const { api } = await clientApi(folder, await readProfile(folder, options), { attempts: 2 });
  const list = await api.jobs({ limit: options.limit, ...(options.state === undefined ? {} : { state: options.state }) });
  if (options.json) json({ ok: true, jobs: list });
  else {
    const when = (ms: number | undefined) => (ms === undefined ? '' : new Date(ms).toISOString().replace('T', ' ').slice(0, 19));
    say(table(['job', 'state', 'code', 'attempts', 'bytes', 'accepted', 'finished'], list.map((j) => [j.job_id, j.state, j.code ?? '', String(j.attempts), String(j.size), when(j.accepted_at), when(j.finished_at)])));
  }
  return EXIT.ok;
}
