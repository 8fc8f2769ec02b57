/** How far behind peers are. */
import type { Clock } from '../../protocol/clock.ts';
import { linkName, readyName } from './names.ts';
import type { Server } from './server.ts';

const MAX_MARKS = 100_000;

/**
 * Says that this cell lives, which peers see as a row, and notes where the log is now. A peer whose slot has passed a mark has everything that was
 * committed before the mark's time; so the oldest mark it has not passed tells its lag in seconds, also over restarts of this process.
 */
export async function beat(server: Server, cell: string, now: Clock): Promise<void> {
  const at = now();
  await server.query('insert into beats (cell, at) values ($1, $2) on conflict (cell) do update set at = greatest(beats.at, excluded.at)', [cell, at]);
  await server.query(`insert into replication_marks (lsn, at) values (pg_current_wal_insert_lsn(), $1) on conflict do nothing`, [at]);
  await server.query(`
    delete from replication_marks where lsn <= coalesce((select min(confirmed_flush_lsn) from pg_replication_slots where plugin = 'pgoutput' and database = current_database() and wal_status <> 'lost'), '0/0'::pg_lsn)
      or at < (select at from replication_marks order by at desc offset ${MAX_MARKS} limit 1)`);
}

export interface Outgoing {
  /** `absent`: the peer never subscribed; `down`: it is not connected; `copying`: connected, without a whole copy; `lost`: its slot was given up, it must copy anew. */
  readonly state: 'absent' | 'down' | 'copying' | 'streaming' | 'lost';
  /** Of the log that the peer has not on disk; undefined when nobody knows. */
  readonly lagBytes: number | undefined;
  /** Age of the oldest mark that it has not passed; undefined when nobody knows. */
  readonly lagSeconds: number | undefined;
}

export async function outgoing(server: Server, cell: string, peer: string, now: Clock): Promise<Outgoing> {
  const [row] = await server.query<{ status: string; active: boolean; ready: boolean; bytes: string; since: string | null }>(`
    select s.wal_status as status, s.active, w.application_name is not distinct from $2 as ready,
      greatest(pg_wal_lsn_diff(pg_current_wal_lsn(), s.confirmed_flush_lsn), 0)::bigint as bytes,
      (select min(at) from replication_marks m where m.lsn > s.confirmed_flush_lsn) as since
    from pg_replication_slots s left join pg_stat_replication w on w.pid = s.active_pid
    where s.slot_name = $1 and s.database = current_database()`, [linkName(cell, peer), readyName(cell, peer)]);
  if (row === undefined) return { state: 'absent', lagBytes: undefined, lagSeconds: undefined };
  if (row.status === 'lost') return { state: 'lost', lagBytes: undefined, lagSeconds: undefined };
  const lag = { lagBytes: Number(row.bytes), lagSeconds: row.since === null ? 0 : Math.max(0, (now() - Number(row.since)) / 1000) };
  return { state: !row.active ? 'down' : row.ready ? 'streaming' : 'copying', ...lag };
}

/** When a peer last said that it lives, by its own clock, as far as it is known here: all it committed before is here. */
export async function heardAt(server: Server, peer: string): Promise<number | undefined> {
  const [row] = await server.query<{ at: string }>('select at from beats where cell = $1', [peer]);
  return row === undefined ? undefined : Number(row.at);
}

export const conflicts = async (server: Server): Promise<number> => Number((await server.query<{ n: string }>('select count(*) as n from replication_conflicts'))[0]?.n ?? 0);

