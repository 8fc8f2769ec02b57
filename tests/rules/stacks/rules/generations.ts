/** Evidence of a deployed size is accepted: no generation that the owner's policy denies, but where the environment accepts it by name, and then its plans end with that. */
import { ENVIRONMENTS } from '../../../../modules/environments.ts';
import type { Rule } from '../rule.ts';
import { at, list, resources } from '../template.ts';

export const snpGenerations: Rule = {
  id: 'snp-generations',
  title: 'brokers and counters run on no Milan, unless it is accepted by name until a day that ends the plans',
  check(t, say) {
    const locals = Object.entries((t.json['locals'] ?? {}) as Record<string, unknown>);
    const { acceptedGenerations } = ENVIRONMENTS[t.environment];
    const milan = [
      ...resources(t, 'azurerm_linux_virtual_machine_scale_set').filter((b) => /broker|counter/.test(b.name) && /_v5$/.test(String(at(b.body, 'sku')))),
      ...resources(t, 'google_container_node_pool').filter((b) => /counter/.test(b.name) && /^n2d-/.test(String(at(b.body, 'node_config', 'machine_type')))),
      ...resources(t, 'kubernetes_deployment_v1').filter((b) => /counter/.test(b.name) && JSON.stringify(b.body).includes('amd.com/sev-snp')),
    ];
    const conditions = resources(t, 'terraform_data').flatMap((b) => list(at(b.body, 'lifecycle', 'precondition'))).map((p) => String(at(p, 'condition')));
    const accepted = acceptedGenerations.find(({ generation }) => generation === 'Milan');
    for (const b of milan) {
      if (accepted === undefined) say(b, 'runs on Milan, which the owner\'s policy denies');
      else if (!locals.some(([name, value]) => value === accepted.until && conditions.includes(`\${timecmp(plantimestamp(), local.${name}) < 0}`))) say(b, `nothing ends the acceptance of Milan on ${accepted.until}`);
    }
  },
};
