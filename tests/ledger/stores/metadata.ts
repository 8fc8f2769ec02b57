/** The metadata services of three clouds on one port: each gives credentials only to who asks as its documentation says. */
import { type AddressInfo } from 'node:net';
import { createServer } from 'node:http';

export interface Metadata {
  /** Environment that leads there. */
  readonly env: Readonly<Record<string, string>>;
  /** How many credentials were given. */
  given(): number;
  close(): Promise<void>;
}

const b64 = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');

/** As Microsoft Entra ID writes one; the signature is nobody's. */
export const entraToken = (now: number): string => [
  b64({ typ: 'JWT', alg: 'RS256' }),
  b64({ aud: 'https://storage.azure.com', iss: 'https://sts.windows.net/11111111-1111-4111-8111-111111111111/', iat: Math.floor(now / 1000) - 60, nbf: Math.floor(now / 1000) - 60, exp: Math.floor(now / 1000) + 3_600, oid: '22222222-2222-4222-8222-222222222222', sub: 'x', tid: '11111111-1111-4111-8111-111111111111', ver: '1.0' }),
  Buffer.alloc(256, 7).toString('base64url'),
].join('.');

export async function startMetadata(lifeSeconds = 3_600): Promise<Metadata> {
  let given = 0;
  const server = createServer((request, response) => {
    const { method, headers, url = '' } = request;
    const say = (status: number, body: string) => { response.writeHead(status); response.end(body); };
    const grant = (value: object) => { given++; say(200, JSON.stringify(value)); };
    if (method === 'PUT' && url === '/latest/api/token') return headers['x-aws-ec2-metadata-token-ttl-seconds'] === undefined ? say(400, '') : say(200, 'imds-session');
    if (url.startsWith('/latest/')) {
      if (headers['x-aws-ec2-metadata-token'] !== 'imds-session') return say(401, '');
      if (url === '/latest/meta-data/iam/security-credentials/') return say(200, 'gateway-role');
      if (url === '/latest/meta-data/iam/security-credentials/gateway-role') return grant({ Code: 'Success', AccessKeyId: `ASIA${given}`, SecretAccessKey: `SECRET-AWS-${given}`, Token: `SECRET-SESSION-${given}`, Expiration: new Date(Date.now() + lifeSeconds * 1_000).toISOString() });
    }
    if (url === '/metadata/identity/oauth2/token?api-version=2018-02-01&resource=https%3A%2F%2Fstorage.azure.com%2F' && headers['metadata'] === 'true') return grant({ access_token: entraToken(Date.now()), expires_in: String(lifeSeconds), token_type: 'Bearer' });
    if (url === '/computeMetadata/v1/instance/service-accounts/default/token' && headers['metadata-flavor'] === 'Google') return grant({ access_token: `SECRET-GOOGLE-${given}`, expires_in: lifeSeconds, token_type: 'Bearer' });
    say(404, '');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const at = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    env: { AWS_EC2_METADATA_SERVICE_ENDPOINT: `http://${at}`, AZURE_POD_IDENTITY_AUTHORITY_HOST: `http://${at}`, GCE_METADATA_HOST: at },
    given: () => given,
    close: async () => { server.closeAllConnections(); await new Promise((resolve) => server.close(resolve)); },
  };
}
