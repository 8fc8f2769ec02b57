/**
 * Google's launcher, Security Token Service and Cloud KMS as far as an attested broker sees them: tokens are verified, the provider's deployed condition and mapping are
 * evaluated on their claims, and the key obeys the deployed binding and deny policy.
 */
import { createCipheriv, createDecipheriv, randomBytes as random } from 'node:crypto';
import { evaluate } from '@marcbachmann/cel-js';
import { type Bytes, bytes, utf8 } from '../../../attestation/bytes.ts';
import { CheckList } from '../../../attestation/checks.ts';
import { collateralOf } from '../../../attestation/collateral/collateral.ts';
import { googleClaims, type GoogleParts, jwkOf, keySet, signToken } from '../../../attestation/platforms/simulated/tokens.ts';
import { verifyToken } from '../../../attestation/services/token.ts';
import { cellFile } from '../../../modules/cell-config.ts';
import { ENVIRONMENTS } from '../../../modules/environments.ts';
import { brokerImages } from '../../../modules/gcp/token-condition.ts';
import { readLock } from '../../../modules/measurements.ts';
import { KEYS, NOW } from '../../attestation/tokens/support.ts';
import { at, list, resources, templates } from '../../rules/stacks/template.ts';
import { type Heard, json, Loopback, type Said } from './loopback.ts';

const ENVIRONMENT = ENVIRONMENTS.prod;
const stack = templates().find((t) => t.stack === 'ccc-gcp-prod') ?? (() => { throw new Error('no stack'); })();
const provider = resources(stack, 'google_iam_workload_identity_pool_provider').find((b) => at(b.body, 'oidc', 'issuer_uri') === 'https://confidentialcomputing.googleapis.com')?.body ?? {};
const binding = resources(stack, 'google_kms_crypto_key_iam_binding').find((b) => JSON.stringify(b.body['members']).includes('attribute.image_digest'))?.body ?? {};
const denyExceptions = resources(stack, 'google_iam_deny_policy').flatMap((b) => list(b.body['rules'])).filter((rule) => JSON.stringify(rule).includes('useToDecrypt')).flatMap((rule) => list(at(rule, 'deny_rule', 'exception_principals')).map(String));
/** Terraform's escape of `${`. */
const CONDITION = String(provider['attribute_condition']).replaceAll('$${', '${');
const MAPPING = Object.fromEntries(Object.entries(provider['attribute_mapping'] as Record<string, string>).map(([name, text]) => [name, text.replaceAll('$${', '${')]));
const [AUDIENCE] = list(at(provider, 'oidc', 'allowed_audiences')).map(String) as [string];
const ISSUER = String(at(provider, 'oidc', 'issuer_uri'));
export const CELL = JSON.parse(cellFile(ENVIRONMENT, 'gcp').json) as { readonly ownerKey: string; readonly sealer: { readonly kind: 'gcp-kms'; readonly key: string; readonly audience: string } };
export const IMAGES = brokerImages(readLock());
export const KID = 'google-1';

export interface Instance { readonly digest?: string; readonly parts?: GoogleParts; readonly audience?: string; readonly issuedAt?: number; readonly key?: string }

/** What the launcher gives to the container of this instance. */
export async function launcher(request: { readonly audience: string; readonly nonces: readonly string[]; readonly token_type: string }, { digest = IMAGES[0] as string, parts = {}, audience = request.audience, issuedAt = NOW, key = 'service' }: Instance = {}): Promise<Bytes> {
  const { gcp } = ENVIRONMENT;
  const account = /'([^']+@[^']+)' in assertion\.google_service_accounts/.exec(CONDITION)?.[1] ?? '';
  const claims = googleClaims('GCP_INTEL_TDX', audience, request.nonces, issuedAt, {
    space: parts.space ?? {}, gce: { project_id: gcp.project, project_number: gcp.projectNumber, zone: gcp.zones[0] ?? '', ...parts.gce },
    container: { image_digest: digest, env_override: { CCC_CELL: /env_override\.CCC_CELL == '([^']+)'/.exec(CONDITION)?.[1] }, ...parts.container }, top: { iss: ISSUER, google_service_accounts: [account], ...parts.top },
  });
  return utf8(await signToken(claims, { key: await KEYS.get('RSA-2048', key), header: { kid: KID } }));
}

const VERSION = (n: number): string => `${CELL.sealer.key}/cryptoKeyVersions/${n}`;

