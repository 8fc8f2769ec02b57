/** Policies: what lint refuses, what diff calls looser, what explain says. */
import { describe, expect, it } from 'vitest';
import { STRICT_SNP } from '../../attestation/appraise-snp.ts';
import { diffPolicies } from '../../attestation/policy-diff.ts';
import { describePolicy } from '../../attestation/policy-explain.ts';
import { lintPolicy, policiesIn } from '../../attestation/policy-lint.ts';
import { appraisalPolicySchema } from '../../attestation/policy.ts';

const NOW = 1_790_000_000;
const h = (digit: string) => digit.repeat(96);
const nitro = { id: 'v1', platform: 'aws-nitro', registers: { PCR0: h('a'), PCR1: h('b'), PCR2: h('c') } };
const launch = { id: 'node', platform: 'gke', registers: { LAUNCH: h('d') } };
const base = { id: 'p', role: 'counter', references: [nitro], maxAgeSeconds: 300, allowDevelopment: false, scopes: ['enclave'] };
const snpPolicy = { ...base, references: [launch], scopes: ['node', 'vm'], snp: STRICT_SNP };
const space = { ...base, references: [{ id: 'box', platform: 'confidential-space', registers: { IMAGE: 'd'.repeat(64) } }], scopes: ['container'], confidentialSpace: { minVersion: 250_301 } };
const maa = { issuer: 'https://sharedwus.wus.attest.azure.net', policyHashes: ['A'.repeat(43)] };
const without = (policy: object, name: string) => Object.fromEntries(Object.entries(policy).filter(([key]) => key !== name));
const errors = (policy: unknown) => lintPolicy(policy, NOW).filter((f) => f.level === 'error').map((f) => f.path);
const warnings = (policy: unknown) => lintPolicy(policy, NOW).filter((f) => f.level === 'warning').map((f) => f.path);

describe('lint', () => {
  it('has nothing to say of a complete policy', () => {
    expect(lintPolicy(base, NOW)).toEqual([]);
    expect(errors(snpPolicy)).toEqual([]);
    expect(lintPolicy(space, NOW)).toEqual([]);
  });

  it.each<[string, unknown, string]>([
    ['no references', { ...base, references: [] }, 'references'], ['no word of references', without(base, 'references'), 'references'], ['an empty reference', { ...base, references: [{ ...nitro, registers: {} }] }, 'references.0.registers'],
    ['no scope', without(base, 'scopes'), 'scopes'], ['empty scopes', { ...base, scopes: [] }, 'scopes'], ['no word of development roots', without(base, 'allowDevelopment'), 'allowDevelopment'], ['no age', without(base, 'maxAgeSeconds'), 'maxAgeSeconds'],
    ['no VMPL', { ...snpPolicy, snp: without(STRICT_SNP, 'vmpl') }, 'snp.vmpl'], ['no floor', { ...snpPolicy, snp: without(STRICT_SNP, 'minimumTcb') }, 'snp.minimumTcb'], ['an empty floor', { ...snpPolicy, snp: { ...STRICT_SNP, minimumTcb: {} } }, 'snp.minimumTcb'],
    ['no rules for SNP: debugging', without(snpPolicy, 'snp'), 'snp'], ['only RTMR3', { ...base, references: [{ id: 'x', platform: 'gke', registers: { RTMR3: h('1') } }] }, 'references.0.registers'],
    ['a misspelled field', { ...base, maxAge: 3 }, ''], ['a broker in scope node', { ...base, role: 'broker', scopes: ['node'] }, 'scopes'], ['no object', 'hello', ''], ['a version of Confidential Space below the floor', { ...space, confidentialSpace: { minVersion: 249_999 } }, 'confidentialSpace.minVersion'], ['an instance of Azure Attestation without its policies', { ...base, azureAttestation: { ...maa, policyHashes: [] } }, 'azureAttestation.policyHashes'],
    ['an instance that is no address', { ...base, azureAttestation: { ...maa, issuer: 'http://maa.invalid' } }, 'azureAttestation.issuer'], ['an exception for debugging', { ...base, exceptions: [{ id: 'x', rule: 'debug', platform: 'gke', until: NOW + 1, reason: 'r' }] }, 'exceptions.0.rule'],
  ])('refuses %s', (_, policy, path) => {
    expect(errors(policy)).toContain(path);
    for (const f of lintPolicy(policy, NOW)) expect(f.message.length * f.next.length).toBeGreaterThan(0);
  });

  it.each<[string, unknown, string]>([
    ['development roots', { ...base, allowDevelopment: true }, 'allowDevelopment'], ['scope node', snpPolicy, 'scopes'], ['old evidence', { ...base, maxAgeSeconds: 3600 }, 'maxAgeSeconds'], ['two of one name', { ...base, references: [nitro, { ...nitro, registers: { ...nitro.registers, PCR0: h('e') } }] }, 'references.1.id'],
    ['Confidential Space of any version', without(space, 'confidentialSpace'), 'confidentialSpace'], ['a version without a reference', { ...base, confidentialSpace: { minVersion: 250_301 } }, 'confidentialSpace'], ['an instance without a reference', { ...base, azureAttestation: maa }, 'azureAttestation'],
    ['the same twice', { ...base, references: [nitro, { ...nitro, id: 'v2' }] }, 'references.1'], ['Milan', { ...snpPolicy, snp: { ...STRICT_SNP, deniedGenerations: [] } }, 'snp.deniedGenerations'],
    ['floors below published ones', { ...snpPolicy, snp: { ...STRICT_SNP, minimumTcb: { Genoa: { bootloader: 0, tee: 0, snp: 1, microcode: 0 } } } }, 'snp.minimumTcb.Genoa'], ['provisional firmware', { ...snpPolicy, snp: { ...STRICT_SNP, allowProvisionalFirmware: true } }, 'snp.allowProvisionalFirmware'],
    ['memory aliases', { ...snpPolicy, snp: { ...STRICT_SNP, requireAliasCheck: false } }, 'snp.requireAliasCheck'], ['an exception that ended', { ...base, exceptions: [{ id: 'x', rule: 'tcb', platform: 'gke', until: NOW, reason: 'r' }] }, 'exceptions.0'],
    ['one that lasts', { ...base, exceptions: [{ id: 'x', rule: 'tcb', platform: 'gke', until: NOW + 200 * 86_400, reason: 'r' }] }, 'exceptions.0.until'],
  ])('warns of %s', (_, policy, path) => {
    expect(errors(policy)).toEqual([]);
    expect(warnings(policy)).toContain(path);
  });

  it('looks at every role of an owner\'s policy', () => {
    const owner = { v: 'x', roles: { broker: { ...base, role: 'broker' }, counter: without(base, 'scopes') } };
    expect(policiesIn(owner).flatMap(({ path, policy }) => lintPolicy(policy, NOW, path)).map((f) => f.path)).toEqual(['roles.counter.scopes']);
  });
});

