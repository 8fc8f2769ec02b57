/**
 * A cell that holds epochs or stands by, as pure functions per tenant: state, time -> what to ask whom, and whether to serve. No I/O, no crypto: promises
 * come in with their signatures checked. One state per tenant and process; the process is the `instance` of its promises.
 *
 *   standing by: looks at the observers -> a majority says free, and its turn has come -> asks one epoch of all
 *   asking: a majority promises in time -> holds; otherwise gives back what it got, and that epoch is burnt
 *   holding: renews at a third; without a majority it stops serving one clock bound before the end, and asks on
 */
import { type Reason, Refusal, refuse } from '../../attestation/refusal.ts';
import { type EpochGrant, type EpochLease, type EpochPromise, type EpochRules, findLease, FORCED_STEP, ms, type Naming } from '../protocol/epoch.ts';
import type { EpochView } from '../protocol/observer.ts';

export interface HolderConfig {
  readonly cell: string;
  /** Of this process; new at each start. */
  readonly instance: string;
  readonly rules: EpochRules;
}

export interface KeptPromise { readonly promise: EpochPromise; readonly jws: string }
interface Seen { readonly view: EpochView; /** When the answer came, epoch ms. */ readonly at: number }

export interface HolderState {
  /** Asked for or held; 0: standing by. */
  readonly epoch: number;
  /** Since when it has asked without a majority. */
  readonly attemptAt: number | undefined;
  readonly promises: readonly KeptPromise[];
  /** The highest epoch heard of, and the highest never to rely on again. */
  readonly known: number;
  readonly burnt: number;
  readonly views: Readonly<Record<string, Seen>>;
  /** By observer: the last request. */
  readonly sentAt: Readonly<Record<string, number>>;
  readonly freeSince: number | undefined;
  /** Asks for nothing before. */
  readonly retryAt: number;
  /** The owner's, for this tenant and cell. */
  readonly grant: EpochGrant | undefined;
  /** See epochs-heirs.ts: what observers may have kept, oldest first; and cells that jobs wait for already, while it is found out whether they have everything. */
  readonly namings: readonly Named[];
  readonly candidates: readonly string[];
  /** Of this process's last naming of the tenant. */
  readonly lastNaming: number;
}

/** `since`: by observer, the time of its last promise (seconds) before it was looked whether the cells have everything. `unasked`: nobody looked. */
export interface Named extends Naming { readonly since: Readonly<Record<string, number>>; readonly unasked: boolean }

export const IDLE: HolderState = { epoch: 0, attemptAt: undefined, promises: [], known: 0, burnt: 0, views: {}, sentAt: {}, freeSince: undefined, retryAt: 0, grant: undefined, namings: [], candidates: [], lastNaming: 0 };
/** What a holder that is none any more forgets. */
const NO_HEIRS = { namings: [], candidates: [] } as const;

/** Of one tenant, by observer. */
export interface Plan {
  readonly ask: readonly { readonly observer: string; readonly epoch: number; readonly heirs?: Naming & { readonly since: number } }[];
  readonly release: readonly { readonly observer: string; readonly epoch: number; readonly to?: string | undefined; readonly heirs?: Naming }[];
  readonly look: readonly string[];
}

/** Milliseconds, as parts of the lease. */
export const paces = ({ leaseMs }: Pick<EpochRules, 'leaseMs'>) => ({
  look: Math.ceil(leaseMs / 8), retry: Math.ceil(leaseMs / 8), attempt: Math.ceil(leaseMs / 3), renew: Math.ceil(leaseMs / 3), fresh: Math.ceil(leaseMs / 2),
  /** How long each place in the order waits for those before it. */
  turn: Math.ceil(leaseMs / 4),
});

const NOTHING: Plan = { ask: [], release: [], look: [] };

const find = ({ cell, rules }: HolderConfig, { promises, grant }: HolderState, tenant: string, now: number): EpochLease | Reason =>
  findLease(promises.map(({ promise }) => promise), grant, rules, { tenant, cell, now });

