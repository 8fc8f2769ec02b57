/** The broker, seen from the gateway: a client of its HTTP interface, and its key, believed only after its evidence was verified here. */
import { setTimeout as delay } from 'node:timers/promises';
import type { z } from 'zod';
import { b64u, fromB64u, randomBytes } from '../../attestation/bytes.ts';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import { Refusal } from '../../attestation/refusal.ts';
import { verifyAttested } from '../protocol/appraised.ts';
import { type CellConfig, origin } from '../protocol/cell.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { errorFields, type Log } from '../protocol/log.ts';
import { brokerEvidenceSchema, problemSchema } from '../protocol/messages.ts';
import { exchange } from '../protocol/exchange.ts';
import { CccError, isProblemCode, PROBLEM_MEDIA_TYPE } from '../protocol/problem.ts';
import type { Limits } from './limits.ts';
import type { OwnerDocuments } from './policy.ts';

export interface BrokerAnswer { readonly status: number; readonly mediaType: string; readonly body: Buffer }

const down = (cause: unknown): CccError => new CccError('BROKER_UNAVAILABLE', 'Try again shortly.', { retryAfter: 2, cause });

export class BrokerClient {
  readonly #origin: string;
  readonly #limits: Limits;

  constructor(options: { origin: string; limits: Limits }) {
    this.#origin = options.origin;
    this.#limits = options.limits;
  }

  /** Bytes there, bytes back. @throws CccError BROKER_UNAVAILABLE */
  async pass(path: string, body: Uint8Array, headers: Record<string, string> = {}): Promise<BrokerAnswer> {
    try {
      const answer = await exchange(this.#origin + path, {
        method: 'POST', body, signal: AbortSignal.timeout(this.#limits.brokerMs), headers: { 'content-type': 'application/json', ...headers }, maxBytes: () => this.#limits.brokerAnswerBytes,
      });
      // Only JSON comes from a broker: nothing it says is shown as anything else.
      const mediaType = answer.mediaType?.startsWith(PROBLEM_MEDIA_TYPE) ? PROBLEM_MEDIA_TYPE : 'application/json';
      return { status: answer.status, mediaType, body: Buffer.from(answer.body.buffer, answer.body.byteOffset, answer.body.byteLength) };
    } catch (cause) {
      throw down(cause);
    }
  }

  /** @throws CccError with the broker's own code when it knows one; BROKER_UNAVAILABLE otherwise */
  async ask<T>(path: string, request: object, schema: z.ZodType<T>): Promise<T> {
    const answer = await this.pass(path, Buffer.from(JSON.stringify(request)));
    let json: unknown;
    try {
      json = JSON.parse(answer.body.toString('utf8'));
    } catch (cause) {
      throw down(cause);
    }
    if (answer.status < 200 || answer.status > 299) {
      const problem = problemSchema.safeParse(json);
      if (!problem.success || !isProblemCode(problem.data.code) || problem.data.code === 'INTERNAL') throw down(problem.error);
      throw new CccError(problem.data.code, problem.data.detail ?? 'The broker refused.', { retryAfter: problem.data.status === 503 ? 2 : undefined });
    }
    const parsed = schema.safeParse(json);
    if (!parsed.success) throw down(parsed.error);
    return parsed.data;
  }

