/**
 * Azure Key Vault, secure key release: the cell's RSA-HSM key leaves the vault wrapped to a key of this VM's vTPM, when a token of the own attestation instance satisfies the
 * key's release policy (modules/azure/release-policy.ts). Tenant keys are sealed here, under what is derived of it; it is asked for once, and again by each new process.
 *
 * Proves: who opens a sealed key is a VM whose launch measurement and settings the policy names. Does not prove the guest's image: tokens list PCRs without their values, so the
 * release policy cannot compare them. `proveSelf` does that with the owner's policy before the key is asked for: a wrong image that runs this code gets nothing, one that runs other
 * code on the right paravisor is stopped by the attestation instance's own policies alone. Nor does it prove that nobody with rights on the vault put a key there that he knows.
 */
import { z } from 'zod';
import { b64u, type Bytes, bytes, concat, fromB64u, randomBytes, utf8 } from '../../../attestation/bytes.ts';
import { canonicalJson } from '../../../attestation/canonical.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type Answer, ask, type Call, hostOf, read, type Service, type Surroundings } from './call.ts';
import type { Context, DataKeyService } from './envelope.ts';
import type { Kept } from './kept.ts';
import { type GuestToken, RUNTIME_KEY_ID } from './maa-guest.ts';
import { derivedKey, RELEASE_WRAP } from './released-key.ts';
import { verifyRelease } from './vault-jws.ts';

export interface AzureSkrOptions {
  /** `https://<vault>.vault.azure.net/keys/<name>`: seals from now on. Keys of earlier periods (another number and policy in the name) open what they sealed. */
  readonly keyUri: string;
  /** Origin of the vault, from cell.json. */
  readonly vault: string;
  /** Origin of the attestation instance, from cell.json. */
  readonly attestation: string;
  /** This VM under the owner's policy. @returns indexes of the PCRs that the policy compared. @throws Refusal when it does not satisfy it */
  readonly proveSelf: () => Promise<readonly number[]>;
  /** @param pcrs to be quoted */
  readonly guest: (pcrs: readonly number[]) => Promise<GuestToken>;
  readonly credentials: Kept<string>;
  readonly service: Service;
  readonly around: Surroundings;
  /** Of the answer's signature, PEM; the public ones unless given. */
  readonly roots?: readonly string[];
}

const API = 'api-version=7.4';
/** `<stem>-<period>-<tag of the release policy>`, as modules/azure/attested-key.ts names them. */
const NAME = /^([a-z0-9-]{1,100})-[0-9]{1,5}-[0-9a-f]{8}$/;
const VERSION = /^[0-9a-f]{32}$/;
const DATA_KEY = 32;
const IV = 12;
const word = z.string().max(1_024);
const encoded = (max: number) => z.string().min(2).max(max).regex(/^[A-Za-z0-9_-]+$/).transform((value) => fromB64u(value));
const keySchema = z.object({ key: z.object({ kid: word }) });
const resultSchema = z.object({ value: z.string().min(16).max(200_000) });
const conditionSchema = z.object({ claim: word, equals: z.union([z.string(), z.boolean(), z.number()]) });
const policySchema = z.object({ version: z.literal('1.0.0'), anyOf: z.array(z.object({ authority: word, allOf: z.array(conditionSchema).max(64) })).min(1).max(16) });
const payloadSchema = z.object({
  request: z.object({ kid: word, nonce: word, enc: z.literal(RELEASE_WRAP) }),
  response: z.object({ key: z.object({
    key: z.object({ kid: word, kty: z.enum(['RSA', 'RSA-HSM']), n: encoded(1_024), e: z.literal('AQAB'), key_hsm: encoded(32_768) }),
    attributes: z.object({ enabled: z.literal(true), exportable: z.literal(true) }), release_policy: z.object({ data: encoded(65_536) }),
  }) }),
});
const wrappedSchema = z.object({ schema_version: z.literal('1.0'), header: z.object({ kid: z.literal(RUNTIME_KEY_ID), alg: z.literal('dir'), enc: z.literal(RELEASE_WRAP) }), ciphertext: encoded(16_384) });

