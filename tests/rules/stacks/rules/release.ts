/** Rule 3, second half: the release policy, decoded from the bytes that are deployed and asked with claims. */
import { entriesOf, readLock } from '../../../../modules/measurements.ts';
import { type Claims, releases } from '../release-policy.ts';
import type { Rule } from '../rule.ts';
import { at, blocks, resources } from '../template.ts';

const ISOLATION = 'x-ms-isolation-tee';

/** Claims of a confidential VM's guest as Azure Attestation names them ("Claim sets", claims issued for Azure VMs). */
export const guestClaims = (launch: string): Record<string, unknown> => ({
  'x-ms-attestation-type': 'azurevm', secureboot: true,
  'x-ms-azurevm-kerneldebug-enabled': false, 'x-ms-azurevm-bootdebug-enabled': false, 'x-ms-azurevm-hypervisordebug-enabled': false, 'x-ms-azurevm-testsigning-enabled': false,
  [ISOLATION]: {
    'x-ms-attestation-type': 'sevsnpvm', 'x-ms-compliance-status': 'azure-compliant-cvm', 'x-ms-sevsnpvm-is-debuggable': false, 'x-ms-sevsnpvm-migration-allowed': false,
    'x-ms-sevsnpvm-vmpl': 0, 'x-ms-sevsnpvm-launchmeasurement': launch,
  },
});

/** Each must be enough to be refused. */
const WEAKER: readonly [string, (c: any) => void][] = [
  ['whatever the launch measurement is', (c) => { c[ISOLATION]['x-ms-sevsnpvm-launchmeasurement'] = 'f'.repeat(96); }],
  ['to a debuggable VM', (c) => { c[ISOLATION]['x-ms-sevsnpvm-is-debuggable'] = true; }],
  ['without Secure Boot', (c) => { c['secureboot'] = false; }],
  ['to a VM without isolation', (c) => { delete c[ISOLATION]; }],
  ['to another kind of TEE', (c) => { c[ISOLATION]['x-ms-attestation-type'] = 'other'; }],
  ['to a VM that is not compliant', (c) => { c[ISOLATION]['x-ms-compliance-status'] = 'none'; }],
];

export const azureRelease: Rule = {
  id: 'azure-release',
  title: 'keys are released to measured, undebugged guests of the lock file, on the word of our own attestation instance',
  check(t, say) {
    if (t.cloud !== 'azure') return;
    const keys = resources(t, 'azapi_resource').filter((b) => /^Microsoft\.KeyVault\/vaults\/keys@/.test(String(b.body['type'])) && !/disk/.test(b.name));
    if (keys.length === 0) say('azapi_resource', 'no attested key');
    const names = blocks(t, 'azurerm_attestation_provider').map((b) => String(b.body['name']));
    for (const key of keys) {
      const data = at(key.body, 'body', 'properties', 'release_policy', 'data');
      if (typeof data !== 'string') continue;
      const policy = JSON.parse(Buffer.from(data, 'base64url').toString('utf8')) as { anyOf: { authority: string }[] };
      for (const { authority } of policy.anyOf) if (!names.some((name) => new RegExp(`^https://${name}\\.[a-z0-9]+\\.attest\\.azure\\.net/?$`).test(authority))) say(key, `${authority} is not our own attestation instance`);
      const issuer = policy.anyOf[0]?.authority ?? '';
      for (const { azure: { launch } } of entriesOf(readLock(), 'broker')) {
        const ask = (change: (c: any) => void = () => {}): boolean => { const claims = guestClaims(launch); change(claims); return releases(policy, { issuer, claims: claims as Claims }); };
        if (!ask()) say(key, `a guest with the launch measurement ${launch.slice(0, 12)}... does not get the key`);
        for (const [what, change] of WEAKER) if (ask(change)) say(key, `is released ${what}`);
      }
    }
  },
};
