/**
 * One tenant's clients: they encrypt, send, move to the next cell by themselves with the same job and the same bytes, keep the message until the result is
 * verified, and write down all that they saw. Many jobs are on their way at once, so that one look at the list of jobs serves all of them.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Bytes } from '../../attestation/bytes.ts';
import { createSupply, type Supply } from '../../attestation/collateral/supply.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { type Api, ApiError, createApi, FINAL } from '../../workloads/client/api.ts';
import { afterAnswer, type CellsState, nextCell, startCells } from '../../workloads/client/cells-core.ts';
import { encryptionKey, requestManifest, type VerifiedManifest } from '../../workloads/client/manifest.ts';
import { openResult, verifyResult } from '../../workloads/client/result.ts';
import { memorySeen } from '../../workloads/client/seen.ts';
import { endpointsOf } from '../../workloads/protocol/cell.ts';
import type { Job } from '../../workloads/protocol/messages.ts';
import type { FleetCell as WholeCell, FleetTenant } from '../cell/fleet-types.ts';
import { codeOf, outcomeOf, sealedDigest } from './answers.ts';
import { encryptJob, type Outstanding } from './job.ts';
import type { Recorder } from './record.ts';
import type { Wanted } from './requesters.ts';

const LOOK_MS = 500;
const REQUEST_MS = 8_000;
/** A manifest answers a nonce: keys are asked for anew after this. */
const MANIFEST_MS = 240_000;
/** A policy may change meanwhile. */
const FRESH_MS = 2_000;
const LISTED = 200;
const BY_NAME = 5;
const AT_ONCE = 4;
const AUDIENCE = 'ccc-drill';

type FleetCell = Pick<WholeCell, 'name' | 'url' | 'cell'>;

export interface ClientOptions {
  readonly tenant: FleetTenant;
  readonly cells: readonly FleetCell[];
  readonly ownerKey: Bytes;
  readonly recorder: Recorder;
  /** The epoch in which a cell holds the tenant, as far as is known. */
  readonly epochOf: (cell: string) => number | undefined;
  readonly cache: string;
}

