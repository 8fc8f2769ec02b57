/** Two gateways that both believe to be primary, with real observers: exactly one makes progress per tenant, and whoever slept makes none. */
import { spawn } from 'node:child_process';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { b64u, fromB64u, randomBytes, text } from '../../attestation/bytes.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { signGrant } from '../../workloads/protocol/epoch.ts';
import { type KeyManifest, type TenantKey } from '../../workloads/protocol/messages.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { EPOCHS_PATH, type ObserverAnswer } from '../../workloads/protocol/observer.ts';
import { openStore } from '../../workloads/observer/store.ts';
import { CELLS, LEASE_SECONDS, type Observers, startObservers, until } from './cells.ts';
import { bearer, contextOf, makeWorld, messageFor, octets, owner, type World } from './fixture.ts';

let observers: Observers;
let aws: World;
let azure: World;
const keys = new Map<string, { tenantKey: TenantKey; apiKey: string }>();
const TENANTS = ['acme', 'globex', 'initech', 'umbrella'];

async function prepare(world: World): Promise<void> {
  for (const id of TENANTS) keys.set(`${world.cell.cell} ${id}`, { tenantKey: await world.tenant(id), apiKey: (await world.apiKey(id)).key });
}
const of = (world: World, tenant: string) => keys.get(`${world.cell.cell} ${tenant}`) as { tenantKey: TenantKey; apiKey: string };

async function submit(world: World, tenant: string) {
  const { tenantKey, apiKey } = of(world, tenant);
  const context = contextOf({ tenant_id: tenant });
  const message = await messageFor(tenantKey, context);
  return { message, jobId: context.job_id, response: await world.gateway.public.inject({ method: 'POST', url: '/v1/jobs', headers: octets(apiKey), payload: Buffer.from(message) }) };
}
const holders = async (tenant: string) => (await Promise.all([aws, azure].map(async (world) => ((await world.gateway.epochs.status()).some((one) => one.tenant === tenant) ? [world] : [])))).flat();
const holderOf = (tenant: string): Promise<World> => until(async () => { const [world, ...more] = await holders(tenant); return more.length === 0 && world; });
/** By a cell that holds the tenant, and does so again where this machine was too slow for a renewal. */
const served = (world: World, tenant: string) => until(async () => { const sent = await submit(world, tenant); return sent.response.statusCode === 202 && sent; });

beforeAll(async () => {
  observers = await startObservers();
  // Each believes to be first.
  [aws, azure] = await Promise.all(['aws', 'azure'].map(async (cell) => makeWorld({ healthMs: 200 }, { cell, key: observers.keys[cell] as never, directory: await observers.directory(cell) }))) as [World, World];
  await Promise.all([aws, azure].map(prepare));
});
afterAll(async () => {
  await Promise.all([aws, azure].map((world) => world?.close()));
  await observers?.close();
});

describe('without its epoch', () => {
  it('a cell accepts nothing, shows no keys, and says why', async () => {
    const { response } = await submit(aws, 'acme');
    expect([response.statusCode, response.json<{ code: string }>().code]).toEqual([503, 'EPOCH_ABSENT']);
    const manifest = await aws.gateway.public.inject({ method: 'POST', url: '/v1/key-manifest', headers: bearer(of(aws, 'acme').apiKey), payload: { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'x' } });
    expect(manifest.json<{ code: string }>().code).toBe('EPOCH_ABSENT');
    const counter = await aws.counter();
    await counter.register();
    expect((await counter.call('POST', '/internal/v1/lease', { max: 4, wait_ms: 0 })).json()).toEqual({ jobs: [], lease_ms: 30_000 });
  });

  it('the broker gives none, whoever asks it', async () => {
    const asked = { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'x', tenant_id: 'acme' };
    const response = await fetch(`http://127.0.0.1:${aws.cell.broker.port}/v1/manifest`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(asked) });
    expect(((await response.json()) as { code: string }).code).toBe('EPOCH_ABSENT');
  });
});

/** A holder that has just taken over, as after a renewal that came late, leases a moment later than it accepts. */
const leaseOf = (counter: Awaited<ReturnType<World['counter']>>, jobId: string) => until(async () => {
  const leased = (await counter.call('POST', '/internal/v1/lease', { max: 64, wait_ms: 0 })).json();
  const job = leased.jobs?.find((one: { job_id: string }) => one.job_id === jobId);
  return job !== undefined && { leased, job };
});

