/** Rule 4: SEV-SNP or TDX, shielded nodes, keys by image digest, admission by attestation. */
import { entriesOf, readLock } from '../../../../modules/measurements.ts';
import type { Rule } from '../rule.ts';
import { at, list, resources } from '../template.ts';

const MACHINE = { SEV_SNP: /^n2d-/, TDX: /^c3-/ } as const;

export const gcpFleet: Rule = {
  id: 'gcp-fleet',
  title: 'SEV-SNP or TDX and never bare SEV for workloads, shielded nodes, no legacy metadata, private cluster, Binary Authorization enforced, brokers in Confidential Space',
  check(t, say) {
    if (t.cloud !== 'gcp') return;
    const pools = resources(t, 'google_container_node_pool');
    const tees = pools.filter((b) => at(b.body, 'node_config', 'confidential_nodes', 'enabled') === true);
    for (const tee of ['SEV_SNP', 'TDX'] as const) if (!tees.some((b) => at(b.body, 'node_config', 'confidential_nodes', 'confidential_instance_type') === tee)) say(`google_container_node_pool (${tee})`, `no pool of ${tee} nodes`);
    for (const b of pools) {
      const type = at(b.body, 'node_config', 'confidential_nodes', 'confidential_instance_type');
      if (type !== 'SEV_SNP' && type !== 'TDX') say(b, `confidential instance type ${String(type)}`);
      if (at(b.body, 'node_config', 'confidential_nodes', 'enabled') === true && (type === 'SEV_SNP' || type === 'TDX')) {
        const machine = String(at(b.body, 'node_config', 'machine_type'));
        if (!MACHINE[type].test(machine)) say(b, `${machine} cannot host ${type}`);
        if (type === 'SEV_SNP' && at(b.body, 'node_config', 'min_cpu_platform') !== 'AMD Milan') say(b, 'no minimum CPU platform AMD Milan');
      }
      if (at(b.body, 'node_config', 'shielded_instance_config', 'enable_secure_boot') !== true) say(b, 'no Secure Boot');
      if (at(b.body, 'node_config', 'shielded_instance_config', 'enable_integrity_monitoring') !== true) say(b, 'no integrity monitoring');
      if (at(b.body, 'node_config', 'workload_metadata_config', 'mode') !== 'GKE_METADATA') say(b, 'pods see the node\'s metadata');
      if (at(b.body, 'node_config', 'boot_disk_kms_key') === undefined) say(b, 'boot disk without our key');
      if (at(b.body, 'node_config', 'image_type') !== 'COS_CONTAINERD') say(b, 'not the COS image');
      if (String(at(b.body, 'node_config', 'metadata', 'disable-legacy-endpoints') ?? 'true') !== 'true') say(b, 'legacy metadata endpoints');
    }
    const clusters = resources(t, 'google_container_cluster');
    if (clusters.length === 0) say('google_container_cluster', 'no cluster');
    for (const b of clusters) {
      if (at(b.body, 'private_cluster_config', 'enable_private_nodes') !== true) say(b, 'nodes have public addresses');
      const publicEndpoint = at(b.body, 'private_cluster_config', 'enable_private_endpoint') !== true && at(b.body, 'control_plane_endpoints_config', 'ip_endpoints_config', 'enabled') !== false;
      if (publicEndpoint) say(b, 'a public control plane endpoint');
      if (at(b.body, 'binary_authorization', 'evaluation_mode') !== 'PROJECT_SINGLETON_POLICY_ENFORCE') say(b, 'Binary Authorization is not enforced');
      if (at(b.body, 'database_encryption', 'state') !== 'ENCRYPTED') say(b, 'cluster secrets without our key');
      if (at(b.body, 'workload_identity_config', 'workload_pool') === undefined) say(b, 'no workload identity');
      if (b.body['enable_shielded_nodes'] === false) say(b, 'nodes are not shielded');
      if (b.body['enable_legacy_abac'] === true) say(b, 'legacy ABAC');
      if (at(b.body, 'master_auth', 'client_certificate_config', 'issue_client_certificate') === true) say(b, 'issues client certificates');
      if (t.environment === 'prod' && b.body['deletion_protection'] !== true) say(b, 'no deletion protection in prod');
    }
    for (const b of resources(t, 'google_binary_authorization_policy')) {
      if (at(b.body, 'default_admission_rule', 'evaluation_mode') === 'ALWAYS_ALLOW') say(b, 'admits every image');
      if (at(b.body, 'default_admission_rule', 'enforcement_mode') !== 'ENFORCED_BLOCK_AND_AUDIT_LOG') say(b, 'does not block');
    }
    if (resources(t, 'google_binary_authorization_policy').length === 0) say('google_binary_authorization_policy', 'no policy');
    const brokers = resources(t, 'google_compute_instance_template').concat(resources(t, 'google_compute_region_instance_template')).filter((b) => /broker/.test(b.name));
    if (brokers.length === 0) say('google_compute_instance_template.*broker*', 'no Confidential Space template for the broker');
    const digests = entriesOf(readLock(), 'broker').map((e) => e.image);
    for (const b of brokers) {
      if (at(b.body, 'confidential_instance_config', 'confidential_instance_type') !== 'TDX') say(b, 'not TDX');
      if (at(b.body, 'confidential_instance_config', 'enable_confidential_compute') === false) say(b, 'not confidential');
      if (at(b.body, 'shielded_instance_config', 'enable_secure_boot') !== true) say(b, 'no Secure Boot');
      if (at(b.body, 'scheduling', 'on_host_maintenance') !== 'TERMINATE') say(b, 'a TDX instance cannot be moved: on_host_maintenance is not TERMINATE');
      if (list(at(b.body, 'network_interface', 'access_config')).length > 0) say(b, 'a public address');
      const reference = String(at(b.body, 'metadata', 'tee-image-reference') ?? '');
      if (!digests.some((d) => reference.endsWith(`@${d}`))) say(b, 'its image is not named by a digest of the lock file');
      if (/debug/.test(JSON.stringify(list(b.body['disk'])))) say(b, 'a debug image of Confidential Space: anybody can log in');
    }
    for (const b of resources(t, 'google_compute_firewall')) {
      const open = list(b.body['source_ranges']).some((r) => r === '0.0.0.0/0' || r === '::/0');
      if (b.body['direction'] !== 'EGRESS' && list(b.body['allow']).length > 0 && (open || list(b.body['source_ranges']).length + list(b.body['source_service_accounts']).length + list(b.body['source_tags']).length === 0)) say(b, 'lets the world in');
      if (b.body['direction'] === 'EGRESS' && list(b.body['allow']).length > 0 && list(b.body['destination_ranges']).some((r) => r === '0.0.0.0/0')) say(b, 'lets everything out');
      if (b.body['direction'] !== 'EGRESS' && list(b.body['allow']).some((a) => list(at(a, 'ports')).some((p) => p === '22'))) say(b, 'SSH ingress');
    }
    if (!resources(t, 'google_compute_firewall').some((b) => b.body['direction'] === 'EGRESS' && list(b.body['deny']).length > 0 && list(b.body['destination_ranges']).includes('0.0.0.0/0'))) say('google_compute_firewall', 'no rule that denies egress');
    for (const b of resources(t, /^google_compute_router_nat$/)) say(b, 'a NAT: TEEs have a way out');
  },
};