  async healthy(): Promise<boolean> {
    try {
      const { status } = await exchange(`${this.#origin}/v1/health`, { method: 'GET', headers: {}, signal: AbortSignal.timeout(this.#limits.brokerMs), maxBytes: () => this.#limits.jsonBytes });
      return status === 200;
    } catch {
      return false;
    }
  }
}

export interface VerifiedBroker {
  readonly instance: string;
  /** Raw Ed25519, from evidence. */
  readonly signingKey: Uint8Array;
  readonly policyRevision: number;
  readonly verifiedAt: number;
}

const MAX_INSTANCES = 8;

export interface BrokerTrustOptions {
  readonly client: BrokerClient; readonly documents: OwnerDocuments; readonly cell: CellConfig; readonly configDigest: Uint8Array;
  readonly limits: Limits; readonly now: Clock; readonly log: Log;
  /** Absent: evidence that needs what vendors publish is refused. */
  readonly collateral?: CollateralSupply | undefined;
}

export class BrokerTrust {
  readonly #options: BrokerTrustOptions;
  readonly #known = new Map<string, VerifiedBroker>();
  #flight: Promise<void> | undefined;
  #attemptedAt = Number.NEGATIVE_INFINITY;
  #failed = false;

  constructor(options: BrokerTrustOptions) {
    this.#options = options;
  }

  /** The broker of this name, verified under the policy in force; `undefined` when there is none. @throws CccError BROKER_UNAVAILABLE, BROKER_UNVERIFIED */
  async instance(name: string): Promise<VerifiedBroker | undefined> {
    return (await this.#fresh(name)) ?? (await this.#verifyOnce().then(() => this.#fresh(name)));
  }

  get known(): VerifiedBroker[] {
    return [...this.#known.values()];
  }

  async #fresh(name: string): Promise<VerifiedBroker | undefined> {
    const { policy } = await this.#options.documents.policy();
    const broker = this.#known.get(name);
    if (broker === undefined) return undefined;
    if (broker.policyRevision === policy.revision && this.#options.now() - broker.verifiedAt < this.#options.limits.brokerTrustMs) return broker;
    this.#known.delete(name);
    return undefined;
  }

  /** Whether the broker answers and proves itself, now or a short time ago. @throws CccError BROKER_UNAVAILABLE, BROKER_UNVERIFIED */
  async requireVerified(): Promise<void> {
    for (const { instance } of this.known) if (await this.#fresh(instance) !== undefined) return;
    await this.#verifyOnce();
  }

  /**
   * One attempt at a time, and none right after another: garbage from outside must not make work for the broker. After one that failed
   * callers wait for the next, since a broker that is just starting is worth a moment.
   */
  async #verifyOnce(): Promise<void> {
    const { now, limits } = this.#options;
    if (this.#flight === undefined) {
      const early = limits.brokerRetryMs - Math.abs(now() - this.#attemptedAt);
      if (early > 0 && !this.#failed) return;
      const attempt = async (): Promise<void> => {
        if (early > 0) await delay(early);
        this.#attemptedAt = now();
        this.#failed = true;
        await this.#verify();
        this.#failed = false;
      };
      this.#flight = attempt().finally(() => { this.#flight = undefined; });
    }
    await this.#flight;
  }

  async #verify(): Promise<void> {
    const { client, documents, cell, configDigest, now, log, collateral } = this.#options;
    const held = await documents.policy();
    const challengeId = randomBytes(16);
    const nonce = randomBytes(32);
    const audience = origin(cell.gateway.internal);
    const { instance, ...attested } = await client.ask('/v1/evidence', { challenge_id: b64u(challengeId), nonce: b64u(nonce), audience }, brokerEvidenceSchema);
    try {
      await verifyAttested({
        attested, policy: held.policy, now: seconds(now), mode: 'live', collateral,
        expect: {
          role: 'broker', cell: cell.cell, challengeId, nonce, audience, policyDigest: held.digest, payloadDigest: new Uint8Array(32), configDigest: Uint8Array.from(configDigest),
        },
      });
    } catch (cause) {
      const codes = cause instanceof Refusal ? cause.codes : [];
      log.error('broker refused', { instance, codes, ...errorFields(cause) });
      throw new CccError('BROKER_UNVERIFIED', 'Try again shortly; if it stays, the operator compares the broker with the owner\'s policy.', { retryAfter: 2, cause });
    }
    this.#known.delete(instance);
    this.#known.set(instance, { instance, signingKey: fromB64u(attested.binding.signing_key), policyRevision: held.policy.revision, verifiedAt: now() });
    if (this.#known.size > MAX_INSTANCES) this.#known.delete(this.#known.keys().next().value as string);
    log.info('broker verified', { instance, revision: held.policy.revision });
  }
}