describe('two gateways that both believe to be primary', () => {
  it('exactly one of them works for a tenant', async () => {
    for (const world of [aws, azure]) world.gateway.epochs.start();
    await until(async () => (await Promise.all(TENANTS.map(holders))).every((found) => found.length === 1));
    for (const tenant of TENANTS) {
      // A machine that is busy may miss a renewal, and then none of them works for a moment: never both.
      const outcomes = await until(async () => {
        const both = await Promise.all([aws, azure].map(async (world) => (await submit(world, tenant)).response));
        const count = both.filter(({ statusCode }) => statusCode === 202).length;
        expect(count).toBeLessThan(2);
        return count === 1 && both;
      });
      expect(outcomes.find(({ statusCode }) => statusCode !== 202)?.json<{ code: string }>().code).toMatch(/^EPOCH_/);
      // Once it has heard from the observers, the other one names the cell to go to.
      const holder = await holderOf(tenant);
      const refused = await until(async () => {
        const answer = (await submit(holder === aws ? azure : aws, tenant)).response.json<{ code: string; reasons: { need?: string }[] }>();
        return answer.code === 'EPOCH_FENCED' && answer;
      });
      expect(refused).toMatchObject({ reasons: [{ need: holder.cell.cell }] });
    }
  });

  it('the holder\'s counter leases, and has the key released by the broker, which judges the promises itself; manifest and receipt carry the epoch', async () => {
    const holder = await holderOf('acme');
    const { message, jobId } = await served(holder, 'acme');
    const counter = await holder.counter();
    await counter.register();
    const { leased, job } = await leaseOf(counter, jobId);
    const items = [{ tenant_id: 'acme', job_id: jobId, header: b64u(parseMessage(message).header) }];
    const released = (await counter.call('POST', '/internal/v1/release', { items, epochs: leased.epochs })).json();
    expect(released.items[0].ok).toBe(true);
    const { epoch } = (await holder.gateway.epochs.status()).find(({ tenant }) => tenant === 'acme') as { epoch: number };
    expect(JSON.parse(text(fromB64u(released.items[0].receipt.split('.')[1])))).toMatchObject({ operation: 'released', epoch });

    // The gateway serves; what the broker is shown is another matter.
    const codes = async (epochs: unknown) => (await counter.call('POST', '/internal/v1/release', { items, ...(epochs === undefined ? {} : { epochs }) })).json().items[0].problem.code;
    expect(await codes(undefined)).toBe('EPOCH_ABSENT');
    expect(await codes([{ ...leased.epochs.find((one: { tenant_id: string }) => one.tenant_id === 'acme'), promises: leased.epochs[0].promises.slice(0, 1) }])).toMatch(/EPOCH_(QUORUM|TENANT)/);
    const forged = await generateSigningKey();
    expect(await codes([{ tenant_id: 'acme', promises: await Promise.all(CELLS.map((cell) => signJws('ccc-epoch-promise+jws', { tenant: 'acme', cell: holder.cell.cell, epoch: 99, instance: 'i', observer: cell, iat: Date.now() / 1000, exp: Date.now() / 1000 + 1 }, forged.privateKey, { kid: cell }))) }])).toBe('EPOCH_SIGNATURE');

    const manifest = await holder.gateway.public.inject({ method: 'POST', url: '/v1/key-manifest', headers: bearer(of(holder, 'acme').apiKey), payload: { challenge_id: b64u(randomBytes(16)), nonce: b64u(randomBytes(32)), audience: 'x' } });
    const seen = JSON.parse(text(fromB64u(manifest.json<{ manifest: string }>().manifest))) as KeyManifest;
    expect([seen.epoch, seen.directory_revision, (seen.epoch_until ?? 0) > Date.now() / 1000 - 1]).toEqual([epoch, 1, true]);

    const beat = (await counter.call('POST', '/internal/v1/heartbeat', { jobs: [{ tenant_id: 'acme', job_id: jobId, lease_token: job.lease_token }] })).json();
    expect([beat.lost, beat.epochs.length]).toEqual([[], 1]);
    const done = (await counter.call('POST', '/internal/v1/complete', { jobs: [{ tenant_id: 'acme', job_id: jobId, lease_token: job.lease_token, outcome: 'failed', code: 'TEST' }] })).json();
    expect(done).toEqual({ jobs: [{ job_id: jobId, recorded: true, state: 'failed' }] });
  });

  it('given back for the other, that one has it; the first serves nothing more', async () => {
    const holder = await holderOf('globex');
    const other = holder === aws ? azure : aws;
    const response = await holder.gateway.admin.inject({ method: 'POST', url: '/epochs/give-back', payload: { tenants: ['globex'], to: other.cell.cell } });
    expect(response.statusCode).toBe(204);
    expect((await submit(holder, 'globex')).response.statusCode).not.toBe(202);
    await until(async () => (await holders('globex'))[0] === other);
    await served(other, 'globex');
    await until(async () => (await submit(holder, 'globex')).response.json<{ code: string }>().code === 'EPOCH_FENCED');
  });

  it('an observer that restarts from its database, even the second of three, changes nothing; with two gone everything stops; with one and the owner\'s grant it goes on', async () => {
    const holder = await holderOf('initech');
    const before = (await holder.gateway.epochs.status()).find(({ tenant }) => tenant === 'initech')?.epoch as number;
    await observers.stop('gcp');
    await observers.start('gcp');
    await observers.stop('azure');
    await until(async () => ((await holder.gateway.epochs.status()).find(({ tenant }) => tenant === 'initech')?.until ?? 0) > Date.now() + (LEASE_SECONDS - 1) * 1_000);
    await served(holder, 'initech');
    await observers.stop('gcp');
    await until(async () => (await holders('initech')).length === 0);
    expect((await submit(holder, 'initech')).response.statusCode).toBe(503);

    const now = Date.now() / 1000;
    const grant = (by = owner) => signGrant({ deployment: 'test', tenant: 'initech', cell: holder.cell.cell, epoch: before + 1_000, iat: now, exp: now + 600 }, by.privateKey);
    const give = async (jws: string) => holder.gateway.admin.inject({ method: 'POST', url: '/epochs/grant', payload: { grant: jws } });
    expect((await give(await grant(await generateSigningKey()))).json<{ code: string }>().code).toBe('EPOCH_SIGNATURE');
    expect((await give(await grant())).statusCode).toBe(204);
    await until(async () => (await holders('initech'))[0] === holder);
    expect((await holder.gateway.epochs.status()).find(({ tenant }) => tenant === 'initech')?.epoch).toBe(before + 1_000);
    await served(holder, 'initech');
    await observers.start('gcp');
    await observers.start('azure');
  });
});