export class FakeGcp {
  readonly sts = new Loopback((heard) => this.#sts(heard));
  readonly kms = new Loopback((heard) => this.#kms(heard));
  /** Principal sets by access token. */
  readonly tokens = new Map<string, { readonly principals: readonly string[]; readonly endsAt: number }>();
  /** Material by version, from 1; the last is the primary one. */
  readonly versions: (Buffer | undefined)[] = [random(32)];
  now = NOW * 1_000;
  members: readonly string[] = list(binding['members']).map(String);

  static async start(): Promise<FakeGcp> {
    const fake = new FakeGcp();
    await Promise.all([fake.sts.start(), fake.kms.start()]);
    return fake;
  }

  async stop(): Promise<void> {
    await Promise.all([this.sts.stop(), this.kms.stop()]);
  }

  async #sts({ method, path, body }: Heard): Promise<Said> {
    const no = (error: string, status = 400): Said => json(status, { error, error_description: 'words that nobody needs' });
    const asked = JSON.parse(body) as Record<string, string>;
    if (method !== 'POST' || path !== '/v1/token' || asked['grantType'] !== 'urn:ietf:params:oauth:grant-type:token-exchange' || asked['subjectTokenType'] !== 'urn:ietf:params:oauth:token-type:jwt' || asked['requestedTokenType'] !== 'urn:ietf:params:oauth:token-type:access_token' || !asked['scope']) return no('invalid_request');
    if (`https:${asked['audience']}` !== CELL.sealer.audience) return no('invalid_target');
    const checks = new CheckList();
    const at = Math.floor(this.now / 1_000);
    const verified = await verifyToken({ prefix: 'CS', path: 'token', token: asked['subjectToken'] ?? '', issuer: ISSUER, keys: 'jwks', maxAgeSeconds: 3_600 }, { roots: [], revoked: [], now: at, collateral: collateralOf([keySet(ISSUER, [jwkOf(await KEYS.get('RSA-2048', 'service'), KID)], at)]) }, at, checks);
    if (verified === undefined || verified.jwt.claims['aud'] !== AUDIENCE) return no('invalid_grant');
    const assertion = JSON.parse(JSON.stringify(verified.jwt.claims)) as never;
    try {
      if (evaluate(CONDITION, { assertion } as never) !== true) return no('unauthorized_client', 401);
    } catch {
      return no('unauthorized_client', 401);
    }
    const pool = CELL.sealer.audience.replace('https://iam.googleapis.com/', '').replace(/\/providers\/.*$/, '');
    const principals = Object.entries(MAPPING).filter(([name]) => name.startsWith('attribute.')).map(([name, text]) => `principalSet://iam.googleapis.com/${pool}/${name}/${String(evaluate(text, { assertion } as never))}`);
    const token = `ya29.d.${random(48).toString('base64url')}`;
    this.tokens.set(token, { principals, endsAt: this.now + 3_600_000 });
    return json(200, { access_token: token, issued_token_type: 'urn:ietf:params:oauth:token-type:access_token', token_type: 'Bearer', expires_in: 3_600 });
  }

  #kms({ method, path, headers, body }: Heard): Said {
    const no = (code: number, status: string): Said => json(code, { error: { code, status, message: 'words that nobody needs' } });
    const caller = this.tokens.get(/^Bearer (.+)$/.exec(headers['authorization'] ?? '')?.[1] ?? '');
    if (caller === undefined || caller.endsAt <= this.now) return no(401, 'UNAUTHENTICATED');
    const action = method === 'POST' ? ['encrypt', 'decrypt'].find((name) => path === `/v1/${CELL.sealer.key}:${name}`) : undefined;
    if (action === undefined) return no(404, 'NOT_FOUND');
    if (binding['role'] !== 'roles/cloudkms.cryptoKeyEncrypterDecrypter' || !caller.principals.some((p) => this.members.includes(p)) || !caller.principals.some((p) => denyExceptions.includes(p))) return no(403, 'PERMISSION_DENIED');
    const asked = JSON.parse(body) as Record<string, string>;
    const data = (name: string): Buffer => Buffer.from(asked[name] ?? '', 'base64');
    const aad = data('additionalAuthenticatedData');
    for (const name of ['plaintext', 'ciphertext', 'additionalAuthenticatedData']) {
      const sum = asked[`${name}Crc32c`];
      if (asked[name] !== undefined && (sum === undefined || Number(sum) !== bitwise(data(name)))) return no(400, 'INVALID_ARGUMENT');
    }
    if (action === 'encrypt') {
      const version = this.versions.length;
      const iv = random(12);
      const cipher = createCipheriv('aes-256-gcm', this.versions.at(-1) as Buffer, iv).setAAD(aad);
      const sealed = Buffer.concat([cipher.update(data('plaintext')), cipher.final()]);
      const ciphertext = Buffer.concat([Buffer.from([0x0a, version]), iv, sealed, cipher.getAuthTag()]);
      return json(200, { name: VERSION(version), ciphertext: ciphertext.toString('base64'), ciphertextCrc32c: String(bitwise(ciphertext)), verifiedPlaintextCrc32c: true, verifiedAdditionalAuthenticatedDataCrc32c: true, protectionLevel: 'HSM' });
    }
    const ciphertext = data('ciphertext');
    const version = ciphertext[1] ?? 0;
    if (version > this.versions.length || version === 0) return no(400, 'INVALID_ARGUMENT');
    const material = this.versions[version - 1];
    if (material === undefined) return no(400, 'FAILED_PRECONDITION');
    try {
      const plain = createDecipheriv('aes-256-gcm', material, ciphertext.subarray(2, 14)).setAAD(aad).setAuthTag(ciphertext.subarray(-16));
      const plaintext = bytes(Buffer.concat([plain.update(ciphertext.subarray(14, -16)), plain.final()]));
      return json(200, { plaintext: Buffer.from(plaintext).toString('base64'), plaintextCrc32c: String(bitwise(plaintext)), usedPrimary: version === this.versions.length, protectionLevel: 'HSM' });
    } catch {
      return no(400, 'INVALID_ARGUMENT');
    }
  }
}

/** CRC-32C bit by bit: not the table of the sealer. */
export function bitwise(data: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of data) for (let bit = 0; bit < 8; bit++) crc = ((crc ^ (byte >>> bit)) & 1) !== 0 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  return (crc ^ 0xffff_ffff) >>> 0;
}
