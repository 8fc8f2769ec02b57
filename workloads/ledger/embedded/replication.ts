/** What an embedded server needs so that its ledger replicates: settings, a role for peers, and a few rights of the ledger's own role. */
import pg from 'pg';
import { LedgerError } from '../errors.ts';

export const PEER_ROLE = 'ccc_peer';

export const REPLICATION_SETTINGS: Readonly<Record<string, string>> = {
  wal_level: 'logical',
  max_replication_slots: '16',
  max_wal_senders: '16',
  max_worker_processes: '24',
  max_logical_replication_workers: '16',
  // A peer that is away for long must not fill the disk; beyond this it has to be copied anew.
  max_slot_wal_keep_size: '4GB',
  // How soon a subscription tries again after its peer was away.
  wal_retrieve_retry_interval: '500ms',
  // A peer that says nothing is given up and looked for again.
  wal_sender_timeout: '10s',
  wal_receiver_timeout: '10s',
  // How old a peer's word of its position may be when nothing goes there: what is not asked for would else come every ten seconds only.
  wal_receiver_status_interval: '1s',
};

/**
 * The ledger's role stays what it is, no superuser and without the attribute REPLICATION; it may make subscriptions, see how far peers are, and name
 * the standby to wait for. Peers may read its tables and decode its log, nothing else.
 * @throws LedgerError REPLICATION_SERVER before version 16: `origin = none` is not there.
 */
export async function allowReplication({ adminUrl, database, role, password }: { adminUrl: string; database: string; role: string; password: string }): Promise<void> {
  const inDatabase = new URL(adminUrl);
  inDatabase.pathname = `/${database}`;
  const client = new pg.Client({ connectionString: inDatabase.href });
  client.on('error', () => {});
  await client.connect();
  try {
    const version = Number((await client.query<{ v: string }>(`select current_setting('server_version_num') as v`)).rows[0]?.v);
    if (version < 160_000) throw new LedgerError('REPLICATION_SERVER', `Replication between cells needs PostgreSQL 16 or newer, this is ${version}.`);
    const { rowCount } = await client.query('select 1 from pg_roles where rolname = $1', [PEER_ROLE]);
    const peer = client.escapeIdentifier(PEER_ROLE);
    const own = client.escapeIdentifier(role);
    if (rowCount === 0) await client.query(`create role ${peer} login replication`);
    await client.query(`alter role ${peer} password ${client.escapeLiteral(password)}`);
    await client.query(`grant pg_create_subscription, pg_read_all_stats to ${own}`);
    await client.query(`grant set, alter system on parameter synchronous_standby_names to ${own}`);
    await client.query(`grant execute on function pg_reload_conf() to ${own}`);
  } finally {
    await client.end();
  }
}