describe('an observer', () => {
  it('promises nothing without the proof of a cell of the directory, nor what was meant for another observer', async () => {
    const url = observers.urls['gcp'] as string;
    const body = { observer: 'gcp', cell: 'aws', instance: 'x', ask: [{ tenant: 'nobody', epoch: 1 }], release: [], look: [] };
    const post = async (change: object, key?: CryptoKey): Promise<{ code?: string } & Partial<ObserverAnswer>> => {
      const payload = JSON.stringify({ ...body, ...change });
      const pop: Record<string, string> = key === undefined ? {} : { 'ccc-pop': await makePop({ key, method: 'POST', path: EPOCHS_PATH, body: new TextEncoder().encode(payload), now: Math.floor(Date.now() / 1000) }) };
      return (await fetch(url + EPOCHS_PATH, { method: 'POST', headers: { 'content-type': 'application/json', ...pop }, body: payload })).json() as never;
    };
    const key = observers.keys['aws']?.privateKey as CryptoKey;
    expect((await post({})).code).toBe('POP_INVALID');
    expect((await post({}, observers.keys['azure']?.privateKey)).code).toBe('POP_INVALID');
    expect((await post({ cell: 'mars' }, key)).code).toBe('EPOCH_CELL');
    expect((await post({ observer: 'aws' }, key)).code).toBe('EPOCH_OBSERVER');
    expect((await post({ ask: [], look: ['nobody'] })).views).toEqual([{ tenant: 'nobody', epoch: 0, leftMs: 0, released: false }]);
    expect((await post({ ask: Array.from({ length: 10_001 }, (_, i) => ({ tenant: `t${i}`, epoch: 1 })) }, key)).code).toBe('VALIDATION');
    const many = await post({ ask: Array.from({ length: 1_000 }, (_, i) => ({ tenant: `t${i}`, epoch: 1 })) }, key);
    expect(many.promises).toHaveLength(1_000);
  });

  it('whose database is not that of its key refuses to start', async () => {
    const open = (cell: string, of: string, fresh: boolean) => openStore({ url: observers.databases[cell] as string, key: b64u(observers.observerKeys[of]?.publicKey as Uint8Array), fresh });
    await expect(open('gcp', 'aws', false)).rejects.toMatchObject({ code: 'OBSERVER_STATE_LOST' });
    await expect(open('gcp', 'aws', true)).rejects.toMatchObject({ code: 'OBSERVER_STATE_LOST' });
  });
});

