/**
 * Who asks a broker for a key: a good counter, and others that differ from it in one thing each. All speak to the broker's own port, so that no gateway refuses in its
 * place, with evidence that the cell's simulated machine really signs; what makes them hostile is only what they say or are.
 *
 * | requester | what is wrong with it |
 * |---|---|
 * | unattested | a session of its own making: no evidence was ever shown |
 * | wrong-measurement | other code than the owner's policy names, on a genuine machine |
 * | debug | a machine in debug mode: registers of zeros (Nitro), the policy bit (SEV-SNP), a token of a debug image (Confidential Space) |
 * | stale | evidence over the nonce of an earlier challenge |
 * | replayed | evidence that opened a session before, sent again |
 * | wrong-region | a machine, or a key's zone, of another region |
 * | fenced | a good counter of a cell that does not hold the tenant's epoch, or no longer |
 * | revoked | code that was good until the owner signed it away, with the session that it got in time |
 * | node-scope | evidence of a whole node that asks for a broker's role |
 */
import { cp, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { b64u, type Bytes, fromB64u, randomBytes, utf8 } from '../../attestation/bytes.ts';
import type { Attester, Platform, Role } from '../../attestation/evidence.ts';
import { simulatedAttester } from '../../attestation/platforms/simulated/attest.ts';
import { machineAttester } from '../../attestation/platforms/simulated/machine-attest.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { counterGateway, type Challenge } from '../../workloads/counter/gateway-client.ts';
import { type CellConfig, origin } from '../../workloads/protocol/cell.ts';
import { fromBinding, fromEvidence } from '../../workloads/protocol/evidence.ts';
import { generateReceivingKey } from '../../workloads/protocol/hpke.ts';
import { Answered, parseJson, request } from '../../workloads/protocol/http-client.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { measureRole, type Registers } from '../../workloads/protocol/measure.ts';
import { type Attested, challengeSchema, RELEASE_PATH, releaseResponseSchema, type Session, sessionSchema, type TenantEpoch } from '../../workloads/protocol/messages.ts';
import { makePop } from '../../workloads/protocol/pop.ts';
import { debugAttester } from './debug-machine.ts';
import type { Requester } from './history.ts';

export interface Target {
  readonly folder: string;
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
}
/** A data key to ask for: the header of a message to a key of the tenant. */
export interface Wanted { readonly tenant: string; readonly jobId: string; readonly header: Bytes }
export interface Answer { readonly actual: 'released' | 'denied'; readonly code?: string }

const CALL = { timeoutMs: 10_000, maxBytes: 1 << 20 } as const;
const seconds = (): number => Math.floor(Date.now() / 1000);
let measured: Promise<Registers> | undefined;
/** The tree does not change under a drill. */
const counterRegisters = (): Promise<Registers> => (measured ??= measureRole('counter'));
const other = (registers: Registers): Registers => ({ ...registers, PCR0: registers.PCR0.replace(/./g, (digit) => (15 - Number.parseInt(digit, 16)).toString(16)) });

/** Code of an image before this one: registers that an owner may have named and may revoke. */
export const previousGeneration = (registers: Registers): Registers => ({ ...registers, PCR0: [...registers.PCR0].reverse().join('') });

async function attesterOf({ folder, cell }: Target, registers: Registers, platform: Platform = cell.platform, simulated = join(folder, 'simulated')): Promise<Attester> {
  const options = { folder: simulated, registers, now: Date.now };
  return platform === 'aws-nitro' ? simulatedAttester(options) : machineAttester({ ...options, platform });
}

/** One workload with keys of its own. */
export class Workload {
  readonly #target: Target;
  readonly #platform: Platform;
  readonly #attester: Attester;
  readonly #signing: Awaited<ReturnType<typeof generateSigningKey>>;
  readonly #receiving: Awaited<ReturnType<typeof generateReceivingKey>>;

  private constructor(target: Target, platform: Platform, attester: Attester, signing: Workload['signing'], receiving: Workload['receiving']) {
    this.#target = target;
    this.#platform = platform;
    this.#attester = attester;
    this.#signing = signing;
    this.#receiving = receiving;
  }

  static async create(target: Target, attester: Attester, platform: Platform = target.cell.platform): Promise<Workload> {
    return new Workload(target, platform, attester, ...await Promise.all([generateSigningKey(), generateReceivingKey()]));
  }

  get signing() { return this.#signing; }
  get receiving() { return this.#receiving; }

  async #post(path: string, body: object, headers: Record<string, string> = {}): Promise<Bytes> {
    return request(origin(this.#target.cell.broker), { ...CALL, method: 'POST', path, body, headers, now: seconds() });
  }

  async challenge(role: Role = 'counter'): Promise<Challenge> {
    return parseJson(challengeSchema, await this.#post('/v1/challenge', { role, platform: this.#platform }));
  }

  async answer(challenge: Challenge, { role = 'counter', nonce = challenge.nonce }: { role?: Role; nonce?: string } = {}): Promise<Attested> {
    const { cell, configDigest } = this.#target;
    const binding = {
      platform: this.#platform, role, cell: cell.cell, challengeId: fromB64u(challenge.challenge_id), nonce: fromB64u(nonce), audience: challenge.audience,
      receivingKey: this.#receiving.publicKey, signingKey: this.#signing.publicKey, tlsSpkiSha256: new Uint8Array(0),
      policyDigest: fromB64u(challenge.policy_digest), configDigest, payloadDigest: new Uint8Array(32),
    };
    return { evidence: fromEvidence(await this.#attester.attest({ binding })), binding: fromBinding(binding) };
  }

  async attest(attested?: Attested): Promise<Session> {
    return parseJson(sessionSchema, await this.#post('/v1/attest', attested ?? await this.answer(await this.challenge())));
  }

  /** Asks for one key. @throws Answered, Unreachable */
  async release(session: string, wanted: Wanted, epochs: readonly TenantEpoch[] = []): Promise<Answer> {
    const body = { items: [{ tenant_id: wanted.tenant, job_id: wanted.jobId, header: b64u(wanted.header) }], ...(epochs.length === 0 ? {} : { epochs: [...epochs] }) };
    const pop = await makePop({ key: this.#signing.privateKey, method: 'POST', path: RELEASE_PATH, body: utf8(JSON.stringify(body)), session, now: seconds() });
    const { items: [item] } = parseJson(releaseResponseSchema, await this.#post('/v1/release', body, { 'ccc-session': session, 'ccc-pop': pop }));
    if (item === undefined) return { actual: 'denied', code: 'RELEASE_ANSWER' };
    return item.ok ? { actual: 'released' } : { actual: 'denied', code: item.problem.code };
  }

  /** What the cell's gateway shows of its epochs for a tenant, as any counter is shown; none where it holds none. */
  async epochs({ session }: Session, tenant: string): Promise<TenantEpoch[]> {
    let shown: readonly TenantEpoch[] = [];
    const gateway = counterGateway({ origin: origin(this.#target.cell.gateway.internal), now: Date.now, timeoutMs: CALL.timeoutMs, onEpochs: (epochs) => { shown = epochs; } });
    await gateway.heartbeat([{ tenant_id: tenant, job_id: crypto.randomUUID(), lease_token: b64u(randomBytes(16)) }], { session, key: this.#signing.privateKey });
    return shown.filter(({ tenant_id }) => tenant_id === tenant);
  }

  /** A session whose payload says all that a good one says, signed by a key that no broker knows. */
  async forgedSession(): Promise<string> {
    const own = await generateSigningKey();
    const challenge = await this.challenge();
    return signJws('ccc-session+jwt', {
      iss: challenge.audience, sid: b64u(randomBytes(16)), role: 'counter', cell: this.#target.cell.cell, cnf: { jwk: { kty: 'OKP', crv: 'Ed25519', x: b64u(this.#signing.publicKey) } },
      claims_digest: '0'.repeat(64), policy_digest: challenge.policy_digest, policy_revision: 1, iat: seconds(), exp: seconds() + 600,
    }, own.privateKey);
  }
}

/** A refusal is an answer; anything else, a time-out say, is none, and proves nothing. @throws what is no refusal */
async function denied(work: () => Promise<Answer>): Promise<Answer> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof Answered && error.status < 500) return { actual: 'denied', code: error.code };
    if (error instanceof Refusal) return { actual: 'denied', code: error.codes[0] ?? 'REFUSED' };
    throw error;
  }
}

export interface MatrixInput {
  readonly target: Target;
  /** To a key of a tenant that this cell holds. */
  readonly wanted: Wanted;
  /** To a key of a zone without this cell's region. Absent: a machine of another region asks for `wanted`, on platforms whose evidence names one. */
  readonly foreign?: Wanted | undefined;
}

type Ask = (input: MatrixInput, registers: Registers) => Promise<Answer>;

async function good({ target, wanted }: MatrixInput, registers: Registers): Promise<Answer> {
  const counter = await Workload.create(target, await attesterOf(target, registers));
  const session = await counter.attest();
  return counter.release(session.session, wanted, await counter.epochs(session, wanted.tenant));
}

/** Epochs as a good counter gets them, so that only what is wrong with the requester can be the reason. */
async function honestEpochs(target: Target, registers: Registers, tenant: string): Promise<TenantEpoch[]> {
  const counter = await Workload.create(target, await attesterOf(target, registers));
  return counter.epochs(await counter.attest(), tenant);
}

const ASKS: Readonly<Partial<Record<Requester, Ask>>> = {
  good,
  async unattested({ target, wanted }, registers) {
    const epochs = await honestEpochs(target, registers, wanted.tenant);
    const counter = await Workload.create(target, await attesterOf(target, registers));
    return counter.release(await counter.forgedSession(), wanted, epochs);
  },
  'wrong-measurement': (input, registers) => good(input, other(registers)),
  async debug({ target, wanted }, registers) {
    const counter = await Workload.create(target, await debugAttester(join(target.folder, 'simulated'), target.cell.platform, registers));
    const session = await counter.attest();
    return counter.release(session.session, wanted, await counter.epochs(session, wanted.tenant));
  },
  async stale({ target, wanted }, registers) {
    const counter = await Workload.create(target, await attesterOf(target, registers));
    const before = await counter.challenge();
    const session = await counter.attest(await counter.answer(await counter.challenge(), { nonce: before.nonce }));
    return counter.release(session.session, wanted, await counter.epochs(session, wanted.tenant));
  },
  async replayed({ target, wanted }, registers) {
    const counter = await Workload.create(target, await attesterOf(target, registers));
    const shown = await counter.answer(await counter.challenge());
    await counter.attest(shown);
    const session = await counter.attest(shown);
    return counter.release(session.session, wanted, await counter.epochs(session, wanted.tenant));
  },
  async 'wrong-region'({ target, wanted, foreign }, registers) {
    if (foreign !== undefined) return good({ target, wanted: foreign }, registers);
    const folder = await mkdtemp(join(tmpdir(), 'ccc-elsewhere-'));
    try {
      await cp(join(target.folder, 'simulated'), folder, { recursive: true });
      await writeFile(join(folder, 'region'), 'elsewhere-1\n');
      const counter = await Workload.create(target, await attesterOf(target, registers, target.cell.platform, folder));
      const session = await counter.attest();
      return await counter.release(session.session, wanted, await counter.epochs(session, wanted.tenant));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  /** Only where the cell has machines of a node's scope. */
  async 'node-scope'({ target, wanted }, registers) {
    const broker = await Workload.create(target, await attesterOf(target, registers, 'gke'), 'gke');
    const session = await broker.attest(await broker.answer(await broker.challenge('broker'), { role: 'broker' }));
    return broker.release(session.session, wanted);
  },
};

/** Those that can be played here: `node-scope` only where counters run on nodes, `wrong-region` only with a foreign key or evidence that names a region. */
export const askable = ({ target: { cell }, foreign }: MatrixInput): Requester[] => (Object.keys(ASKS) as Requester[])
  .filter((one) => (one !== 'node-scope' || cell.platform === 'gke') && (one !== 'wrong-region' || cell.platform === 'aws-nitro' || foreign !== undefined));

/** @throws Unreachable, or whatever else is no answer of the broker */
export async function ask(requester: Requester, input: MatrixInput): Promise<Answer> {
  const one = ASKS[requester];
  if (one === undefined) throw new TypeError(`${requester} needs more than a cell`);
  return denied(async () => one(input, await counterRegisters()));
}

/** A counter that was good, and asks again after the world has changed: fenced, or revoked. */
export interface Remembered {
  readonly first: Answer;
  /** With the session and the epochs that it got then. */
  again(): Promise<Answer>;
  /** With the session that it got then, and the cell's epochs of now, or the last that it was shown. */
  renewed(): Promise<Answer>;
  /** From evidence on, with the epochs that it got then: an honest counter of a cell that does not know that its time is over. */
  anew(): Promise<Answer>;
}

export async function remembered({ target, wanted }: MatrixInput, registersOf: (registers: Registers) => Registers = (registers) => registers): Promise<Remembered> {
  const registers = registersOf(await counterRegisters());
  const counter = await Workload.create(target, await attesterOf(target, registers));
  const session = await counter.attest();
  const epochs = await counter.epochs(session, wanted.tenant);
  const next = (): Wanted => ({ ...wanted });
  let latest = epochs;
  /** An epoch that has run out says nothing of the session: then it is the gateway's refusal to show a newer one to it that counts. */
  const renewed = async (): Promise<Answer> => {
    const shown = await denied(async () => { latest = await counter.epochs(session, wanted.tenant); return { actual: 'released' }; });
    const answer = await denied(() => counter.release(session.session, next(), latest));
    return answer.code?.startsWith('EPOCH_') === true && shown.actual === 'denied' ? shown : answer;
  };
  return {
    first: await denied(() => counter.release(session.session, next(), epochs)),
    again: () => denied(() => counter.release(session.session, next(), epochs)),
    renewed,
    anew: () => denied(async () => counter.release((await counter.attest()).session, next(), epochs)),
  };
}

