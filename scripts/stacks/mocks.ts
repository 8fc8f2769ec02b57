/**
 * `*.tftest.json` of a stack: every provider mocked, so that a plan wants no credentials and no network, yet each argument passes the provider's own checks.
 * Mocked answers are random strings; where a provider or an expression of ours looks at their shape, the answers here have it.
 */
import type { Json } from './hollow.ts';

type Answers = { [type: string]: { [attribute: string]: Json } };

/** Answers of data sources, by type. Attributes that are blocks are lists. */
export const MOCK_DATA: Answers = {
  aws_iam_policy_document: { json: '{"Version":"2012-10-17","Statement":[{"Sid":"Mock","Effect":"Deny","Principal":"*","Action":"none:None","Resource":"*"}]}' },
  aws_ec2_instance_type: { default_vcpus: 8, memory_size: 32_768, nitro_enclaves_support: 'supported' },
  google_kms_crypto_key_version: { public_key: [{ algorithm: 'EC_SIGN_P256_SHA256', pem: '-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEMTIzNDU2Nzg5MDEyMzQ1Njc4OTAx\n-----END PUBLIC KEY-----\n' }] },
  google_container_cluster: { control_plane_endpoints_config: [{ dns_endpoint_config: [{ endpoint: 'gke-0123456789abcdef.europe-west4.gke.goog', allow_external_traffic: true }], ip_endpoints_config: [] }] },
  google_client_config: { access_token: 'ya29.mock', project: 'mock', region: 'europe-west4' },
};

/** Providers that a stack asks for, as `required_providers` names them; Terraform's own `terraform_data` needs none. */
export function providersOf(stack: Json): { name: string; source: string; version: string }[] {
  const required = ((stack as { terraform?: { required_providers?: Record<string, { source: string; version: string }> } }).terraform?.required_providers) ?? {};
  return Object.entries(required).map(([name, { source, version }]) => ({ name, source, version }));
}

export function planTest(stack: Json): Json {
  const answers = (name: string): Answers => Object.fromEntries(Object.entries(MOCK_DATA).filter(([type]) => type.startsWith(`${name}_`)));
  const mocks = providersOf(stack).map(({ name }) => [name, { mock_data: Object.fromEntries(Object.entries(answers(name)).map(([type, defaults]) => [type, { defaults }])) }] as const);
  return { mock_provider: Object.fromEntries(mocks), run: { plan: { command: 'plan' } } };
}
