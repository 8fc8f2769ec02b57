/** Holds this cell's epochs: runs the pure holder (epochs-core.ts) against the observers, and says for each request whether the cell may serve it. */
import { b64u, fromB64u, randomBytes } from '../../attestation/bytes.ts';
import { Refusal, refuse } from '../../attestation/refusal.ts';
import type { HeldTenant, Ledger } from '../ledger/ledger.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { type EpochPromise, type EpochRules, epochRules, ms, verifyGrant, verifyPromise } from '../protocol/epoch.ts';
import { parseJson, request } from '../protocol/http-client.ts';
import type { SigningKey } from '../protocol/jws.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import type { EpochProof, TenantEpoch } from '../protocol/messages.ts';
import { EPOCHS_PATH, MAX_TENANTS, type ObserverAnswer, observerAnswerSchema, type ObserverRequest } from '../protocol/observer.ts';
import { absorb, giveBack, held, type HolderConfig, type HolderState, IDLE, paces, plan, type Plan } from './epochs-core.ts';
import type { PhaseLog } from './phases.ts';
import type { OwnerDocuments } from './policy.ts';

export interface EpochsOptions {
  readonly cell: { readonly cell: string; readonly epoch: number; readonly ownerKey: string };
  /** The cell's key of the directory. */
  readonly key?: SigningKey | undefined;
  readonly documents: OwnerDocuments;
  readonly ledger: Pick<Ledger, 'tenants' | 'takeOver'>;
  /** A cell that cannot work does not ask for epochs: what it has runs out, and another one takes over. */
  readonly healthy: () => Promise<boolean>;
  readonly phases?: Pick<PhaseLog, 'note'> | undefined;
  /** Whether this cell could work for the tenant: has its keys. Default: yes. */
  readonly ready?: ((tenant: string) => Promise<boolean>) | undefined;
  /** Addresses of observers, by cell, where they are not those of the directory. */
  readonly observers?: Readonly<Record<string, string>> | undefined;
  readonly now: Clock;
  readonly log: Log;
}

/** What a request is served under. */
export interface Served { readonly tenant: string; readonly epoch: number; /** Epoch ms; absent without observers. */ readonly until?: number; readonly proof?: EpochProof }

const ANSWER_BYTES = 16 << 20;
const TENANTS_MS = 1_000;
const MIN_TICK_MS = 20;