/** The lease now. @throws Refusal EPOCH_FENCED (`need`: the cell that has it), EPOCH_EXPIRED, EPOCH_QUORUM, EPOCH_ABSENT, EPOCH_CELL */
export function held(config: HolderConfig, state: HolderState, tenant: string, now: number): EpochLease {
  const found = find(config, state, tenant, now);
  if (!('code' in found)) return found;
  const top = topView(state);
  // A view that is older than an epoch of one's own says nothing.
  if (top?.cell !== undefined && top.cell !== config.cell && top.epoch >= state.known) {
    refuse('EPOCH_FENCED', 'epoch.cell', `Go to cell ${top.cell}: it has epoch ${top.epoch} of the tenant.`, { have: config.cell, need: top.cell });
  }
  throw new Refusal(found);
}

export const holds = (config: HolderConfig, state: HolderState, tenant: string, now: number): EpochLease | undefined => {
  const found = find(config, state, tenant, now);
  return 'code' in found ? undefined : found;
};

/** Of two cells that were promised one epoch by different observers, that whose promise lasts: the other came to nothing. */
const topView = (state: HolderState): EpochView | undefined =>
  Object.values(state.views).map(({ view }) => view)
    .reduce<EpochView | undefined>((top, view) => (top === undefined || view.epoch > top.epoch || (view.epoch === top.epoch && view.leftMs > top.leftMs) ? view : top), undefined);

/** What to send now. Call it again and again: it spaces requests out by itself. */
export function plan(config: HolderConfig, state: HolderState, tenant: string, now: number): { state: HolderState; plan: Plan } {
  if (!config.rules.order(tenant).includes(config.cell)) return { state, plan: NOTHING };
  return state.epoch === 0 ? standBy(config, state, tenant, now) : keepOn(config, state, tenant, now);
}

function keepOn(config: HolderConfig, given: HolderState, tenant: string, now: number): { state: HolderState; plan: Plan } {
  const { rules } = config;
  const pace = paces(rules);
  let state = given;
  const lease = holds(config, state, tenant, now);
  // While a new epoch is asked for, the lease of the old one still serves; only what has ended is forgotten.
  state = { ...state, promises: state.promises.filter(({ promise }) => ms(promise.exp) > now && promise.epoch >= (lease?.epoch ?? 0)) };
  if (lease !== undefined && state.attemptAt !== undefined) state = { ...state, attemptAt: undefined };
  if (lease === undefined && state.attemptAt === undefined) state = { ...state, attemptAt: now };
  if (grantFor(state, now)?.epoch !== state.epoch && forcedElsewhere(config, state, state.epoch, now)) return giveUp(config, state, tenant, now);
  // The owner's grant names one epoch: no use in giving that one up.
  if (state.attemptAt !== undefined && now - state.attemptAt >= pace.attempt && grantFor(state, now)?.epoch !== state.epoch) return giveUp(config, state, tenant, now);

  // An observer that promised a higher epoch to a cell that came to nothing never renews this one: one epoch above it heals that. Others let a cell
  // raise its own epoch at once, and until a majority has, the lease of the old one serves.
  if (lease !== undefined && state.known > state.epoch && Object.values(state.views).some(({ view, at }) => view.epoch > state.epoch && at + view.leftMs <= now)) {
    state = { ...state, epoch: Math.max(state.known, state.burnt) + 1, sentAt: {} };
  }
  const due = rules.observers.map(({ cell }) => cell).filter((observer) => {
    const own = state.promises.find(({ promise }) => promise.observer === observer && promise.epoch === state.epoch);
    const named = lease === undefined || (own?.promise.heirs?.n ?? 0) >= (state.namings.at(-1)?.n ?? 0);
    return (own === undefined || !named || ms(own.promise.exp) - now <= rules.leaseMs - pace.renew) && now - (state.sentAt[observer] ?? Number.NEGATIVE_INFINITY) >= pace.retry;
  });
  const naming = lease === undefined ? undefined : state.namings.at(-1);
  return { state: sent(state, due, now), plan: { ...NOTHING, ask: due.map((observer) => ({ observer, epoch: state.epoch, ...asNamed(naming, observer) })) } };
}

const asNamed = (naming: Named | undefined, observer: string): { heirs?: Naming & { since: number } } =>
  (naming === undefined ? {} : { heirs: { n: naming.n, cells: naming.cells, since: naming.since[observer] ?? 0 } });

