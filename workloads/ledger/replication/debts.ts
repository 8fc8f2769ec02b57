/**
 * Ciphertext that a peer does not have yet: a row for each until the peer has confirmed it. Noting a debt does not wait for the disk: the log is written
 * in order, so a job that was accepted after the note is on disk no sooner than the note.
 */
import type { Clock } from '../../protocol/clock.ts';
import type { Server } from './server.ts';

export interface Debts {
  owe(digest: string, peers: readonly string[]): Promise<void>;
  paid(peer: string, digests: readonly string[]): Promise<void>;
  /** The oldest first. */
  owed(peer: string, limit: number): Promise<string[]>;
  count(peer: string): Promise<number>;
}

export const openDebts = (server: Server, now: Clock): Debts => ({
  async owe(digest, peers) {
    if (peers.length === 0) return;
    await server.query(`
      insert into blob_debts (peer, digest, since) select peer, $2, $3 from unnest($1::text[]) as peer, (select set_config('synchronous_commit', 'off', true)) as no_wait
      on conflict do nothing`, [peers, digest, now()]);
  },
  async paid(peer, digests) {
    if (digests.length > 0) await server.query('delete from blob_debts where peer = $1 and digest = any($2)', [peer, digests]);
  },
  async owed(peer, limit) {
    return (await server.query<{ digest: string }>('select digest from blob_debts where peer = $1 order by since, digest limit $2', [peer, limit])).map((r) => r.digest);
  },
  async count(peer) {
    return Number((await server.query<{ n: string }>('select count(*) as n from blob_debts where peer = $1', [peer]))[0]?.n ?? 0);
  },
});
