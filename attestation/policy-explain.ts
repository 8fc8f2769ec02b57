/** An appraisal in words: each rule with what it found and what it needs; and what a policy demands, before there is evidence. */
import type { Appraisal } from './claims.ts';
import { CONFIDENTIAL_SPACE_FLOOR } from './services/demands.ts';
import { iso } from './judge.ts';
import { type AppraisalPolicy, referenceRegisters } from './policy.ts';

export interface Explained { readonly rule: string; readonly outcome: 'pass' | 'fail' | 'lowered'; readonly code?: string; readonly have: string; readonly need: string; readonly next?: string }

/** One entry per rule that was carried out, in its order. */
export function explainAppraisal({ rules }: Pick<Appraisal, 'rules'>): Explained[] {
  return rules.map((r) => ({ rule: r.id, outcome: r.outcome, ...(r.code === undefined || r.outcome === 'pass' ? {} : { code: r.code }), have: r.have ?? r.detail, need: r.need ?? (r.outcome === 'pass' ? 'that' : 'more'), ...(r.next === undefined || r.outcome === 'pass' ? {} : { next: r.next }) }));
}

/** One line per demand. */
export function describePolicy(policy: AppraisalPolicy): string[] {
  const { snp } = policy;
  const floors = snp === undefined ? [] : Object.entries(snp.minimumTcb).filter(([product, floor]) => floor !== undefined && !snp.deniedGenerations.some((g) => g === product));
  return [
    `role ${policy.role}, policy ${policy.id}`,
    `debug: refused, always`,
    `roots: production${policy.allowDevelopment ? ', and development ones (a warning at best)' : ' only'}`,
    `binding.scope: ${policy.scopes.join(', ')}`,
    `age: at most ${policy.maxAgeSeconds} s, answering a challenge`,
    ...policy.references.map((r) => `measurements ${r.id} (${r.platform}): ${[...referenceRegisters(r)].map(([name, value]) => `${name} ${value}`).join(', ')}${'idKeyDigest' in r && r.idKeyDigest !== undefined ? `, idKeyDigest ${r.idKeyDigest}` : ''}`),
    ...(snp === undefined ? [] : [
      ...floors.map(([product, floor]) => `SEV-SNP ${product}: ${Object.entries(floor ?? {}).map(([name, n]) => `${name} >= ${n}`).join(', ')}`),
      `SEV-SNP: VMPL ${snp.vmpl}, denied ${snp.deniedGenerations.join(', ') || 'no generation'} and ${snp.deniedChips.length} chips, ${snp.allowProvisionalFirmware ? 'provisional firmware allowed' : 'committed firmware'}, SMT ${snp.smt}${snp.requireAliasCheck ? ', memory checked for aliases' : ''}`,
    ]),
    ...(policy.references.some((r) => r.platform === 'confidential-space') ? [`Confidential Space: images from ${policy.confidentialSpace?.minVersion ?? CONFIDENTIAL_SPACE_FLOOR} on`] : []),
    ...(policy.azureAttestation === undefined ? [] : [`Azure Attestation: tokens of ${policy.azureAttestation.issuer} beside the evidence, under policy ${policy.azureAttestation.policyHashes.join(' or ')}`]),
    ...(policy.exceptions ?? []).map((e) => `exception ${e.id}: ${e.rule} on ${e.platform}${e.fmspc === undefined ? '' : ` ${e.fmspc}`} until ${iso(e.until)}: ${e.reason}`),
  ];
}