/** No majority in time: that epoch is burnt, so that a late promise is worth nothing, and others need not wait for those that were made. */
function giveUp({ cell, rules }: HolderConfig, state: HolderState, tenant: string, now: number): { state: HolderState; plan: Plan } {
  const retryAt = now + paces(rules).turn * (1 + rules.order(tenant).indexOf(cell));
  return {
    state: { ...state, ...NO_HEIRS, epoch: 0, promises: [], burnt: Math.max(state.burnt, state.epoch), attemptAt: undefined, freeSince: undefined, retryAt, sentAt: {} },
    plan: { ...NOTHING, release: rules.observers.map((observer) => ({ observer: observer.cell, epoch: state.epoch })) },
  };
}

/**
 * By its owner's grant another cell has an epoch far above this one. A grant stands in for a promise, so a majority may be free all the same: cells that
 * were dead when it was forced would take over from it when they come back.
 */
const forcedElsewhere = ({ cell }: HolderConfig, { views }: HolderState, epoch: number, now: number): boolean =>
  Object.values(views).some(({ view, at }) => view.cell !== undefined && view.cell !== cell && view.epoch >= epoch + FORCED_STEP / 2 && at + view.leftMs > now);

const grantFor = ({ grant }: HolderState, now: number): EpochGrant | undefined => (grant !== undefined && ms(grant.exp) > now ? grant : undefined);

function standBy(config: HolderConfig, given: HolderState, tenant: string, now: number): { state: HolderState; plan: Plan } {
  const { rules, cell } = config;
  const pace = paces(rules);
  const fresh = Object.values(given.views).filter(({ at }) => now - at <= pace.fresh);
  const free = fresh.filter(({ view, at }) => view.cell === cell || (at + view.leftMs <= now && view.heirs?.includes(cell) !== false));
  const grant = grantFor(given, now);
  const granted = grant !== undefined && grant.epoch > Math.max(given.known, given.burnt);
  const forced = !granted && forcedElsewhere(config, given, Math.max(0, ...free.map(({ view }) => view.epoch)), now);
  let state: HolderState = { ...given, freeSince: !forced && free.length >= rules.quorum - (granted ? 1 : 0) ? (given.freeSince ?? now) : undefined };
  const top = fresh.map(({ view }) => view).reduce<EpochView | undefined>((best, view) => (best === undefined || view.epoch > best.epoch ? view : best), undefined);
  // Who has just started hears all observers out: the slowest may be the one that knows better.
  const unheard = Object.keys(given.views).length < rules.observers.length;
  const wait = granted ? 0 : Math.max(pace.turn * rank(config, tenant, top), unheard ? pace.look : 0);
  if (state.freeSince !== undefined && now >= state.retryAt && now - state.freeSince >= wait) {
    // A process of this cell had it: the same epoch goes on.
    const goOn = top !== undefined && top.cell === cell && !top.released && top.epoch >= state.known && top.epoch > state.burnt;
    const epoch = granted ? grant.epoch : goOn ? top.epoch : Math.max(state.known, state.burnt) + 1;
    const observers = rules.observers.map((observer) => observer.cell);
    // Whom the owner has go on need not be an heir; it leaves the tenant to nobody, until it has found one.
    const namings = granted ? [{ n: state.lastNaming + 1, cells: [], since: {}, unasked: false }] : [];
    state = sent({ ...state, namings, candidates: [], lastNaming: state.lastNaming + namings.length, epoch, attemptAt: now, freeSince: undefined, promises: [] }, observers, now);
    return { state, plan: { ...NOTHING, ask: observers.map((observer) => ({ observer, epoch, ...asNamed(namings[0], observer) })) } };
  }
  const look = rules.observers.map((observer) => observer.cell).filter((observer) => now - (state.sentAt[observer] ?? Number.NEGATIVE_INFINITY) >= pace.look);
  return { state: sent(state, look, now), plan: { ...NOTHING, look } };
}

