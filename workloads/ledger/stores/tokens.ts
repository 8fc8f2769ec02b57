/**
 * Credentials of the machine or pod, from its cloud's metadata service: never in a file or a setting of ours. Kept until shortly before they end.
 *
 * | cloud | source | document |
 * |---|---|---|
 * | AWS | environment; else the container endpoint (EKS Pod Identity, ECS); else IMDSv2 | "Use IMDSv2", "Container credential provider" |
 * | Azure | IMDS `/metadata/identity/oauth2/token` | "How to use managed identities on a VM" |
 * | Google | `/computeMetadata/v1/instance/service-accounts/default/token` | "Authenticate workloads to APIs using service accounts" |
 */
import { readFile } from 'node:fs/promises';
import { z } from 'zod';
import { LedgerError } from '../errors.ts';
import { type Answer, type Call, once, type Surroundings } from './http.ts';

export interface Kept<T> { readonly value: T; /** Epoch ms. */ readonly endsAt: number }

const EARLY_MS = 300_000;
const ASK_MS = 5_000;
const ASK_TRIES = 3;

/** One request at a time; `stale` asks anew whatever is kept. */
export function keeper<T>(ask: () => Promise<Kept<T>>, now: () => number): (stale: boolean) => Promise<T> {
  let kept: Kept<T> | undefined;
  let asking: Promise<Kept<T>> | undefined;
  return async (stale) => {
    if (!stale && kept !== undefined && now() < kept.endsAt - EARLY_MS) return kept.value;
    asking ??= ask().then((fresh) => (kept = fresh)).finally(() => { asking = undefined; });
    try {
      return (await asking).value;
    } catch (error) {
      // The service that gives new ones fails a while before these end.
      if (!stale && kept !== undefined && now() < kept.endsAt) return kept.value;
      throw error;
    }
  };
}

/** @throws LedgerError BLOB_UNAVAILABLE */
async function metadata(call: Call, { fetch: fetch_, sleep, random }: Surroundings): Promise<Answer> {
  let last = 'no answer';
  for (let n = 0; n < ASK_TRIES; n++) {
    if (n > 0) await sleep(200 * 2 ** n * (0.5 + random() / 2));
    try {
      const answer = await once(call, fetch_, ASK_MS);
      if (answer.status === 200) return answer;
      last = String(answer.status);
    } catch { /* the last one counts */ }
  }
  throw new LedgerError('BLOB_UNAVAILABLE', `The metadata service gives no credentials: ${last}.`);
}

/** Neither what was sent nor why it does not fit: it is a secret. */
function read<T>(schema: z.ZodType<T>, { body }: Answer): T {
  try {
    return schema.parse(JSON.parse(new TextDecoder().decode(body)));
  } catch {
    throw new LedgerError('BLOB_UNAVAILABLE', 'The metadata service answers in a form that is not known.');
  }
}

const text = z.string().min(1).max(16_384);
const oauth = z.object({ access_token: text, expires_in: z.coerce.number().int().min(0).max(604_800) });
const bearer = (around: Surroundings, call: Call) => keeper(async () => {
  const { access_token, expires_in } = read(oauth, await metadata(call, around));
  return { value: access_token, endsAt: around.now() + expires_in * 1_000 };
}, around.now);

const AZURE = 'http://169.254.169.254';
/** `AZURE_POD_IDENTITY_AUTHORITY_HOST`: as in Azure's own libraries. */
export const azureToken = (around: Surroundings, resource: string): ((stale: boolean) => Promise<string>) => bearer(around, {
  method: 'GET', headers: { metadata: 'true' },
  url: `${local(around.env['AZURE_POD_IDENTITY_AUTHORITY_HOST'] ?? AZURE)}/metadata/identity/oauth2/token?api-version=2018-02-01&resource=${encodeURIComponent(resource)}`,
});

/** `GCE_METADATA_HOST`: as in Google's own libraries. */
export const googleToken = (around: Surroundings): ((stale: boolean) => Promise<string>) => bearer(around, {
  method: 'GET', headers: { 'metadata-flavor': 'Google' },
  url: `${local(`http://${around.env['GCE_METADATA_HOST'] ?? '169.254.169.254'}`)}/computeMetadata/v1/instance/service-accounts/default/token`,
});

export interface AwsKeys { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken?: string }

const awsSchema = z.object({ AccessKeyId: text, SecretAccessKey: text, Token: text, Expiration: z.iso.datetime({ offset: true }) });
const ROLE = /^[A-Za-z0-9+=,.@_-]{1,128}$/;
const AWS = 'http://169.254.169.254';
const CONTAINER = 'http://169.254.170.2';

export function awsKeys(around: Surroundings): (stale: boolean) => Promise<AwsKeys> {
  const { env, now } = around;
  const { AWS_ACCESS_KEY_ID: accessKeyId, AWS_SECRET_ACCESS_KEY: secretAccessKey, AWS_SESSION_TOKEN: sessionToken } = env;
  if (accessKeyId !== undefined && secretAccessKey !== undefined) return async () => ({ accessKeyId, secretAccessKey, ...(sessionToken === undefined ? {} : { sessionToken }) });
  const full = env['AWS_CONTAINER_CREDENTIALS_FULL_URI'];
  const relative = env['AWS_CONTAINER_CREDENTIALS_RELATIVE_URI'];
  const ask = full !== undefined || relative !== undefined
    ? async (): Promise<Answer> => metadata({ method: 'GET', url: local(full ?? `${CONTAINER}${relative}`), headers: await containerToken(env) }, around)
    : (): Promise<Answer> => imds(around);
  return keeper(async () => {
    const { AccessKeyId, SecretAccessKey, Token, Expiration } = read(awsSchema, await ask());
    return { value: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token }, endsAt: Date.parse(Expiration) };
  }, now);
}

async function containerToken(env: Surroundings['env']): Promise<Record<string, string>> {
  const file = env['AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE'];
  // Renewed by the agent: read each time.
  const token = file === undefined ? env['AWS_CONTAINER_AUTHORIZATION_TOKEN'] : await readFile(file, 'utf8').catch(() => { throw new LedgerError('BLOB_UNAVAILABLE', 'The pod has no token for its credentials.'); });
  return token === undefined ? {} : { authorization: token.trim() };
}

async function imds(around: Surroundings): Promise<Answer> {
  const base = local(around.env['AWS_EC2_METADATA_SERVICE_ENDPOINT'] ?? AWS);
  const session = await metadata({ method: 'PUT', url: `${base}/latest/api/token`, headers: { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' } }, around);
  const headers = { 'x-aws-ec2-metadata-token': new TextDecoder().decode(session.body) };
  const path = `${base}/latest/meta-data/iam/security-credentials/`;
  const role = new TextDecoder().decode((await metadata({ method: 'GET', url: path, headers }, around)).body).trim();
  if (!ROLE.test(role)) throw new LedgerError('BLOB_UNAVAILABLE', 'The instance has no role.');
  return metadata({ method: 'GET', url: `${path}${role}`, headers }, around);
}

const LINK_LOCAL = /^(?:169\.254\.\d{1,3}\.\d{1,3}|\[fd00:ec2::(?:23|254)\]|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|metadata\.google\.internal)$/;

/** Credentials come in the clear over the machine's own link, or over TLS: a setting cannot send this elsewhere. */
function local(url: string): string {
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !(parsed.protocol === 'https:' || (parsed.protocol === 'http:' && LINK_LOCAL.test(parsed.hostname)))) throw new LedgerError('BLOB_CONFIG', 'A metadata service is on the machine\'s own link.');
  return url.replace(/\/$/, '');
}