export class Epochs {
  readonly #options: EpochsOptions;
  readonly #instance = b64u(randomBytes(12));
  readonly #states = new Map<string, HolderState>();
  readonly #grants = new Map<string, string>();
  /** Epochs under which what the cells before had leased is due again. */
  readonly #taken = new Map<string, number>();
  #parsed: { readonly jws: string; readonly rules: EpochRules | undefined } | undefined;
  #tenants: readonly string[] = [];
  #tenantsAt = Number.NEGATIVE_INFINITY;
  #healthyAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: EpochsOptions) {
    this.#options = options;
  }

  /** `undefined`: no observers, nothing is leased. @throws Refusal EPOCH_ABSENT, DIRECTORY_ROLLBACK, DIRECTORY_EXPIRED where there must be some */
  async rules(): Promise<EpochRules | undefined> {
    const { documents, now } = this.#options;
    const directory = documents.knownDirectory;
    const needed = (await documents.policy()).policy.directoryRevision;
    if (directory === undefined || directory.directory.revision < needed) {
      refuse('DIRECTORY_ROLLBACK', 'directory.revision', 'Put the cell directory that goes with the policy.', { have: String(directory?.directory.revision ?? 'none'), need: `at least ${needed}` });
    }
    const parsed = this.#parsed?.jws === directory.jws ? this.#parsed : { jws: directory.jws, rules: epochRules(directory.directory) };
    this.#parsed = parsed;
    const { rules } = parsed;
    if (rules !== undefined && seconds(now) > directory.directory.notAfter) refuse('DIRECTORY_EXPIRED', 'directory.notAfter', 'Ask the owner to sign a new revision.', { have: String(directory.directory.notAfter) });
    return rules;
  }

  /** @throws Refusal EPOCH_FENCED (`need`: the cell that has it), EPOCH_EXPIRED, EPOCH_QUORUM, EPOCH_ABSENT, EPOCH_CELL */
  async require(tenant: string): Promise<Served> {
    const rules = await this.rules();
    const { cell: { epoch }, now } = this.#options;
    if (rules === undefined) return { tenant, epoch };
    const state = this.#states.get(tenant) ?? IDLE;
    const lease = held(this.#config(rules), state, tenant, now());
    return { tenant, epoch: lease.epoch, until: lease.until, proof: this.#proof(tenant, state, lease.epoch) };
  }

  /**
   * After the effect and before its acknowledgement: a process that slept meanwhile, or gave the epoch back, acknowledges nothing. The same epoch, held
   * now, was nobody else's in between.
   * @throws Refusal EPOCH_EXPIRED, EPOCH_FENCED, as `require`
   */
  async requireStill({ tenant, epoch, until }: Served): Promise<void> {
    if (until === undefined) return;
    const now = await this.require(tenant);
    if (now.epoch !== epoch) refuse('EPOCH_EXPIRED', 'epoch.exp', 'The epoch ended meanwhile: repeat the request.', { have: String(epoch), need: String(now.epoch) });
  }

  /** Tenants to lease jobs of; `undefined`: of all, there are no observers. */
  async heldTenants(): Promise<HeldTenant[] | undefined> {
    const rules = await this.rules();
    if (rules === undefined) return undefined;
    return [...this.#states.keys()].flatMap((tenantId) => {
      const epoch = this.#epochNow(rules, tenantId);
      return epoch !== undefined && this.#taken.get(tenantId) === epoch ? [{ tenantId, epoch }] : [];
    });
  }

  /** What counters are shown, for these tenants as far as they are held. `undefined` without observers. */
  async proofs(tenants: readonly string[]): Promise<TenantEpoch[] | undefined> {
    const rules = await this.rules();
    if (rules === undefined) return undefined;
    return [...new Set(tenants)].flatMap((tenant) => {
      const state = this.#states.get(tenant) ?? IDLE;
      const epoch = this.#epochNow(rules, tenant);
      return epoch === undefined ? [] : [{ tenant_id: tenant, ...this.#proof(tenant, state, epoch) }];
    });
  }

  /** Planned failover: stops serving them at once; `to` has the first turn. */
  async giveBack(tenants: readonly string[], to: string | undefined): Promise<void> {
    const rules = await this.rules();
    if (rules === undefined) return;
    const plans = tenants.map((tenant): [string, Plan] => {
      const { state, plan } = giveBack(this.#config(rules), this.#states.get(tenant) ?? IDLE, tenant, to, this.#options.now());
      this.#states.set(tenant, state);
      return [tenant, plan];
    });
    await this.#send(rules, plans);
  }

  /** An owner's grant for this cell: stands in for one observer. @throws Refusal EPOCH_SIGNATURE, EPOCH_FORMAT, EPOCH_DEPLOYMENT, EPOCH_CELL, EPOCH_EXPIRED */
  async grant(jws: string): Promise<void> {
    const { cell: { cell, ownerKey }, now } = this.#options;
    const rules = await this.rules();
    const grant = await verifyGrant(jws, fromB64u(ownerKey), rules?.deployment ?? '');
    if (grant.cell !== cell) refuse('EPOCH_CELL', 'grant.cell', 'Give the grant to the cell that it names.', { have: grant.cell, need: cell });
    if (ms(grant.exp) <= now()) refuse('EPOCH_EXPIRED', 'grant.exp', 'Ask the owner for a new grant.', { have: String(grant.exp) });
    this.#grants.set(grant.tenant, jws);
    this.#states.set(grant.tenant, { ...(this.#states.get(grant.tenant) ?? IDLE), grant });
  }

  /** Who has what, for the operator. */
  async status(): Promise<{ tenant: string; epoch: number; until: number }[]> {
    const rules = await this.rules();
    return rules === undefined ? [] : [...this.#states.keys()].flatMap((tenant) => {
      try {
        const { epoch, until } = held(this.#config(rules), this.#states.get(tenant) ?? IDLE, tenant, this.#options.now());
        return [{ tenant, epoch, until }];
      } catch {
        return [];
      }
    });
  }

  start(): void {
    this.#stopped = false;
    const loop = async (): Promise<void> => {
      let pause = TENANTS_MS;
      try {
        pause = await this.tick();
      } catch (error) {
        this.#options.log.warn('epochs not asked for', errorFields(error));
      }
      if (!this.#stopped) this.#timer = setTimeout(() => void loop(), pause);
    };
    void loop();
  }

  /** Does not give back: a restarted process of this cell goes on in the same epoch. */
  stop(): void {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** One look at all tenants. Requests go on by themselves. @returns milliseconds until the next */
  async tick(): Promise<number> {
    const rules = await this.rules();
    if (rules === undefined) return TENANTS_MS;
    await this.#refresh(rules);
    const { now } = this.#options;
    const config = this.#config(rules);
    const plans: [string, Plan][] = [];
    const may = now() - this.#healthyAt < rules.leaseMs;
    for (const tenant of this.#tenants) {
      const state = this.#states.get(tenant) ?? IDLE;
      if (!may) continue;
      const next = plan(config, state, tenant, now());
      this.#states.set(tenant, next.state);
      this.#tell(tenant, state, next.state);
      if (next.plan.ask.length + next.plan.look.length + next.plan.release.length > 0) plans.push([tenant, next.plan]);
    }
    void this.#send(rules, plans);
    await this.#takeOver(rules);
    return Math.max(MIN_TICK_MS, paces(rules).look / 4);
  }

  #tell(tenant: string, before: HolderState, after: HolderState): void {
    if (before.epoch !== 0) return;
    const { phases } = this.#options;
    if (before.freeSince === undefined && (after.freeSince !== undefined || after.epoch !== 0)) phases?.note('detect', tenant);
    if (after.epoch !== 0) phases?.note('decide', tenant, after.epoch);
  }

  #config(rules: EpochRules): HolderConfig {
    return { cell: this.#options.cell.cell, instance: this.#instance, rules };
  }

  #epochNow(rules: EpochRules, tenant: string): number | undefined {
    try {
      return held(this.#config(rules), this.#states.get(tenant) ?? IDLE, tenant, this.#options.now()).epoch;
    } catch {
      return undefined;
    }
  }

  #proof(tenant: string, state: HolderState, epoch: number): EpochProof {
    const grant = state.grant?.epoch === epoch ? this.#grants.get(tenant) : undefined;
    return { promises: state.promises.filter(({ promise }) => promise.epoch === epoch).map(({ jws }) => jws), ...(grant === undefined ? {} : { grant }) };
  }

  async #refresh(rules: EpochRules): Promise<void> {
    const { ledger, healthy, ready, now, log } = this.#options;
    // Not waited for: a ledger that hangs must not keep this from standing still.
    this.#looking ??= (async () => {
      const asked = now();
      if (await healthy()) this.#healthyAt = asked;
      if (now() - this.#tenantsAt >= TENANTS_MS) {
        const mine = (await ledger.tenants()).map(({ id }) => id).filter((id) => rules.order(id).includes(this.#options.cell.cell));
        const able: string[] = [];
        for (const id of mine) if (ready === undefined || await ready(id)) able.push(id);
        this.#tenants = able;
        this.#tenantsAt = now();
      }
    })().catch((error: unknown) => log.warn('cell not healthy', errorFields(error))).finally(() => { this.#looking = undefined; });
    if (this.#healthyAt === Number.NEGATIVE_INFINITY) await this.#looking;
  }

  async #takeOver(rules: EpochRules): Promise<void> {
    const { ledger, log, phases } = this.#options;
    const fresh = this.#tenants.flatMap((tenantId) => {
      const epoch = this.#epochNow(rules, tenantId);
      return epoch === undefined || this.#taken.get(tenantId) === epoch ? [] : [{ tenantId, epoch }];
    });
    if (fresh.length === 0) return;
    for (const { tenantId, epoch } of fresh) phases?.note('fence', tenantId, epoch);
    const count = await ledger.takeOver(fresh);
    for (const { tenantId, epoch } of fresh) {
      this.#taken.set(tenantId, epoch);
      phases?.note('promote', tenantId, epoch);
    }
    log.info('epochs held', { cell: this.#options.cell.cell, count_jobs: count });
  }

  async #send(rules: EpochRules, plans: readonly (readonly [string, Plan])[]): Promise<void> {
    const { cell: { cell }, log } = this.#options;
    await Promise.all(rules.observers.map(async ({ cell: observer, url }) => {
      for (let at = 0; at < plans.length; at += MAX_TENANTS / 4) {
        const some = plans.slice(at, at + MAX_TENANTS / 4);
        const of = <K extends 'ask' | 'release'>(kind: K) => some.flatMap(([tenant, one]) => (one[kind] as Plan[K]).filter((each) => each.observer === observer).map(({ observer: _, ...rest }) => ({ tenant, ...rest })));
        const body: ObserverRequest = {
          observer, cell, instance: this.#instance, ask: of('ask'), release: of('release') as ObserverRequest['release'], look: some.flatMap(([tenant, { look }]) => (look.includes(observer) ? [tenant] : [])),
        };
        if (body.ask.length + body.release.length + body.look.length === 0) continue;
        try {
          await this.#take(rules, observer, await this.#ask(rules, this.#options.observers?.[observer] ?? url, body));
        } catch (error) {
          log.warn('observer not reached', { where: observer, ...errorFields(error) });
        }
      }
    }));
  }

  async #ask(rules: EpochRules, url: string, body: ObserverRequest): Promise<ObserverAnswer> {
    const { key, now } = this.#options;
    const proves = body.ask.length + body.release.length > 0;
    if (proves && key === undefined) throw new Error('this cell has no key to prove its requests with');
    const answer = await request(new URL(url).origin, {
      method: 'POST', path: EPOCHS_PATH, body, now: seconds(now), timeoutMs: Math.max(200, paces(rules).attempt), maxBytes: ANSWER_BYTES, ...(proves && key !== undefined ? { proof: { key: key.privateKey } } : {}),
    });
    return parseJson(observerAnswerSchema, answer);
  }

  async #take(rules: EpochRules, observer: string, answer: ObserverAnswer): Promise<void> {
    const { now, log } = this.#options;
    const config = this.#config(rules);
    const put = (tenant: string, what: Parameters<typeof absorb>[4]): void => {
      this.#states.set(tenant, absorb(config, this.#states.get(tenant) ?? IDLE, tenant, observer, what, now()));
    };
    await Promise.all(answer.promises.map(async (jws) => {
      let promise: EpochPromise;
      try {
        promise = await verifyPromise(jws, rules);
      } catch (error) {
        log.warn('promise refused', { where: observer, codes: error instanceof Refusal ? error.codes : [] });
        return;
      }
      if (this.#states.has(promise.tenant)) put(promise.tenant, { promise: { promise, jws } });
    }));
    for (const denied of answer.denied) if (this.#states.has(denied.tenant)) put(denied.tenant, { denied });
    for (const view of answer.views) if (this.#states.has(view.tenant)) put(view.tenant, { view });
  }
}