/** How many cells come before this one: who let it run out is taken for ill and not waited for, who gave it back comes last. */
function rank({ cell, rules }: HolderConfig, tenant: string, top: EpochView | undefined): number {
  let order = rules.order(tenant).filter((one) => one === cell || top?.heirs?.includes(one) !== false);
  if (top?.cell === cell && !top.released) return 0;
  if (top?.cell !== undefined && top.cell !== cell) order = order.filter((one) => one !== top.cell);
  if (top?.released === true && top.cell !== undefined && rules.order(tenant).includes(top.cell)) order = [...order.filter((one) => one !== top.cell), top.cell];
  if (top?.to !== undefined && order.includes(top.to)) order = [top.to, ...order.filter((one) => one !== top.to)];
  return order.indexOf(cell);
}

const sent = (state: HolderState, observers: readonly string[], now: number): HolderState =>
  (observers.length === 0 ? state : { ...state, sentAt: { ...state.sentAt, ...Object.fromEntries(observers.map((observer) => [observer, now])) } });

/** What one observer answered about the tenant. */
export interface TenantAnswer { readonly promise?: KeptPromise | undefined; readonly denied?: EpochView | undefined; readonly view?: EpochView | undefined }

/** A promise counts only for the epoch that is asked for now: a late one, of an epoch given up, is worth nothing. */
export function absorb(config: HolderConfig, given: HolderState, tenant: string, observer: string, { promise, denied, view }: TenantAnswer, now: number): HolderState {
  const { rules } = config;
  let state = given;
  if (promise !== undefined && usable(config, state, tenant, observer, promise.promise, now)) {
    const before = state.promises.find((one) => one.promise.observer === observer && one.promise.epoch === promise.promise.epoch);
    if (before === undefined || before.promise.exp < promise.promise.exp || (before.promise.heirs?.n ?? 0) < (promise.promise.heirs?.n ?? 0)) {
      state = { ...state, promises: [...state.promises.filter((one) => one !== before), promise], known: Math.max(state.known, promise.promise.epoch) };
    }
  }
  const told = denied ?? view;
  if (told === undefined || told.tenant !== tenant) return state;
  state = { ...state, known: Math.max(state.known, told.epoch), views: { ...state.views, [observer]: { view: told, at: now } } };
  const lost = denied !== undefined && state.epoch !== 0 && denied.epoch >= state.epoch && holds(config, state, tenant, now) === undefined;
  // Somebody else has it, or this very epoch was given back: stand by. What observers promised meanwhile ends by itself.
  if (lost) state = { ...state, ...NO_HEIRS, burnt: Math.max(state.burnt, state.epoch), epoch: 0, attemptAt: undefined, promises: [], freeSince: undefined, retryAt: Math.max(state.retryAt, now + paces(rules).retry), sentAt: {} };
  return state;
}

function usable({ cell, instance, rules }: HolderConfig, state: HolderState, tenant: string, observer: string, p: EpochPromise, now: number): boolean {
  return p.tenant === tenant && p.cell === cell && p.instance === instance && p.observer === observer && p.epoch === state.epoch && p.epoch > state.burnt
    && ms(p.exp) - ms(p.iat) <= rules.leaseMs && ms(p.iat) <= now + rules.clockBoundMs;
}

/** Planned failover: stops serving at once, then tells the observers, who need not wait. @param to who shall have it */
export function giveBack(config: HolderConfig, state: HolderState, tenant: string, to: string | undefined, now: number): { state: HolderState; plan: Plan } {
  const { rules } = config;
  const epochs = [...new Set([state.epoch, ...state.promises.map(({ promise }) => promise.epoch)])].filter((epoch) => epoch > 0).sort((a, b) => a - b);
  const release = epochs.flatMap((epoch) => rules.observers.map(({ cell }) => ({ observer: cell, epoch, ...(to === undefined ? {} : { to }) })));
  const next: HolderState = {
    ...IDLE, lastNaming: state.lastNaming + 1, known: state.known, burnt: Math.max(state.burnt, state.epoch, ...epochs), grant: undefined,
    // Old looks still under way would say that this cell has it.
    retryAt: now + rules.leaseMs + paces(rules).turn * rules.order(tenant).length,
  };
  return { state: next, plan: { ...NOTHING, release } };
}