export const gcpKeys: Rule = {
  id: 'gcp-keys',
  title: 'attested keys in an HSM, rotated, opened by image digest through a pool with a condition, and by nobody else',
  check(t, say) {
    if (t.cloud !== 'gcp') return;
    const digests = entriesOf(readLock(), 'broker').map((e) => e.image);
    const keys = resources(t, 'google_kms_crypto_key');
    const attested = keys.filter((b) => /attested|data-key/.test(b.name) && !/infra|database/.test(b.name));
    if (attested.length === 0) say('google_kms_crypto_key', 'no attested key');
    for (const b of keys) {
      if (b.body['purpose'] !== undefined && b.body['purpose'] !== 'ENCRYPT_DECRYPT') continue;
      const seconds = Number(/^(\d+)s$/.exec(String(b.body['rotation_period']))?.[1] ?? Number.NaN);
      if (!(seconds <= 7_776_000)) say(b, 'not rotated every 90 days');
      if (Number(/^(\d+)s$/.exec(String(b.body['destroy_scheduled_duration']))?.[1] ?? 0) < 2_592_000) say(b, 'destroyed after less than 30 days');
      if (t.environment === 'prod' && at(b.body, 'lifecycle', 'prevent_destroy') !== true) say(b, 'no prevent_destroy in prod');
    }
    for (const b of attested) {
      if (at(b.body, 'version_template', 'protection_level') !== 'HSM') say(b, 'not in an HSM');
      const bindings = resources(t, /^google_kms_crypto_key_iam_(?:binding|member|policy)$/).filter((i) => String(i.body['crypto_key_id']).includes(`google_kms_crypto_key.${b.name}.`));
      const openers = bindings.filter((i) => /[dD]ecrypt|viaKms|admin|owner|editor/i.test(String(i.body['role'])));
      if (openers.length === 0) say(b, 'nobody may use it');
      for (const i of openers) {
        for (const member of [...list(i.body['members']), ...list(i.body['member'])].map(String)) {
          if (!/^principalSet:\/\/iam\.googleapis\.com\/.+\/attribute\.image_digest\/sha256:[0-9a-f]{64}$/.test(member)) say(i, `${member} is no principal set of one image digest`);
          else if (!digests.some((d) => member.endsWith(`/${d}`))) say(i, `${member.slice(-20)} is no digest of the lock file`);
        }
      }
    }
    const providers = resources(t, 'google_iam_workload_identity_pool_provider');
    const gate = providers.filter((b) => at(b.body, 'oidc', 'issuer_uri') === 'https://confidentialcomputing.googleapis.com');
    if (gate.length === 0) say('google_iam_workload_identity_pool_provider', 'no provider of attestation tokens');
    for (const b of providers) if (typeof b.body['attribute_condition'] !== 'string' || b.body['attribute_condition'].length < 20) say(b, 'no condition: every token of the issuer gets in');
    for (const b of gate) if (list(at(b.body, 'oidc', 'allowed_audiences')).length === 0) say(b, 'no audience is asked for');
    for (const b of resources(t, /^google_project_iam_/)) {
      const role = String(b.body['role']);
      if (['roles/owner', 'roles/editor', 'roles/cloudkms.admin'].includes(role)) say(b, `${role} on the project`);
      if (/cloudkms\.(?:cryptoKeyDecrypter|cryptoKeyEncrypterDecrypter)/.test(role)) say(b, `${role} on the project opens the attested keys too`);
    }
  },
};
