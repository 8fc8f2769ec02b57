/**
 * On which of AMD's generations the SEV-SNP sizes of an environment run, and which generations it accepts by name. Milan (Zen 3) is denied: its chips' keys can
 * be extracted by software (arXiv 2605.12990), after which evidence of any state can be forged. Azure's v5 sizes are Milan, its v6 sizes Genoa (Azure, "DCasv6
 * series"); Google offers SEV-SNP on N2D alone, which is Milan (Google, "Confidential VM supported configurations").
 */
import { need } from './configuration-error.ts';
import type { Cloud, Environment } from './environments.ts';

export type SnpGeneration = 'Milan' | 'Genoa';
/** What the owner's policy denies unless an environment accepts it (a test compares it with the appraisal's strict rules). */
export const DENIED: readonly SnpGeneration[] = ['Milan'];

/** `until`: the first instant (a day, UTC) at which it is denied again; no policy is valid beyond it, and plans fail from then on. */
export interface AcceptedGeneration { readonly generation: SnpGeneration; readonly until: string; readonly reason: string }

/** A size that evidence of a role comes from. Google's gateways are on N2D too, but show no evidence: they get no keys. */
export interface SnpSize { readonly field: string; readonly cloud: Cloud; readonly size: string; readonly generation: SnpGeneration; readonly roles: readonly ('broker' | 'counter')[] }

export const snpSizes = ({ azure, gcp }: Environment): SnpSize[] => [
  { field: 'azure.vmSize', cloud: 'azure', size: azure.vmSize, generation: azure.vmSize.endsWith('_v5') ? 'Milan' : 'Genoa', roles: ['broker', 'counter'] },
  ...(gcp.counterTees.includes('SEV_SNP') ? [{ field: 'gcp.snpMachineType', cloud: 'gcp', size: gcp.snpMachineType, generation: 'Milan', roles: ['counter'] } as const] : []),
];

/** What an environment accepts, as far as evidence of this role comes from it on these clouds. */
export const acceptedFor = (environment: Environment, role: 'broker' | 'counter', clouds: readonly Cloud[]): AcceptedGeneration[] =>
  environment.acceptedGenerations.filter(({ generation }) => snpSizes(environment).some((size) => size.generation === generation && size.roles.includes(role) && clouds.includes(size.cloud)));

/** @throws ConfigurationError for a size whose evidence nobody would accept, and for an acceptance that nothing needs */
export function checkGenerations(at: (field: string) => string, e: Environment): void {
  const sizes = snpSizes(e);
  for (const [i, { generation, until, reason }] of e.acceptedGenerations.entries()) {
    const field = at(`acceptedGenerations.${i}`);
    need(e.name !== 'prod', field, generation, 'none in prod: evidence of this generation can be forged');
    need(/^20[0-9]{2}-[01][0-9]-[0-3][0-9]T00:00:00Z$/.test(until) && Number.isFinite(Date.parse(until)), field, until, 'until a day, as 2027-06-30T00:00:00Z');
    need(reason.length >= 20, field, reason, 'a reason');
    need(sizes.some((size) => size.generation === generation), field, generation, 'a generation that a size of this environment runs on');
  }
  for (const { field, size, generation } of sizes) {
    need(!DENIED.includes(generation) || e.acceptedGenerations.some((accepted) => accepted.generation === generation), at(field), size, `a size whose evidence is accepted: ${generation} is denied unless acceptedGenerations names it`);
  }
}
