/** The restore drill: a cell is backed up while it works, is lost with everything that it had, and is made again in an empty folder from the backup alone. */
import { cp, mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import pg from 'pg';
import { type Bytes, bytes } from '../../attestation/bytes.ts';
import { demoPictures } from '../../workloads/detectors/pictures.ts';
import { parseCell } from '../../workloads/protocol/cell.ts';
import type { Log } from '../../workloads/protocol/log.ts';
import { useNativeCrypto } from '../../workloads/protocol/primitives-native.ts';
import { addKey, addTenant, admin, SCOPES } from '../cell/admin.ts';
import { at } from '../cell/folder.ts';
import { type RunningCell, startCell } from '../cell/start.ts';
import { backup, restore } from './backup.ts';
import { canaries, type Canary } from './canary.ts';
import { TenantClient } from './client.ts';
import { record } from './record.ts';
import { ask, type Target } from './requesters.ts';
import { Operator } from './runbook.ts';

export interface RestoreReport {
  readonly v: 'ccc-restore-report/v1';
  readonly ok: boolean;
  readonly backup: { readonly bytes: number; readonly seconds: number; readonly megabytesPerSecond: number };
  /** From the empty folder to the first verified result. */
  readonly restore: { readonly bytes: number; readonly copySeconds: number; readonly readySeconds: number; readonly megabytesPerSecond: number; readonly firstResultSeconds: number };
  readonly audit: { readonly entriesAtBackup: number; readonly entriesRestored: number; readonly verified: boolean; readonly sameHeadAtBackup: boolean };
  readonly canaries: readonly { readonly tenant: string; readonly key: string; readonly expected: 'released' | 'denied'; readonly actual: 'released' | 'denied'; readonly code?: string }[];
  /** Results read again after the restore, byte for byte. */
  readonly results: { readonly before: number; readonly same: number };
  /** Acknowledged after the backup: what a restore cannot know. */
  readonly lostSinceBackup: number;
  readonly notes: readonly string[];
}

export interface RestoreOptions { readonly folder: string; readonly log: Log; readonly signal: AbortSignal; readonly onProgress: (text: string) => void }

const TENANT = 'kept';
const ERASED = 'erased';
const JOBS = 6;
const PATIENCE_S = 60;

async function query<T extends object>(url: string, sql: string, values: unknown[] = []): Promise<T[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  return (await client.query<T>(sql, values).finally(() => client.end())).rows;
}

const targetOf = async (folder: string): Promise<Target> => ({ folder, ...await parseCell(new Uint8Array(await readFile(at(folder).cell))) });

export async function restoreDrill({ folder, log, signal, onProgress: say }: RestoreOptions): Promise<RestoreReport> {
  useNativeCrypto();
  const [first, copy, second] = [join(folder, 'cell'), join(folder, 'backup'), join(folder, 'restored')];
  await mkdir(folder, { recursive: true });
  const recorder = record(join(folder, 'history.jsonl'));
  const notes: string[] = [];
  const until = async (what: string, look: () => boolean): Promise<void> => {
    for (const end = performance.now() + PATIENCE_S * 1000; !look(); await sleep(50, undefined, { signal })) {
      if (performance.now() > end) {
        notes.push(`${what}: not within ${PATIENCE_S} s`);
        return;
      }
    }
  };
  let cell: RunningCell | undefined;
  let client: TenantClient | undefined;
  const picture: Bytes = bytes(new Uint8Array(((await demoPictures()).find(({ file }) => file === 'three-cats.jpg') ?? (await demoPictures())[0])?.bytes ?? new Uint8Array()));
  const clientFor = (of: RunningCell, tenant: string, apiKey: string): TenantClient => {
    const one = new TenantClient({
      tenant: { id: tenant, zone: 'local', tier: 'async', order: [of.cell.cell], apiKey }, cells: [{ name: of.cell.cell, url: of.url, cell: of.cell }], ownerKey: of.ownerKey, recorder, epochOf: () => of.cell.epoch, cache: join(folder, 'client'),
    });
    one.start();
    return one;
  };
  const finals = (): number => recorder.events.filter(({ kind }) => kind === 'final').length;
  const acknowledged = (): number => recorder.events.filter(({ kind }) => kind === 'acknowledged').length;
  try {
    say('starting a cell');
    cell = await startCell(first, { counters: 1, log, onProgress: say });
    for (const tenant of [TENANT, ERASED]) await addTenant(first, tenant, 'local');
    const [key, erasedKey] = await Promise.all([TENANT, ERASED].map((tenant) => addKey(first, tenant, SCOPES).then((made) => made.key))) as [string, string];
    client = clientFor(cell, TENANT, key);
    say('counting');
    await Promise.all(Array.from({ length: JOBS }, () => (client as TenantClient).send(picture)));
    await until('results before the backup', () => finals() >= JOBS);
    const known: Canary[] = [...await canaries({ cell, tenant: TENANT, apiKey: key }), ...await canaries({ cell, tenant: ERASED, apiKey: erasedKey })];
    // Erasure destroys the sealed private halves; what is left of the tenant is what the law wants kept.
    await query(cell.databaseUrl, 'delete from tenant_keys where tenant_id = $1', [ERASED]);

    say('backing up the running cell');
    const kept = await backup(first, cell.databaseUrl, copy);
    const before = await query<{ job_id: string; sealed: string }>(cell.databaseUrl, 'select job_id, sealed from results order by job_id');
    const atBackup = acknowledged();
    await Promise.all([client.send(picture), client.send(picture)]);
    const lostSinceBackup = acknowledged() - atBackup;
    await client.stop();
    // The owner's key is in no backup of a cell: its keeper brings it, since a development cell signs its own policy when it starts.
    const offline = join(folder, 'owner.jwk');
    await cp(at(first).ownerKey, offline);

    say('losing the cell with all that it had');
    await cell.stop();
    cell = undefined;
    await rm(first, { recursive: true, force: true });

    say('restoring into an empty folder');
    const began = performance.now();
    const copied = await restore(copy, second);
    await cp(offline, at(second).ownerKey);
    cell = await startCell(second, { counters: 1, log, onProgress: say });
    const readySeconds = (performance.now() - began) / 1000;
    const operator = new Operator({ scenario: 'restore', words: { FOLDER: second }, now: recorder.now, signal });
    await operator.type('restore', 'ccc doctor --data FOLDER').catch((error: unknown) => { notes.push(error instanceof Error ? error.message : 'unknown'); });
    const name = cell.cell.cell;
    const { audit } = await admin<{ audit: { ok: boolean; entries: number; head: string } }>(second, 'GET', '/status');
    const head = kept.heads[name];
    const [there] = await query<{ hash: string }>(cell.databaseUrl, 'select hash from audit where cell = $1 and seq = $2', [name, head?.seq ?? 0]);
    const after = await query<{ job_id: string; sealed: string }>(cell.databaseUrl, 'select job_id, sealed from results order by job_id');
    const target = await targetOf(second);
    const opened = [];
    for (const { tenant, keyId, wanted } of known) {
      const answer = await ask('good', { target, wanted });
      opened.push({ tenant, key: keyId, expected: tenant === ERASED ? 'denied' as const : 'released' as const, ...answer });
    }
    say('counting in the restored cell');
    client = clientFor(cell, TENANT, key);
    const counted = finals();
    await client.send(picture);
    await until('a result of the restored cell', () => finals() > counted);
    const firstResultSeconds = (performance.now() - began) / 1000;
    const same = before.filter(({ job_id, sealed }) => after.some((one) => one.job_id === job_id && one.sealed === sealed)).length;
    const sameHead = head !== undefined && there?.hash === head.hash;
    const right = opened.every(({ expected, actual }) => expected === actual) && opened.some(({ expected }) => expected === 'released') && opened.some(({ expected }) => expected === 'denied');
    const perSecond = (size: number, seconds: number): number => size / 1e6 / Math.max(seconds, 1e-3);
    return {
      v: 'ccc-restore-report/v1', ok: audit.ok && sameHead && right && same === before.length && before.length >= JOBS && notes.length === 0,
      backup: { bytes: kept.bytes, seconds: kept.seconds, megabytesPerSecond: perSecond(kept.bytes, kept.seconds) },
      restore: { bytes: copied.bytes, copySeconds: copied.seconds, readySeconds, megabytesPerSecond: perSecond(copied.bytes, copied.seconds), firstResultSeconds },
      audit: { entriesAtBackup: head?.seq ?? 0, entriesRestored: audit.entries, verified: audit.ok, sameHeadAtBackup: sameHead }, canaries: opened, results: { before: before.length, same }, lostSinceBackup, notes,
    };
  } finally {
    await client?.stop();
    await cell?.stop();
    await recorder.close().catch(() => {});
  }
}
