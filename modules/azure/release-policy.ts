/**
 * What Azure checks before it gives a key to a confidential VM, generated from the lock file. Pure functions, no Terraform: the bytes that are deployed are
 * known, reviewed and tested here.
 *
 *   release policy   of a key (Key Vault, "secure key release policy grammar"): claims of a token of Azure Attestation, equality only
 *   attestation      of the instance (Azure Attestation, "policy version 1.2"): decides whether a token is issued at all
 *
 * What each sees. The token that guests get (`x-ms-attestation-type: azurevm`) carries the hardware report below `x-ms-isolation-tee` and, of the vTPM, which
 * PCRs were quoted (`x-ms-azurevm-attested-pcrs`), not their values: so a release policy can pin the launch measurement, secure boot and debug flags, and
 * PCRs only the instance's TPM policy can pin. The image of the guest is proven by PCRs alone (the launch measurement is the paravisor's); brokers and
 * clients check them themselves from the raw evidence and do not rely on either policy.
 */
import { createHash } from 'node:crypto';
import { need } from '../configuration-error.ts';
import type { TeeEntry } from '../measurements.ts';

export interface ReleaseClaim { readonly claim: string; readonly equals: string | boolean | number }
export interface ReleasePolicy {
  readonly version: '1.0.0';
  readonly anyOf: readonly { readonly authority: string; readonly allOf: readonly ReleaseClaim[] }[];
}

const AUTHORITY = /^https:\/\/[a-z][a-z0-9]{2,23}\.[a-z0-9]{2,8}\.attest\.azure\.net$/;

/** URI of an own instance. The short name of the region is Azure's; a precondition on every key compares the whole with what was really deployed. */
export function attestationUri(name: string, regionCode: string): string {
  const uri = `https://${name}.${regionCode}.attest.azure.net`;
  need(AUTHORITY.test(uri), 'attestation instance', uri, 'https://<name>.<region>.attest.azure.net');
  return uri;
}

/**
 * One alternative per entry that may run: both generations while both colours live.
 * @throws ConfigurationError without an entry: an empty `anyOf` must never be deployed
 */
export function releasePolicy(authority: string, entries: readonly TeeEntry[]): ReleasePolicy {
  need(AUTHORITY.test(authority), 'release policy authority', authority, 'the own attestation instance');
  need(entries.length > 0, 'release policy', entries, 'at least one measured entry');
  return {
    version: '1.0.0',
    anyOf: entries.map(({ azure }) => ({
      authority,
      allOf: [
        { claim: 'x-ms-attestation-type', equals: 'azurevm' },
        { claim: 'secureboot', equals: true },
        { claim: 'x-ms-azurevm-kerneldebug-enabled', equals: false },
        { claim: 'x-ms-azurevm-bootdebug-enabled', equals: false },
        { claim: 'x-ms-azurevm-hypervisordebug-enabled', equals: false },
        { claim: 'x-ms-azurevm-testsigning-enabled', equals: false },
        { claim: 'x-ms-isolation-tee.x-ms-attestation-type', equals: 'sevsnpvm' },
        { claim: 'x-ms-isolation-tee.x-ms-compliance-status', equals: 'azure-compliant-cvm' },
        { claim: 'x-ms-isolation-tee.x-ms-sevsnpvm-is-debuggable', equals: false },
        { claim: 'x-ms-isolation-tee.x-ms-sevsnpvm-migration-allowed', equals: false },
        { claim: 'x-ms-isolation-tee.x-ms-sevsnpvm-vmpl', equals: 0 },
        { claim: 'x-ms-isolation-tee.x-ms-sevsnpvm-launchmeasurement', equals: azure.launch },
      ],
    })),
  };
}

/**
 * For the key of the VMs' disks: the default policy of confidential VMs. The platform's orchestrator asks for that key before a guest runs, with a token of
 * the platform's shape from the location's shared instance, so neither the guest nor the own instance can be in it.
 */
export function diskReleasePolicy(authority: string): ReleasePolicy {
  need(AUTHORITY.test(authority), 'disk release policy authority', authority, 'an attestation instance');
  return {
    version: '1.0.0',
    anyOf: [{ authority, allOf: [{ claim: 'x-ms-attestation-type', equals: 'sevsnpvm' }, { claim: 'x-ms-compliance-status', equals: 'azure-compliant-cvm' }] }],
  };
}

/** `data` of a release policy in ARM: base64url of the JSON, no padding. */
export const policyData = (policy: ReleasePolicy): string => Buffer.from(JSON.stringify(policy)).toString('base64url');

/** Keys are created once and their policy stays: a changed policy is another key, so its name carries the policy's hash. */
export const policyTag = (policy: ReleasePolicy): string => createHash('sha256').update(JSON.stringify(policy)).digest('hex').slice(0, 8);

/** Tokens only for SEV-SNP VMs of ours that cannot be debugged or migrated. Rules are alternatives: the first that holds permits. */
export function sevSnpPolicy(entries: readonly TeeEntry[]): string {
  need(entries.length > 0, 'attestation policy', entries, 'at least one measured entry');
  const rule = (launch: string): string => [
    '[type=="x-ms-sevsnpvm-is-debuggable", value==false]',
    '[type=="x-ms-sevsnpvm-migration-allowed", value==false]',
    '[type=="x-ms-sevsnpvm-vmpl", value==0]',
    `[type=="x-ms-sevsnpvm-launchmeasurement", value=="${launch}"]`,
  ].join(' && ');
  const rules = [...new Set(entries.map(({ azure }) => azure.launch))].map((launch) => `  ${rule(launch)} => permit();`);
  return ['version=1.2;', 'configurationrules{', '};', 'authorizationrules{', ...rules, '};', 'issuancerules{', '};', ''].join('\n');
}

/** Tokens only for guests whose quoted PCRs are those of one entry, all of them. */
export function tpmPolicy(entries: readonly TeeEntry[]): string {
  need(entries.length > 0, 'attestation policy', entries, 'at least one measured entry');
  const indices = Object.keys(entries[0]?.azure.pcrs ?? {}).map(Number);
  const mask = indices.reduce((bits, index) => bits | (1 << index), 0);
  const rules = entries.flatMap(({ azure }, n) => {
    const pcrs = Object.entries(azure.pcrs);
    const checks = pcrs.map(([index, value]) =>
      `  c:[type=="pcrs", issuer=="AttestationService"] => add(type="e${n}pcr${index}", value=JsonToClaimValue(JmesPath(c.value, "PCRs[? Index == \`${index}\`].Digests.SHA256 | @[0] == '${value}'")));`);
    const all = ['[type=="aikValidated", value==true]', ...pcrs.map(([index]) => `[type=="e${n}pcr${index}", value==true]`)];
    return [...checks, `  ${all.join(' && ')} => permit();`];
  });
  return [
    'version=1.2;', 'configurationrules{', `  => issueproperty(type="required_pcr_mask", value=${mask});`, '  => issueproperty(type="require_valid_aik_cert", value=true);', '};',
    'authorizationrules{', ...rules, '};', 'issuancerules{', '};', '',
  ].join('\n');
}

/** What the service takes: a JWT of three segments, unsigned in the trust model that Azure AD guards (a signature needs policy-signing certificates). */
export function attestationPolicyJwt(policy: string): string {
  const segment = (value: object): string => Buffer.from(JSON.stringify(value)).toString('base64url');
  return `${segment({ alg: 'none' })}.${segment({ AttestationPolicy: Buffer.from(policy).toString('base64url') })}.`;
}
