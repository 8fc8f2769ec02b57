/** Rule 5: measurements that are deployed anywhere come from one lock file, and plans with placeholders, or with images that were not promoted, fail. */
import { type Cloud, ENVIRONMENTS } from '../../../../modules/environments.ts';
import { entriesOf, placeholders, readLock } from '../../../../modules/measurements.ts';
import { readPromotions, unpromoted } from '../../../../modules/promotions.ts';
import type { Rule } from '../rule.ts';
import { at, blocks, list, resources, strings, type Template } from '../template.ts';

/** Hexadecimal values that could be a measurement: 96 digits, or an image digest. */
export function deployedMeasurements(t: Template): { address: string; value: string }[] {
  const found: { address: string; value: string }[] = [];
  for (const b of blocks(t)) {
    if (b.type === 'terraform_data') continue;
    for (const { text } of strings(b.body)) {
      const decoded = [text, ...[...text.matchAll(/[A-Za-z0-9_-]{200,}={0,2}/g)].map((m) => Buffer.from(m[0], 'base64').toString('latin1'))];
      for (const each of decoded) for (const m of each.matchAll(/(?<![0-9a-f])([0-9a-f]{96})(?![0-9a-f])|sha256:([0-9a-f]{64})(?![0-9a-f])/g)) found.push({ address: b.address, value: m[1] ?? `sha256:${m[2]}` });
    }
  }
  return found;
}

export const lockFile: Rule = {
  id: 'one-lock-file',
  title: 'every deployed measurement is one of the lock file, each cloud names both generations of the broker, placeholders and images that were not promoted fail the plan',
  check(t, say) {
    const lock = readLock();
    const known = new Set<string>();
    for (const { text } of strings(JSON.parse(JSON.stringify(lock.roles)))) known.add(text);
    // Images of others, pinned in the environments' table.
    for (const { text } of strings(JSON.parse(JSON.stringify(ENVIRONMENTS[t.environment].gcp.mirrored)))) known.add(text);
    const deployed = deployedMeasurements(t);
    for (const { address, value } of deployed) if (!known.has(value)) say(address, `${value.slice(0, 20)}... is not in the lock file`);
    const values = new Set(deployed.map((d) => d.value));
    for (const entry of entriesOf(lock, 'broker')) {
      const must = t.cloud === 'aws' ? [entry.nitro.PCR0, entry.nitro.PCR1, entry.nitro.PCR2, entry.nitro.PCR8] : t.cloud === 'gcp' ? [entry.image] : t.cloud === 'azure' ? [entry.azure.launch] : [];
      for (const value of must) if (!values.has(value)) say(t.stack, `a broker's ${value.slice(0, 20)}... of the lock file is nowhere in this stack`);
    }
    if (['aws', 'azure', 'gcp'].includes(t.cloud) || t.cloud === 'k8s') {
      const gates = resources(t, 'terraform_data').filter((b) => list(at(b.body, 'lifecycle', 'precondition')).some((p) => /length\(.+\) == 0/.test(String(at(p, 'condition')))));
      if (gates.length === 0 && t.cloud !== 'k8s') say('terraform_data', 'nothing fails a plan with placeholders');
      const cloud = t.cloud === 'k8s' ? 'gcp' : t.cloud as Cloud;
      const looked = gates.flatMap((gate) => list(at(gate.body, 'lifecycle', 'precondition'))).map((p) => list(at(t.json, 'locals', /^\$\{length\(\$?\{?local\.([\w-]+)\}?\) == 0\}$/.exec(String(at(p, 'condition')))?.[1] ?? '')));
      const mustLookAt = { placeholders: placeholders(lock), 'images that were not promoted': unpromoted(lock, readPromotions(), t.environment, cloud) };
      for (const [what, those] of Object.entries(mustLookAt)) if (those.length > 0 && !looked.some((said) => JSON.stringify(said) === JSON.stringify(those))) say('terraform_data', `no precondition looks at the ${what}`);
    }
  },
};