export class TenantClient {
  readonly #options: ClientOptions;
  readonly #apis: ReadonlyMap<string, Api>;
  readonly #supplies: ReadonlyMap<string, Supply>;
  readonly #seen = memorySeen();
  readonly #manifests = new Map<string, VerifiedManifest[]>();
  readonly #askedAt = new Map<string, number>();
  readonly #outstanding = new Map<string, Outstanding>();
  readonly #working = new Set<Promise<unknown>>();
  readonly #stop = new AbortController();
  #state: CellsState;
  #atOnce = 0;
  readonly #queue: (() => void)[] = [];
  #key: { readonly key: ReturnType<typeof encryptionKey>; readonly at: number } | undefined;
  #keyFlight: Promise<ReturnType<typeof encryptionKey>> | undefined;
  /** Results that could not be verified, and why. */
  readonly refused: { readonly job: string; readonly code: string }[] = [];

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#apis = new Map(options.cells.map(({ name, url }) => [name, createApi({ url, apiKey: options.tenant.apiKey, attempts: 1, timeoutMs: REQUEST_MS })]));
    this.#state = startCells(options.cells.map(({ name }) => name));
    this.#supplies = new Map(options.cells.map(({ name, cell }) => [name, createSupply({ folder: `${options.cache}/${name}`, endpoints: endpointsOf(cell), now: Date.now, attempts: 1 })]));
  }

  get waiting(): number {
    return this.#outstanding.size;
  }

  /** Encrypts and sends; comes back when it was acknowledged, or when the drill ends. */
  async send(picture: Bytes): Promise<void> {
    const work = this.#send(picture).catch((error: unknown) => { if (!this.#stop.signal.aborted) throw error; });
    this.#working.add(work);
    try {
      await work;
    } finally {
      this.#working.delete(work);
    }
  }

  start(): void {
    const loop = async (): Promise<void> => {
      while (!this.#stop.signal.aborted) {
        if (this.#outstanding.size > 0) await this.#look().catch(() => {});
        await sleep(LOOK_MS, undefined, { signal: this.#stop.signal }).catch(() => {});
      }
    };
    this.#working.add(loop());
  }

  async stop(): Promise<void> {
    this.#stop.abort();
    for (const done of this.#queue.splice(0)) done();
    await Promise.allSettled(this.#working);
  }

  /** One request as the client saw it. */
  async #tried<T>(op: string, cell: FleetCell, work: (api: Api) => Promise<T>): Promise<T> {
    const { recorder, tenant } = this.#options;
    const began = recorder.now();
    const about = () => ({ kind: 'request', at: recorder.now(), ms: recorder.now() - began, tenant: tenant.id, cell: cell.name, op } as const);
    try {
      const answer = await work(this.#apis.get(cell.name) as Api);
      recorder.write(about());
      return answer;
    } catch (error) {
      // A question about a job that a cell does not know has its answer.
      const known = error instanceof ApiError && error.status === 404;
      if (!this.#stop.signal.aborted) recorder.write({ ...about(), ...(known ? {} : { code: codeOf(error) }) });
      throw error;
    }
  }

  #cellNamed(name: string): FleetCell {
    return this.#options.cells.find((cell) => cell.name === name) as FleetCell;
  }

  /** Moves from cell to cell as every client of this system does (client/cells-core.ts), for as long as it takes. */
  async #anywhere<T>(op: string, work: (api: Api, cell: FleetCell) => Promise<T>): Promise<T> {
    await this.#turn();
    try {
      return await this.#moving(op, work);
    } finally {
      this.#atOnce -= 1;
      this.#queue.shift()?.();
    }
  }

  /** A client of many pictures asks a few things at once: a cell that comes back is not met by all of them together. */
  async #turn(): Promise<void> {
    if (this.#atOnce >= AT_ONCE) await new Promise<void>((done) => { this.#queue.push(done); });
    this.#atOnce += 1;
  }

  async #moving<T>(op: string, work: (api: Api, cell: FleetCell) => Promise<T>): Promise<T> {
    const { signal } = this.#stop;
    for (;;) {
      signal.throwIfAborted();
      const { cell: name, waitMs } = nextCell(this.#state, Date.now());
      if (waitMs > 0) await sleep(waitMs, undefined, { signal });
      const cell = this.#cellNamed(name);
      try {
        const answer = await this.#tried(op, cell, (api) => work(api, cell));
        this.#state = afterAnswer(this.#state, name, { kind: 'ok' }, Date.now());
        return answer;
      } catch (error) {
        const outcome = outcomeOf(error);
        if (outcome === undefined) throw error;
        this.#state = afterAnswer(this.#state, name, outcome, Date.now());
      }
    }
  }

  async #manifestOf(api: Api, cell: FleetCell): Promise<VerifiedManifest> {
    const { tenant, ownerKey } = this.#options;
    const manifest = await requestManifest({
      api, seen: this.#seen, audience: AUDIENCE, now: Math.floor(Date.now() / 1000), ownerKey, tenant: tenant.id, zone: tenant.zone, cell: cell.name, signal: this.#stop.signal,
      collateral: this.#supplies.get(cell.name)?.collect,
    });
    this.#askedAt.set(cell.name, Date.now());
    this.#manifests.set(cell.name, [manifest, ...(this.#manifests.get(cell.name) ?? [])].slice(0, 64));
    return manifest;
  }

  async #tenantKey(): Promise<ReturnType<typeof encryptionKey>> {
    if (this.#key !== undefined && Date.now() - this.#key.at < MANIFEST_MS) return this.#key.key;
    this.#keyFlight ??= this.#anywhere('manifest', (api, cell) => this.#manifestOf(api, cell)).then((manifest) => {
      const key = encryptionKey(manifest, Math.floor(Date.now() / 1000));
      this.#key = { key, at: Date.now() };
      return key;
    }).finally(() => { this.#keyFlight = undefined; });
    return this.#keyFlight;
  }

  async #encrypted(picture: Bytes): Promise<Outstanding> {
    return encryptJob(this.#options.tenant, await this.#tenantKey(), picture);
  }

  /** The header of a message that is never sent: what a requester asks a key for. */
  async wanted(): Promise<Wanted> {
    const { jobId, header } = await this.#encrypted(new Uint8Array(16));
    return { tenant: this.#options.tenant.id, jobId, header };
  }

  /** Sends a message to one cell only, as a client would that knows no other. @returns the code that it was refused with; `undefined`: it was acknowledged */
  async sendTo(cell: string, picture: Bytes): Promise<string | undefined> {
    const { recorder, tenant, epochOf } = this.#options;
    const job = await this.#encrypted(picture);
    const at = recorder.now();
    const about = { kind: 'write', from: at, tenant: tenant.id, job: job.jobId, cell, epoch: epochOf(cell) ?? 0, op: 'accept' } as const;
    try {
      await (this.#apis.get(cell) as Api).submit(job.message, this.#stop.signal);
    } catch (error) {
      if (!(error instanceof ApiError) || error.code === 'NETWORK') throw error;
      recorder.write({ ...about, at: recorder.now(), accepted: false, code: error.code });
      return error.code;
    }
    recorder.write({ ...about, at: recorder.now(), accepted: true }, { kind: 'acknowledged', at: recorder.now(), tenant: tenant.id, job: job.jobId, cell, epoch: about.epoch });
    this.#outstanding.set(job.jobId, { ...job, cell, sending: false });
    return undefined;
  }

  async #send(picture: Bytes): Promise<void> {
    const job = await this.#encrypted(picture);
    const { jobId } = job;
    this.#outstanding.set(jobId, job);
    await this.#deliver(job).catch((error: unknown) => {
      // Never acknowledged: nobody waits for it.
      if (job.cell === undefined) this.#outstanding.delete(jobId);
      throw error;
    });
  }

  async #deliver(job: Outstanding): Promise<void> {
    const { recorder, tenant, epochOf } = this.#options;
    job.sending = true;
    try {
      await this.#anywhere('submit', async (api, cell) => {
        if (job.cell !== undefined) recorder.write({ kind: 'resubmitted', at: recorder.now(), tenant: tenant.id, job: job.jobId, cell: cell.name });
        await api.submit(job.message, this.#stop.signal);
        job.cell = cell.name;
        recorder.write({ kind: 'acknowledged', at: recorder.now(), tenant: tenant.id, job: job.jobId, cell: cell.name, epoch: epochOf(cell.name) ?? this.#manifests.get(cell.name)?.[0]?.manifest.epoch ?? 0 });
      });
    } finally {
      job.sending = false;
    }
  }

  /** One list for all jobs; then each that is final, and each that the cell does not know. */
  async #look(): Promise<void> {
    const asked = [...this.#outstanding.values()].filter(({ sending, cell }) => !sending && cell !== undefined);
    if (asked.length === 0) return;
    const { cell, list } = await this.#anywhere('jobs', async (api, at) => ({ cell: at, list: new Map((await api.jobs({ limit: LISTED }, this.#stop.signal)).map((job) => [job.job_id, job])) }));
    // What is counted there is verified under the policy of its time, and a cell that gave the tenant back is not asked any more.
    if (Date.now() - (this.#askedAt.get(cell.name) ?? 0) > FRESH_MS) await this.#tried('manifest', cell, (api) => this.#manifestOf(api, cell));
    let byName = 0;
    for (const job of asked) {
      const known = list.get(job.jobId);
      if (known !== undefined && FINAL.includes(known.state)) await this.#finish(job);
      else if (known === undefined && (job.cell !== cell.name || (list.size >= LISTED && byName++ < BY_NAME))) await this.#missed(job, cell);
    }
  }

  /** Not in the list of the cell that this client moved to: asked for by name, and sent again where it is unknown. */
  async #missed(job: Outstanding, cell: FleetCell): Promise<void> {
    let known: Job;
    try {
      known = await this.#tried('job', cell, (api) => api.job(job.jobId, this.#stop.signal));
    } catch (error) {
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      await this.#deliver(job);
      return;
    }
    job.cell = cell.name;
    if (FINAL.includes(known.state)) await this.#finish(job);
  }

  async #finish(job: Outstanding): Promise<void> {
    const { recorder, tenant } = this.#options;
    const row = await this.#anywhere('result', (api) => api.job(job.jobId, this.#stop.signal));
    if (row.result === undefined || row.counter === undefined) {
      this.refused.push({ job: job.jobId, code: row.code ?? 'RESULT_ABSENT' });
      this.#outstanding.delete(job.jobId);
      return;
    }
    const payload = await this.#verify(job, row).catch((error: unknown) => {
      // Its cell may be unreachable now, and with it the manifest that the result is verified under.
      if (error instanceof Refusal && outcomeOf(error) === undefined) {
        this.refused.push({ job: job.jobId, code: codeOf(error) });
        this.#outstanding.delete(job.jobId);
      }
      return undefined;
    });
    if (payload === undefined) return;
    this.#outstanding.delete(job.jobId);
    recorder.write({ kind: 'final', at: recorder.now(), tenant: tenant.id, job: job.jobId, cell: payload.cell, epoch: payload.epoch, outcome: payload.outcome, digest: sealedDigest(row.result) });
  }

  /** Under a manifest of the cell that counted it, of those that this client has, or a new one. */
  async #verify(job: Outstanding, row: Job) {
    const { cells } = this.#options;
    const { result: sealed, counter, receipts } = row as Job & Required<Pick<Job, 'result' | 'counter'>>;
    const counted = cells.find(({ name }) => name === counter.binding.cell);
    if (counted === undefined) throw new Refusal({ code: 'DIRECTORY_CELL', path: 'counter.binding.cell', next: 'A cell outside the tenant\'s order counted.' });
    const result = await openResult(sealed, job.privateKey, job.sent.tenant_id, job.jobId);
    const now = Math.floor(Date.now() / 1000);
    const under = async (manifest: VerifiedManifest) => (await verifyResult({ result, counter, receipts: receipts ?? [] }, job.sent, manifest, now)).payload;
    for (const manifest of this.#manifests.get(counted.name) ?? []) {
      try {
        return await under(manifest);
      } catch { /* of another time or revision; if none fits, the refusal by a new one is what counts */ }
    }
    return under(await this.#tried('manifest', counted, (api) => this.#manifestOf(api, counted)));
  }
}
