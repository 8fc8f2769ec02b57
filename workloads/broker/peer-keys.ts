/** The broker's way to brokers of other cells: over its own gateway and theirs, which carry bytes and are believed in nothing. */
import type { z } from 'zod';
import type { Platform } from '../../attestation/evidence.ts';
import { utf8 } from '../../attestation/bytes.ts';
import { type Clock, seconds } from '../protocol/clock.ts';
import { parseJson, request } from '../protocol/http-client.ts';
import { type Attested, challengeSchema, type Session, sessionSchema } from '../protocol/messages.ts';
import { makePop } from '../protocol/pop.ts';
import { INNER_POP, INNER_SESSION, type KeyWants, keyWantsSchema, type Relayed, relayPath, SHARE_PATH, type ShareRequest, type ShareResponse, shareResponseSchema } from '../protocol/sharing.ts';
import type { Identity } from './identity.ts';

export interface PeerKeys {
  keyWants(): Promise<KeyWants>;
  challenge(cell: string, platform: Platform): Promise<z.infer<typeof challengeSchema>>;
  attest(cell: string, attested: Attested): Promise<Session>;
  share(cell: string, body: ShareRequest, session: string): Promise<ShareResponse>;
}

const ANSWER_BYTES = 2 << 20;

/** @throws Unreachable, Answered */
export function peerKeys({ origin, identity, now, timeoutMs = 10_000 }: { origin: string; identity: Identity; now: Clock; timeoutMs?: number }): PeerKeys {
  const ask = (method: 'GET' | 'POST', path: string, body?: object, headers: Record<string, string> = {}) => request(origin, {
    method, path, ...(body === undefined ? {} : { body }), headers: { 'ccc-broker': identity.instance, ...headers }, proof: { key: identity.signing.privateKey }, now: seconds(now), timeoutMs, maxBytes: ANSWER_BYTES,
  });
  const relay = (cell: string, what: Relayed, body: object, headers?: Record<string, string>) => ask('POST', relayPath(cell, what), body, headers);
  return {
    keyWants: async () => parseJson(keyWantsSchema, await ask('GET', '/internal/v1/key-wants')),
    challenge: async (cell, platform) => parseJson(challengeSchema, await relay(cell, 'challenge', { role: 'broker', platform })),
    attest: async (cell, attested) => parseJson(sessionSchema, await relay(cell, 'attest', attested)),
    async share(cell, body, session) {
      const pop = await makePop({ key: identity.signing.privateKey, method: 'POST', path: SHARE_PATH, body: utf8(JSON.stringify(body)), session, now: seconds(now) });
      return parseJson(shareResponseSchema, await relay(cell, 'share-keys', body, { [INNER_SESSION]: session, [INNER_POP]: pop }));
    },
  };
}
