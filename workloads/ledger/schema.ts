/** The tables as Kysely sees them; migrations/ makes them. Times are epoch milliseconds, JSON is text so that bytes stay as written. */
import type { JobState } from '../protocol/messages.ts';
import type { Classification, FinalState, JobEventName } from './ledger.ts';

export interface Database {
  tenants: { id: string; zone: string; created_at: number };
  api_keys: { id: string; tenant_id: string; hash: string; scopes: string[]; created_at: number; expires_at: number | null; revoked_at: number | null };
  jobs: JobsTable;
  job_events: { tenant_id: string; job_id: string; n: number; epoch: number; cell: string; event: JobEventName; at: number; detail: string | null };
  /** The job's row names the one that stands (its epoch and writer); others are superseded. `sealed` is null when there was no key to seal to. */
  results: { tenant_id: string; job_id: string; outcome: FinalState; code: string | null; sealed: string | null; session_id: string | null; epoch: number; cell: string; recorded_at: number };
  usage: { tenant_id: string; job_id: string; bytes: number; classification: Classification; at: number; epoch: number; cell: string };
  tenant_keys: { id: string; tenant_id: string; body: string; created_at: number };
  receipts: { instance: string; seq: number; jws: string; tenant_id: string; job_id: string | null; at: number };
  sessions: { id: string; role: string; evidence: string; expires_at: number; created_at: number; cell: string };
  policies: { revision: number; jws: string; at: number };
  audit: { cell: string; seq: number; prev: string; hash: string; kind: string; body: string; at: number };
  audit_heads: { cell: string; seq: number; hash: string };
  /** When each cell last said that it lives; replicated, so its age is that of the newest thing known of a peer. */
  beats: { cell: string; at: number };
  /** Not replicated, like those below: where the log was at a time. */
  replication_marks: { lsn: string; at: number };
  replication_modes: { cell: string; degraded_at: number | null; reason: string | null };
  replication_conflicts: { relation: string; key: string; at: number };
  /** Ciphertext that a peer does not have yet. */
  blob_debts: { peer: string; digest: string; since: number };
}

export interface JobsTable {
  tenant_id: string;
  job_id: string;
  state: JobState;
  code: string | null;
  message_digest: string;
  size: number;
  zone: string;
  classification: Classification;
  key_id: string;
  cell: string;
  accepted_at: number;
  finished_at: number | null;
  /** When the job may be leased: its due time while accepted, the end of its lease while leased, null once it is final. */
  due_at: number | null;
  /** The fence. Kept after completion, so that a repeated completion is known; null when nobody holds or held the job. */
  lease_token: string | null;
  session_id: string | null;
  attempts: number;
  /** Number of the last event. */
  events: number;
  /** Epoch under which, and cell by which, this row was last written. */
  epoch: number;
  writer: string;
}
