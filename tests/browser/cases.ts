/** Simulated evidence of each adapter and technology, as it should be and with one thing otherwise. */
import type { Expectation, TrustContext, TrustRoot } from '../../attestation/adapter.ts';
import type { CollateralItem } from '../../attestation/collateral/collateral.ts';
import type { Evidence } from '../../attestation/evidence.ts';
import { encodeAzureEvidence } from '../../attestation/platforms/azure-cvm/container.ts';
import type { AppraisalPolicy } from '../../attestation/policy.ts';
import { azureWorld, EXPECT as AZURE } from '../attestation/azure/support.ts';
import { evidenceOf, EXPECT as GKE, type Node, sevNode, snpNode, tdxNode } from '../attestation/gke/support.ts';
import { evidence, EXPECT as NITRO, filled, NOW, REGISTERS, world } from '../attestation/support.ts';
import type { Case } from './suite.ts';

interface Good { readonly name: string; readonly evidence: Evidence; readonly expect: Expectation; readonly roots: readonly TrustRoot[]; readonly collateral: readonly CollateralItem[]; readonly references: AppraisalPolicy['references'] }

async function good(): Promise<Good[]> {
  const nitro = await world();
  const [azureSnp, azureTdx, ...nodes] = await Promise.all([azureWorld(), azureWorld({ technology: 'tdx' }), snpNode(), tdxNode(), sevNode()]);
  const azure = (name: string, w: typeof azureSnp): Good => ({ name, evidence: { platform: 'azure-cvm', document: encodeAzureEvidence(w.parts) }, expect: AZURE, roots: w.roots, collateral: w.collateral, references: [] });
  const gke = (node: Node): Good => ({ name: `gke ${node.parts.technology}`, evidence: evidenceOf(node), expect: GKE, roots: node.roots, collateral: node.collateral, references: [] });
  return [
    { name: 'aws-nitro', evidence: await evidence(nitro), expect: NITRO, roots: nitro.trust.roots, collateral: [], references: [{ id: 'released', platform: 'aws-nitro', registers: REGISTERS }] },
    azure('azure-cvm sev-snp', azureSnp), azure('azure-cvm tdx', azureTdx), ...nodes.map(gke),
  ];
}

const DAY = 86_400;

function variants({ name, evidence, expect, roots, collateral, references }: Good): Case[] {
  const policy: AppraisalPolicy = { id: 'browser', role: 'counter', references, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave', 'vm', 'node'] };
  const trust: Case['trust'] = { roots, revoked: [], now: NOW };
  const as = (what: string, change: Partial<Case> = {}): Case => ({ name: `${name}, ${what}`, evidence, expect, trust, collateral, policy, ...change });
  const at = (now: number): Pick<Case, 'trust'> => ({ trust: { ...trust, now } satisfies Partial<TrustContext> & Case['trust'] });
  const flipped = (offset: number): Evidence => ({ ...evidence, document: evidence.document.map((b, i) => (i === offset ? b ^ 1 : b)) });
  return [
    as('as it should be'),
    as('for another challenge', { expect: { ...expect, binding: { ...expect.binding, nonce: filled(32, 9) } } }),
    as('for another key', { expect: { ...expect, binding: { ...expect.binding, signingKey: filled(32, 9) } } }),
    as('no root pinned', { trust: { ...trust, roots: [] } }),
    as('no collateral', { collateral: [] }),
    as('in ten years', at(NOW + 3650 * DAY)),
    as('ten years ago', at(NOW - 3650 * DAY)),
    as('cut short', { evidence: { ...evidence, document: evidence.document.slice(0, -1) } }),
    ...[0.2, 0.4, 0.6, 0.8, 0.99].map((part) => as(`a bit flipped at ${part}`, { evidence: flipped(Math.floor(part * evidence.document.length)) })),
  ];
}

export const cases = async (): Promise<Case[]> => (await good()).flatMap(variants);
