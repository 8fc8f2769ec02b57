/** Pods of the GKE cluster: by digest, not root, on confidential nodes, behind a network policy that denies. */
import { entriesOf, readLock } from '../../../../modules/measurements.ts';
import type { Rule } from '../rule.ts';
import { at, list, resources, strings } from '../template.ts';

export const kubernetes: Rule = {
  id: 'k8s',
  title: 'images by digest of the lock file, restricted pods, counters on confidential nodes with a TEE device, default deny',
  check(t, say) {
    if (t.cloud !== 'k8s') return;
    const deployments = resources(t, 'kubernetes_deployment_v1');
    for (const role of ['gateway', 'counter'] as const) if (!deployments.some((b) => b.name.includes(role))) say(`kubernetes_deployment_v1.*${role}*`, 'no deployment of this role');
    for (const b of deployments) {
      const pod = at(b.body, 'spec', 'template', 'spec');
      const role = (['gateway', 'counter'] as const).find((r) => b.name.includes(r));
      for (const c of list(at(pod, 'container'))) {
        const image = String(at(c, 'image'));
        if (!/@sha256:[0-9a-f]{64}$/.test(image)) say(b, `${image} is no digest`);
        if (role !== undefined && String(at(c, 'name')).includes(role) && !entriesOf(readLock(), role).some((e) => image.endsWith(e.image))) say(b, `${image} is not in the lock file`);
        const security = at(c, 'security_context');
        if (at(security, 'allow_privilege_escalation') !== false) say(b, 'privileges can be gained');
        if (at(security, 'privileged') === true) say(b, 'privileged');
        if (at(security, 'read_only_root_filesystem') !== true) say(b, 'a file system that can be written');
        if (!list(at(security, 'capabilities', 'drop')).includes('ALL')) say(b, 'keeps capabilities');
        if (list(at(c, 'resources', 'limits')).length === 0) say(b, 'no limits');
        if (at(c, 'liveness_probe') === undefined || at(c, 'readiness_probe') === undefined) say(b, 'no probes');
      }
      const nonRoot = at(pod, 'security_context', 'run_as_non_root') === true || list(at(pod, 'container')).every((c) => at(c, 'security_context', 'run_as_non_root') === true);
      if (!nonRoot) say(b, 'may run as root');
      if (at(pod, 'automount_service_account_token') !== false && role === 'counter') say(b, 'a counter has the API\'s token');
      for (const key of ['host_network', 'host_pid', 'host_ipc']) if (at(pod, key) === true) say(b, `${key} is on`);
      if (role === 'counter') {
        if (![...strings(at(pod, 'node_selector'))].some(({ path, text }) => /gke-confidential-nodes-instance-type/.test(path) && /^(?:SEV_SNP|TDX)$/.test(text))) say(b, 'may run on a node that is not confidential');
        if (!list(at(pod, 'container')).some((c) => ['amd.com/sev-snp', 'intel.com/tdx', 'google.com/cc'].some((device) => at(c, 'resources', 'limits', device) !== undefined))) say(b, 'has no TEE device: it cannot attest');
      }
    }
    const manifests = resources(t, 'kubernetes_manifest').map((b) => b.body['manifest'] ?? null);
    const ofKind = (kind: string) => manifests.filter((each) => at(each, 'kind') === kind);
    for (const route of ofKind('HTTPRoute')) {
      for (const rule of list(at(route, 'spec', 'rules'))) {
        for (const backend of list(at(rule, 'backendRefs')).map((r) => String(at(r, 'name')))) {
          const guarded = ofKind('GCPBackendPolicy').some((each) => at(each, 'spec', 'targetRef', 'name') === backend && typeof at(each, 'spec', 'default', 'securityPolicy') === 'string' && at(each, 'spec', 'default', 'logging', 'enabled') === true);
          if (!guarded) say(`kubernetes_manifest (${backend})`, 'no WAF and no access log in front');
        }
      }
    }
    if (ofKind('HTTPRoute').length === 0) say('kubernetes_manifest', 'no route from the edge');
    for (const gateway of ofKind('Gateway')) {
      if (list(at(gateway, 'spec', 'listeners')).some((l) => at(l, 'protocol') !== 'HTTPS')) say('kubernetes_manifest', 'the edge listens without TLS');
      if (!ofKind('GCPGatewayPolicy').some((each) => at(each, 'spec', 'targetRef', 'name') === at(gateway, 'metadata', 'name') && typeof at(each, 'spec', 'default', 'sslPolicy') === 'string')) say('kubernetes_manifest', 'no TLS policy at the edge');
    }
    const policies = resources(t, 'kubernetes_network_policy_v1');
    if (!policies.some((b) => list(at(b.body, 'spec', 'policy_types')).length === 2 && list(at(b.body, 'spec', 'ingress')).length === 0 && list(at(b.body, 'spec', 'egress')).length === 0)) say('kubernetes_network_policy_v1', 'nothing denies by default');
    for (const b of resources(t, 'kubernetes_daemon_set_v1')) for (const c of list(at(b.body, 'spec', 'template', 'spec', 'container'))) if (!/@sha256:[0-9a-f]{64}$/.test(String(at(c, 'image')))) say(b, `${String(at(c, 'image'))} is no digest`);
    if (resources(t, 'kubernetes_pod_disruption_budget_v1').length === 0) say('kubernetes_pod_disruption_budget_v1', 'none');
  },
};
