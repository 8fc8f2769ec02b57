/**
 * Credentials of the instance's role (EC2 User Guide, "Use IMDSv2"), through the bridge to the parent's metadata service. They are the parent's, whom an enclave need not
 * trust: a request that they sign opens nothing without an attestation document.
 */
import { z } from 'zod';
import { text } from '../../../attestation/bytes.ts';
import { refuse } from '../../../attestation/refusal.ts';
import { type Answer, ask, hostOf, read, type Service, type Surroundings } from './call.ts';
import { type Kept, kept } from './kept.ts';

export interface AwsKeys { readonly accessKeyId: string; readonly secretAccessKey: string; readonly sessionToken: string }

const word = z.string().min(1).max(4_096);
const schema = z.object({ Code: z.literal('Success').optional(), AccessKeyId: word, SecretAccessKey: word, Token: word, Expiration: z.iso.datetime({ offset: true }) });
const ROLE = /^[A-Za-z0-9+=,.@_-]{1,128}$/;
const PATH = '/latest/meta-data/iam/security-credentials/';

export function instanceCredentials(service: Service, around: Surroundings): Kept<AwsKeys> {
  const get = async (method: 'GET' | 'PUT', path: string, headers: Record<string, string>): Promise<Answer> => {
    const answer = await ask(service, { method, path, headers }, around);
    if (answer.status !== 200) refuse('KEY_SEALER_REFUSED', hostOf(service), 'See whether the instance has its role and the bridge to its metadata service.', { have: `status ${answer.status} for ${path.split('/').slice(0, 4).join('/')}`, need: 'credentials of the role' });
    return answer;
  };
  return kept(async () => {
    const token = text((await get('PUT', '/latest/api/token', { 'x-aws-ec2-metadata-token-ttl-seconds': '21600' })).body).trim();
    const headers = { 'x-aws-ec2-metadata-token': /^[\x21-\x7e]{1,512}$/.test(token) ? token : '' };
    const role = text((await get('GET', PATH, headers)).body).trim();
    if (!ROLE.test(role)) refuse('KEY_SEALER_REFUSED', hostOf(service), 'Give the instance the role of the brokers.', { have: 'no name of a role', need: 'one role' });
    const { AccessKeyId, SecretAccessKey, Token, Expiration } = read(schema, await get('GET', `${PATH}${role}`, headers), 'metadata.credentials');
    return { value: { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: Token }, endsAt: Date.parse(Expiration) };
  }, around.now);
}
