/** Rule 1: enclaves are on, metadata is hardened, nobody logs in, nothing listens to the world but the public edge. */
import { at, blocks, list, resources, strings } from '../template.ts';
import type { Rule } from '../rule.ts';

const WORLD = /(?:^|[^\d])0\.0\.0\.0\/0|::\/0/;

export const awsFleet: Rule = {
  id: 'aws-fleet',
  title: 'enclave on, IMDSv2 with hop limit 1, no key, no SSH, no open ingress but at the edge, no debug mode',
  check(t, say) {
    if (t.cloud !== 'aws') return;
    const templates = resources(t, 'aws_launch_template');
    if (templates.length === 0) say('aws_launch_template', 'there is no launch template: no fleet');
    const hosts = templates.filter((b) => /broker|counter/.test(b.name));
    for (const role of ['broker', 'counter']) if (!hosts.some((b) => b.name.includes(role))) say(`aws_launch_template.*${role}*`, 'no launch template of this role');
    for (const b of hosts) if (at(b.body, 'enclave_options', 'enabled') !== true) say(b, 'enclave_options.enabled is not true');
    for (const b of templates) {
      if (at(b.body, 'metadata_options', 'http_tokens') !== 'required') say(b, 'IMDSv1 is possible');
      if (at(b.body, 'metadata_options', 'http_put_response_hop_limit') !== 1) say(b, 'hop limit of the metadata service is not 1');
      if (b.body['key_name'] !== undefined) say(b, 'an SSH key is installed');
      if (at(b.body, 'hibernation_options') !== undefined) say(b, 'hibernation writes memory to disk');
      const disks = list(b.body['block_device_mappings']);
      if (disks.length === 0) say(b, 'no block device is declared encrypted');
      for (const disk of disks) if (String(at(disk, 'ebs', 'encrypted')) !== 'true' || at(disk, 'ebs', 'kms_key_id') === undefined) say(b, 'a disk without encryption by our key');
      const userData = String(b.body['user_data'] ?? '');
      const script = /^\$\{base64encode/.test(userData) ? userData : Buffer.from(userData, 'base64').toString('utf8');
      if (/--debug-mode|--attach-console/.test(script)) say(b, 'an enclave is started in debug mode');
    }
    for (const b of resources(t, 'aws_autoscaling_group')) {
      if (list(b.body['vpc_zone_identifier']).length < 3) say(b, 'fewer than three zones');
      const gate = list(at(b.body, 'lifecycle', 'precondition')).some((p) => strings(p).next().done === false && JSON.stringify(p).includes('nitro_enclaves_support'));
      if (/broker|counter/.test(b.name) && !gate) say(b, 'no precondition that the instance type supports enclaves');
      if (list(b.body['initial_lifecycle_hook']).length === 0 && !resources(t, 'aws_autoscaling_lifecycle_hook').some((h) => JSON.stringify(h.body).includes(b.name))) say(b, 'no lifecycle hook: an instance whose enclave did not start gets traffic');
    }
    for (const b of resources(t, /^aws_(?:vpc_security_group_ingress_rule|vpc_security_group_egress_rule|security_group|security_group_rule|network_acl_rule|default_security_group)$/)) {
      const ingress = b.type.includes('ingress') || b.body['type'] === 'ingress' || b.type === 'aws_security_group';
      const open = [...strings(b.body)].some(({ text }) => WORLD.test(text));
      const port = b.body['from_port'];
      const publicEdge = b.type === 'aws_vpc_security_group_ingress_rule' && port === 443 && b.body['to_port'] === 443 && /(?:edge|alb|public|lb)/.test(b.name);
      if (open && b.type !== 'aws_network_acl_rule' && !publicEdge) say(b, `${ingress ? 'ingress' : 'egress'} open to the world`);
      if (ingress && typeof port === 'number' && typeof b.body['to_port'] === 'number' && port <= 22 && b.body['to_port'] >= 22) say(b, 'SSH ingress');
      if (ingress && b.body['ip_protocol'] === '-1') say(b, 'every protocol let in');
    }
    for (const b of resources(t, 'aws_subnet')) if (b.body['map_public_ip_on_launch'] === true) say(b, 'instances get public addresses');
    for (const b of resources(t, 'aws_nat_gateway')) say(b, 'a NAT gateway: TEEs have a way out');
    for (const b of blocks(t, 'aws_ec2_instance_type')) if (b.body['instance_type'] === undefined) say(b, 'no instance type is looked up');
  },
};