describe('diff', () => {
  it('finds nothing in the same policy, whatever the order', () => {
    expect(diffPolicies(snpPolicy, { ...Object.fromEntries(Object.entries(snpPolicy).reverse()), scopes: ['vm', 'node'] })).toEqual([]);
  });

  it.each<[string, object, object, string, string]>([
    ['a longer age', base, { ...base, maxAgeSeconds: 600 }, 'maxAgeSeconds', 'looser'], ['a shorter one', base, { ...base, maxAgeSeconds: 60 }, 'maxAgeSeconds', 'stricter'], ['development roots', base, { ...base, allowDevelopment: true }, 'allowDevelopment', 'looser'],
    ['one more scope', base, { ...base, scopes: ['enclave', 'node'] }, 'scopes.node', 'looser'], ['one more reference', base, { ...base, references: [nitro, launch] }, 'references.node', 'looser'], ['one less', { ...base, references: [nitro, launch] }, base, 'references.node', 'stricter'],
    ['another register pinned', base, { ...base, references: [{ ...nitro, registers: { ...nitro.registers, PCR8: h('f') } }] }, 'references.v1.registers.PCR8', 'stricter'], ['another image by the same name', base, { ...base, references: [{ ...nitro, registers: { ...nitro.registers, PCR0: h('f') } }] }, 'references.v1.registers.PCR0', 'other'],
    ['a lower floor', snpPolicy, { ...snpPolicy, snp: { ...STRICT_SNP, minimumTcb: { ...STRICT_SNP.minimumTcb, Genoa: { ...STRICT_SNP.minimumTcb.Genoa, snp: 1 } } } }, 'snp.minimumTcb.Genoa.snp', 'looser'],
    ['a generation no longer denied', snpPolicy, { ...snpPolicy, snp: { ...STRICT_SNP, deniedGenerations: [] } }, 'snp.deniedGenerations.Milan', 'looser'], ['SMT', snpPolicy, { ...snpPolicy, snp: { ...STRICT_SNP, smt: 'allow' } }, 'snp.smt', 'looser'],
    ['a longer exception', { exceptions: [{ id: 'x', until: 1 }] }, { exceptions: [{ id: 'x', until: 2 }] }, 'exceptions.x.until', 'looser'],
    ['a lower version of Confidential Space', space, { ...space, confidentialSpace: { minVersion: 250_300 } }, 'confidentialSpace.minVersion', 'looser'], ['none stated', space, without(space, 'confidentialSpace'), 'confidentialSpace', 'looser'],
    ['an instance that may vouch', base, { ...base, azureAttestation: maa }, 'azureAttestation', 'looser'], ['one policy of it more', { azureAttestation: maa }, { azureAttestation: { ...maa, policyHashes: [...maa.policyHashes, 'B'.repeat(43)] } }, `azureAttestation.policyHashes.${'B'.repeat(43)}`, 'looser'],
    ['in a role of an owner\'s', { roles: { counter: base } }, { roles: { counter: { ...base, maxAgeSeconds: 600 } } }, 'roles.counter.maxAgeSeconds', 'looser'],
  ])('%s', (_, before, after, path, effect) => {
    expect(diffPolicies(before, after).map(({ path: p, effect: e }) => [p, e])).toEqual([[path, effect]]);
  });
});

describe('explain', () => {
  it('says every demand', () => {
    const lines = describePolicy(appraisalPolicySchema.parse({ ...snpPolicy, exceptions: [{ id: 'x', rule: 'tcb', platform: 'gke', until: NOW, reason: 'because' }] })).join('\n');
    for (const word of ['debug: refused', 'production only', 'binding.scope: node, vm', 'VMPL 0', 'LAUNCH', 'Genoa: bootloader >= 7', 'because']) expect(lines).toContain(word);
    expect(lines).not.toContain('Milan: boot');
    expect(lines).not.toMatch(/Confidential Space|Azure Attestation/);
    const services = (policy: object) => describePolicy(appraisalPolicySchema.parse(policy)).join('\n');
    expect(services({ ...space, azureAttestation: maa })).toContain('images from 250301 on');
    expect(services(without(space, 'confidentialSpace'))).toContain('images from 250000 on');
    expect(services({ ...base, azureAttestation: maa })).toContain(`tokens of ${maa.issuer}`);
  });
});
