/** Holds this cell's epochs: runs the pure holder (epochs-core.ts) against the observers, and says for each request whether the cell may serve it. */
import { b64u, fromB64u, randomBytes } from '../../attestation/bytes.ts';
import { refuse } from '../../attestation/refusal.ts';
import type { HeldTenant, Ledger } from '../ledger/ledger.ts';
import type { Replication } from '../ledger/replication.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { type EpochLease, type EpochRules, epochRules, ms, verifyGrant } from '../protocol/epoch.ts';
import type { SigningKey } from '../protocol/jws.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import type { EpochProof, TenantEpoch } from '../protocol/messages.ts';
import { CccError } from '../protocol/problem.ts';
import { type Asking, askObservers } from './epochs-ask.ts';
import { absorb, giveBack, held, type HolderConfig, type HolderState, holds, IDLE, paces, plan, type Plan } from './epochs-core.ts';
import { leaveTo, waitsFor } from './epochs-heirs.ts';
import { HeirSearch } from './epochs-search.ts';
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
  /** How heirs of tenants of tier sync are found. Without it they have none. */
  readonly replication?: Pick<Replication, 'state' | 'holds'> | undefined;
  /** Whether this cell could work for the tenant: has its keys. Default: yes. */
  readonly ready?: ((tenant: string) => Promise<boolean>) | undefined;
  /** Addresses of observers, by cell, where they are not those of the directory. */
  readonly observers?: Readonly<Record<string, string>> | undefined;
  readonly now: Clock;
  readonly log: Log;
}

/** What a request is served under. */
export interface Served { readonly tenant: string; readonly epoch: number; /** Epoch ms; absent without observers. */ readonly until?: number; readonly proof?: EpochProof }

const TENANTS_MS = 1_000;
const MIN_TICK_MS = 20;

export class Epochs {
  readonly #options: EpochsOptions;
  readonly #instance = b64u(randomBytes(12));
  readonly #states = new Map<string, HolderState>();
  readonly #grants = new Map<string, string>();
  /** Epochs under which what the cells before had leased is due again. */
  readonly #taken = new Map<string, number>();
  readonly #asking: Asking;
  readonly #heirs: HeirSearch;
  #parsed: { readonly jws: string; readonly rules: EpochRules | undefined } | undefined;
  #tenants: readonly string[] = [];
  #tenantsAt = Number.NEGATIVE_INFINITY;
  #healthyAt = Number.NEGATIVE_INFINITY;
  #looking: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;

  constructor(options: EpochsOptions) {
    this.#options = options;
    const { cell: { cell }, key, observers, replication, now, log } = options;
    this.#heirs = new HeirSearch({ cell, replication, states: this.#states, now, log });
    this.#asking = {
      cell, instance: this.#instance, key, observers, now, log,
      take: (tenant, observer, answer) => {
        const rules = this.#parsed?.rules;
        const state = this.#states.get(tenant);
        if (rules !== undefined && state !== undefined) this.#states.set(tenant, absorb(this.#config(rules), state, tenant, observer, answer, now()));
      },
    };
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

  /**
   * Cells that must have a job of a tenant of tier sync before it is acknowledged, for they may take over; empty: none may, or there are no observers.
   * @param waited after the effect: those that have it. Whoever was named meanwhile lacks it
   * @throws Refusal EPOCH_QUORUM
   */
  async heirs(tenant: string, waited?: readonly string[]): Promise<readonly string[]> {
    const rules = await this.rules();
    if (rules === undefined) return [];
    const heirs = waitsFor(this.#config(rules), this.#states.get(tenant) ?? IDLE, tenant, this.#options.now());
    if (heirs === undefined || (waited !== undefined && !heirs.every((cell) => waited.includes(cell)))) {
      refuse('EPOCH_QUORUM', 'epoch.heirs', 'The observers are just being told which cell may take over: repeat the request.', { have: waited?.join(', ') ?? 'nobody named yet', need: heirs?.join(', ') ?? 'a majority that knows' });
    }
    return heirs;
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

  /** Planned failover: stops serving them at once; `to` has the first turn. @throws CccError LEDGER_UNAVAILABLE where it lacks jobs of tier sync: nobody would let it */
  async giveBack(tenants: readonly string[], to: string | undefined): Promise<void> {
    const rules = await this.rules();
    if (rules === undefined) return;
    const synced = tenants.filter((tenant) => rules.tier(tenant) === 'sync' && this.#epochNow(rules, tenant) !== undefined);
    const lacking = to === undefined ? [] : await this.#heirs.lacking(rules, synced, to);
    if (lacking.length > 0) throw new CccError('LEDGER_UNAVAILABLE', `Wait until the copy of ${to} has every job of ${lacking.join(', ')}: ccc cells.`, { retryAfter: 5 });
    const plans = tenants.map((tenant): [string, Plan] => {
      const { state, plan } = giveBack(this.#config(rules), this.#states.get(tenant) ?? IDLE, tenant, to, this.#options.now());
      this.#states.set(tenant, state);
      return [tenant, plan];
    });
    // Nothing more is acknowledged: whoever has everything now may have it, not only the heir of before.
    await Promise.all(plans.map(async (one) => {
      const [tenant, plan] = one;
      const state = this.#states.get(tenant) ?? IDLE;
      const heirs = synced.includes(tenant) ? await this.#heirs.complete(rules, tenant, to).catch(() => []) : [];
      if (heirs.length > 0) one[1] = leaveTo(plan, state, heirs);
    }));
    await askObservers(this.#asking, rules, plans);
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
      const lease = this.#lease(rules, tenant);
      return lease === undefined ? [] : [{ tenant, epoch: lease.epoch, until: lease.until }];
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
    void askObservers(this.#asking, rules, plans);
    await this.#takeOver(rules);
    this.#heirs.look(config, this.#tenants.filter((tenant) => this.#epochNow(rules, tenant) !== undefined));
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

  #lease(rules: EpochRules, tenant: string): EpochLease | undefined {
    return holds(this.#config(rules), this.#states.get(tenant) ?? IDLE, tenant, this.#options.now());
  }

  #epochNow(rules: EpochRules, tenant: string): number | undefined {
    return this.#lease(rules, tenant)?.epoch;
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
      this.#heirs.hurry(tenantId);
      phases?.note('promote', tenantId, epoch);
    }
    log.info('epochs held', { cell: this.#options.cell.cell, count_jobs: count });
  }
}