describe('a holder that is stopped (SIGSTOP) and wakes after its lease', () => {
  it('accepts, leases, releases and completes nothing', async () => {
    const holder = await holderOf('umbrella');
    const other = holder === aws ? azure : aws;
    const { message, jobId } = await served(holder, 'umbrella');
    const counter = await holder.counter();
    await counter.register();
    const { leased, job: { lease_token } } = await leaseOf(counter, jobId);

    // The same cell as a process of its own, on the same ports and ledger; the other one waits until it sleeps.
    other.gateway.epochs.stop();
    await holder.gateway.close();
    const folder = join(holder.folder, 'process');
    await mkdir(folder, { recursive: true });
    const { kty, crv, x, d } = await crypto.subtle.exportKey('jwk', observers.keys[holder.cell.cell]?.privateKey as CryptoKey);
    await Promise.all(Object.entries({ 'cell.json': JSON.stringify(holder.cell), 'policy.jws': await holder.policyOf(), 'directory.jws': holder.directory, 'cell-key.jwk': JSON.stringify({ kty, crv, x, d }) }).map(([name, content]) => writeFile(join(folder, name), content)));
    const gateway = spawn(process.execPath, ['workloads/gateway/main.ts', '--data', folder], { env: { ...process.env, DATABASE_URL: holder.databaseUrl }, stdio: 'ignore' });
    try {
      const http = (url: string, init: RequestInit) => fetch(url, { ...init, signal: AbortSignal.timeout(20_000) });
      const accept = async () => {
        const { tenantKey, apiKey } = of(holder, 'umbrella');
        const context = contextOf({ tenant_id: 'umbrella' });
        const answer = await http(`${holder.publicUrl}/v1/jobs`, { method: 'POST', headers: octets(apiKey), body: Buffer.from(await messageFor(tenantKey, context)) });
        return { status: answer.status, code: ((await answer.json()) as { code?: string }).code, jobId: context.job_id };
      };
      const call = async (path: string, body: object) => {
        const payload = JSON.stringify(body);
        const pop = await makePop({ key: counter.key, method: 'POST', path, body: new TextEncoder().encode(payload), session: counter.session.session, now: Math.floor(Date.now() / 1000) });
        return (await http(holder.internalUrl + path, { method: 'POST', body: payload, headers: { 'content-type': 'application/json', 'ccc-session': counter.session.session, 'ccc-pop': pop } })).json() as Promise<Record<string, unknown>>;
      };
      const job = { tenant_id: 'umbrella', job_id: jobId, lease_token };
      const release = { items: [{ tenant_id: 'umbrella', job_id: jobId, header: b64u(parseMessage(message).header) }], epochs: leased.epochs };
      const queued = await until(() => accept().then((one) => (one.status === 202 ? one : undefined), () => undefined));
      expect((await call('/internal/v1/heartbeat', { jobs: [job] }))['lost']).toEqual([]);

      gateway.kill('SIGSTOP');
      other.gateway.epochs.start();
      await until(async () => (await other.gateway.epochs.status()).some(({ tenant }) => tenant === 'umbrella'));
      const asked = Promise.all([
        accept(), call('/internal/v1/lease', { max: 64, wait_ms: 0 }), call('/internal/v1/heartbeat', { jobs: [job] }), call('/internal/v1/release', release), call('/internal/v1/complete', { jobs: [{ ...job, outcome: 'failed', code: 'TEST' }] }),
      ]);
      gateway.kill('SIGCONT');
      const [accepted, leases, beat, released, completed] = await asked;
      expect([accepted.status === 202, accepted.code]).toEqual([false, expect.stringMatching(/^EPOCH_/)]);
      expect(leases['jobs']).toEqual([]);
      expect(beat['lost']).toEqual([jobId]);
      expect(released['code']).toMatch(/^EPOCH_/);
      expect(completed['code']).toMatch(/^EPOCH_/);
      // The broker by itself, shown the promises of before.
      const raw = JSON.stringify(release);
      const pop = await makePop({ key: counter.key, method: 'POST', path: '/internal/v1/release', body: new TextEncoder().encode(raw), session: counter.session.session, now: Math.floor(Date.now() / 1000) });
      const direct = await (await http(`http://127.0.0.1:${holder.cell.broker.port}/v1/release`, { method: 'POST', body: raw, headers: { 'content-type': 'application/json', 'ccc-session': counter.session.session, 'ccc-pop': pop } })).json() as { items: { ok: boolean; problem: { code: string } }[] };
      expect([direct.items[0]?.ok, direct.items[0]?.problem.code]).toEqual([false, 'EPOCH_EXPIRED']);

      expect(await holder.ledger.job('umbrella', accepted.jobId)).toBeUndefined();
      expect((await holder.ledger.job('umbrella', jobId))?.state).toBe('leased');
      expect((await holder.ledger.job('umbrella', queued.jobId))?.state).toBe('accepted');
      await served(other, 'umbrella');
    } finally {
      gateway.kill('SIGCONT');
      gateway.kill('SIGKILL');
    }
  });
});