/** @throws Refusal KEY_SEALER_ABSENT when the key is none of the cell's vault */
export function azureSkr(options: AzureSkrOptions): DataKeyService {
  const { keyUri, vault, attestation, proveSelf, guest, credentials, service, around, roots } = options;
  const current = URL.canParse(keyUri) && keyUri.startsWith(`${vault}/keys/`) ? keyUri.slice(`${vault}/keys/`.length) : '';
  const stem = NAME.exec(current)?.[1];
  if (stem === undefined) return refuse('KEY_SEALER_ABSENT', 'CCC_KEY_URI', 'Give the broker the address of the attested key, in the vault that cell.json names.', { have: keyUri.slice(0, 128), need: `${vault}/keys/<name>` });
  /** By name and version. */
  const released = new Map<string, Promise<CryptoKey>>();
  let version: string | undefined;

  const call = async (request: Omit<Call, 'headers'>, what: string): Promise<Answer> => {
    const answer = await ask(service, { ...request, headers: { 'content-type': 'application/json' } }, around, async (bare, stale) => ({ ...bare, headers: { ...bare.headers, authorization: `Bearer ${await credentials(stale)}` } }));
    if (answer.status === 200) return answer;
    return refuse('KEY_SEALER_REFUSED', `vault.${what}`, answer.status === 403
      ? 'The vault does not release its key to this VM: compare the launch measurement and settings with the key\'s release policy, and see whether the identity may release it.'
      : 'See in the vault whether the key is there and enabled, and what the service says of this request.', { have: `${answer.status} ${answer.code}`.trim(), need: 'the vault\'s consent' });
  };

  const currentId = async (): Promise<string> => {
    if (version === undefined) {
      const { key: { kid } } = read(keySchema, await call({ method: 'GET', path: `/keys/${current}?${API}` }, 'key'), 'vault.key');
      const found = kid.startsWith(`${vault}/keys/${current}/`) ? kid.slice(`${vault}/keys/${current}/`.length) : '';
      if (!VERSION.test(found)) refuse('KEY_SEALER_ANSWER', 'vault.key.kid', 'See what answers at the vault\'s address.', { have: kid.slice(0, 256), need: `${vault}/keys/${current}/<version>` });
      version = found;
    }
    return `${current}/${version}`;
  };

  const keyOf = (id: string): Promise<CryptoKey> => {
    let found = released.get(id);
    if (found === undefined) {
      found = release(id).catch((error: unknown) => { released.delete(id); throw error; });
      released.set(id, found);
    }
    return found;
  };

  const release = async (id: string): Promise<CryptoKey> => {
    const { token, key } = await guest(await proveSelf());
    try {
      const nonce = b64u(randomBytes(32));
      const answer = await call({ method: 'POST', path: `/keys/${id}/release?${API}`, body: JSON.stringify({ target: token, nonce, enc: RELEASE_WRAP }) }, 'release');
      const payload = await verifyRelease(read(resultSchema, answer, 'vault.release').value, { host: new URL(vault).hostname, roots, now: around.now() });
      const { request, response: { key: { key: out, release_policy } } } = read(payloadSchema, asAnswer(payload), 'release.payload');
      const kid = `${vault}/keys/${id}`;
      for (const [path, have, need] of [['release.request.kid', request.kid, kid], ['release.key.kid', out.kid, kid], ['release.request.nonce', request.nonce, nonce]] as const) {
        if (have !== need) refuse('KEY_SEALER_ANSWER', path, 'Nothing was opened. The vault released another key, or answered another request.', { have: have.slice(0, 256), need });
      }
      checkPolicy(release_policy.data, attestation);
      const { ciphertext } = read(wrappedSchema, { status: 200, code: '', body: out.key_hsm }, 'release.key_hsm');
      return await derivedKey(ciphertext, key, out.n, kid);
    } finally {
      await key.end().catch(() => {});
    }
  };

  const aad = (context: Context, id: string): Bytes => utf8(canonicalJson({ context, key: `${vault}/keys/${id}` }));
  return {
    service: 2,
    async generate(context) {
      const id = await currentId();
      const key = await keyOf(id);
      const [plaintext, iv] = [randomBytes(DATA_KEY), randomBytes(IV)];
      return { plaintext, wrapped: concat(iv, bytes(await crypto.subtle.encrypt({ name: 'AES-GCM', iv, additionalData: aad(context, id) }, key, plaintext))), keyId: id };
    },
    async unwrap(context, id, wrapped) {
      const lost = (have: string): never => refuse('KEY_SEALER_LOST', 'tenant-key.sealed', 'The row was changed, or belongs to another tenant, cell or key; restore it from a backup of the ledger.', { have, need: 'a key of this cell' });
      const [name = '', of = '', ...more] = id.split('/');
      if (more.length > 0 || NAME.exec(name)?.[1] !== stem || !VERSION.test(of)) lost('a key that is none of this cell\'s');
      const key = await keyOf(id);
      try {
        return bytes(await crypto.subtle.decrypt({ name: 'AES-GCM', iv: wrapped.subarray(0, IV), additionalData: aad(context, id) }, key, wrapped.subarray(IV)));
      } catch {
        return lost('a wrapped key that does not open');
      }
    },
    describe: () => ({ backend: 'azure-skr', location: `${keyUri} at ${hostOf(service)}`, proves: 'the key was released to a VM of the listed launch measurements, whose own PCRs the owner\'s policy accepts; not that no other image on that paravisor could ask for it, nor that the vault\'s administrators put no key of theirs there' }),
  };
}

const asAnswer = (value: unknown): Answer => ({ status: 200, code: '', body: utf8(JSON.stringify(value)) });

/** Not whether it is the reviewed policy, but whether it is one at all: of our instance, for one launch measurement, without debugging. */
function checkPolicy(data: Bytes, attestation: string): void {
  const policy = read(policySchema, { status: 200, code: '', body: data }, 'release.policy');
  for (const { authority, allOf } of policy.anyOf) {
    const has = (claim: string, holds: (value: unknown) => boolean): boolean => allOf.some((c) => c.claim === claim && holds(c.equals));
    const tight = authority.replace(/\/$/, '') === attestation && has('x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement', (v) => typeof v === 'string' && /^[0-9a-f]{96}$/.test(v)) && has('x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable', (v) => v === false);
    if (!tight) refuse('KEY_SEALER_ANSWER', 'release.policy', 'This key is released to more than the cell\'s brokers. Seal with the one that the stack made.', { have: `an authority ${authority.slice(0, 128)} with ${allOf.length} conditions`, need: `${attestation}, a launch measurement, no debugging` });
  }
}
