/** Whether a peer's copy has everything: from the rows, not from positions, for what a cell got from a third one is in no log that it could compare. */
import type { Server } from './server.ts';

const PAGE = 5_000;

/**
 * Of these tenants, those of which the peer has every job that is here, and every ciphertext that this cell still owes for a job that is open. Each page is read here first, so
 * what was committed here before the call is there.
 * @param there the peer's server
 */
export async function tenantsWhole(here: Server, there: Server, peer: string, tenants: readonly string[]): Promise<string[]> {
  const whole: string[] = [];
  for (const tenant of tenants) if (!await owes(here, peer, tenant) && await hasJobs(here, there, tenant)) whole.push(tenant);
  return whole;
}

async function hasJobs(here: Server, there: Server, tenant: string): Promise<boolean> {
  for (let after = ''; ;) {
    const mine = (await here.query<{ job_id: string }>('select job_id from jobs where tenant_id = $1 and job_id > $2 order by job_id limit $3', [tenant, after, PAGE])).map((row) => row.job_id);
    const last = mine.at(-1);
    if (last === undefined) return true;
    const [row] = await there.query<{ n: string }>('select count(*) as n from jobs where tenant_id = $1 and job_id = any($2)', [tenant, mine]);
    if (Number(row?.n) !== mine.length) return false;
    after = last;
  }
}

const owes = async (here: Server, peer: string, tenant: string): Promise<boolean> => (await here.query(`
  select 1 from blob_debts d where d.peer = $1 and exists (select 1 from jobs j where j.tenant_id = $2 and j.message_digest = d.digest and j.due_at is not null) limit 1`, [peer, tenant])).length > 0;
