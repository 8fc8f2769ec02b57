/**
 * The public edge: address, certificate, TLS policy and Cloud Armor of a global external Application Load Balancer, whose routes are the cluster's Gateway
 * objects (k8s-edge.ts), so that blue and green are weights of one route.
 *
 * Where TLS ends: here, in front of the gateway. A WAF must read HTTP, so that TLS into the TEE would mean no WAF; what matters is encrypted by clients to
 * attested keys (HPKE with X-Wing), so that edge and gateway see ciphertext. Google ends TLS close to the client, maybe outside the residency: it keeps nothing there.
 */
import { CertificateManagerCertificate } from '@cdktf/provider-google/lib/certificate-manager-certificate/index.js';
import { CertificateManagerCertificateMap } from '@cdktf/provider-google/lib/certificate-manager-certificate-map/index.js';
import { CertificateManagerCertificateMapEntry } from '@cdktf/provider-google/lib/certificate-manager-certificate-map-entry/index.js';
import { CertificateManagerDnsAuthorization } from '@cdktf/provider-google/lib/certificate-manager-dns-authorization/index.js';
import { ComputeGlobalAddress } from '@cdktf/provider-google/lib/compute-global-address/index.js';
import { ComputeSecurityPolicy } from '@cdktf/provider-google/lib/compute-security-policy/index.js';
import { ComputeSslPolicy } from '@cdktf/provider-google/lib/compute-ssl-policy/index.js';
import { Construct } from 'constructs';
import { need, needWhole } from '../configuration-error.ts';
import type { Namer } from '../naming.ts';
import type { Tags } from '../tags.ts';

/** Names by which the Kubernetes stack finds what is made here. */
export const edgeNames = (named: Namer) => ({ address: named('gcp-generic', 'edge'), certificates: named('gcp-generic', 'edge'), tls: named('gcp-generic', 'edge'), armor: named('gcp-generic', 'edge') }) as const;

/** Preconfigured rules of OWASP's core rule set 3.3. `cve` has Log4Shell. Sensitivity 1: bodies are ciphertext in base64, which paranoid levels take for attacks. */
const WAF = ['sqli-v33-stable', 'xss-v33-stable', 'lfi-v33-stable', 'rfi-v33-stable', 'rce-v33-stable', 'methodenforcement-v33-stable', 'scannerdetection-v33-stable', 'protocolattack-v33-stable', 'sessionfixation-v33-stable', 'cve-canary'] as const;
const ANYWHERE = { versionedExpr: 'SRC_IPS_V1', config: { srcIpRanges: ['*'] } };

export interface EdgeProps {
  readonly named: Namer;
  /** Names that the certificate is for, the cell's own first. */
  readonly domains: readonly string[];
  /** Of one client address. */
  readonly requestsPerMinute: number;
  readonly tags: Tags;
}

export class Edge extends Construct {
  constructor(scope: Construct, id: string, { named, domains, requestsPerMinute, tags }: EdgeProps) {
    super(scope, id);
    need(domains.length > 0 && domains.every((domain) => /^(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z]{2,}$/.test(domain)), `${id}.domains`, domains, 'DNS names in lower case');
    needWhole(`${id}.requestsPerMinute`, requestsPerMinute, 10, 10_000, 'requests');
    const names = edgeNames(named);
    new ComputeGlobalAddress(this, 'address', { name: names.address, addressType: 'EXTERNAL', ipVersion: 'IPV4', labels: { ...tags } });
    new ComputeSslPolicy(this, 'tls', { name: names.tls, profile: 'RESTRICTED', minTlsVersion: 'TLS_1_2' });

    const map = new CertificateManagerCertificateMap(this, 'certificates', { name: names.certificates, labels: { ...tags } });
    for (const domain of domains) {
      const part = `edge-${domain.replaceAll('.', '-')}`;
      const authorization = new CertificateManagerDnsAuthorization(this, `authorization-${part}`, { name: named('gcp-generic', part), domain, type: 'PER_PROJECT_RECORD', labels: { ...tags } });
      const certificate = new CertificateManagerCertificate(this, `certificate-${part}`, { name: named('gcp-generic', part), managed: { domains: [domain], dnsAuthorizations: [authorization.id] }, labels: { ...tags } });
      new CertificateManagerCertificateMapEntry(this, `entry-${part}`, { name: named('gcp-generic', part), map: map.name, certificates: [certificate.id], hostname: domain, labels: { ...tags } });
    }

    new ComputeSecurityPolicy(this, 'armor', {
      name: names.armor, type: 'CLOUD_ARMOR', description: 'Public edge of the cell', adaptiveProtectionConfig: { layer7DdosDefenseConfig: { enable: true, ruleVisibility: 'STANDARD' } },
      advancedOptionsConfig: { jsonParsing: 'STANDARD', logLevel: 'NORMAL' },
      rule: [
        ...WAF.map((rule, index) => ({ priority: 100 + index, action: 'deny(403)', preview: false, description: rule, match: { expr: { expression: rule === 'cve-canary' ? `evaluatePreconfiguredWaf('cve-canary')` : `evaluatePreconfiguredWaf('${rule}', {'sensitivity': 1})` } } })),
        { priority: 500, action: 'throttle', preview: false, description: 'One client address', match: ANYWHERE, rateLimitOptions: { conformAction: 'allow', exceedAction: 'deny(429)', enforceOnKey: 'IP', rateLimitThreshold: { count: requestsPerMinute, intervalSec: 60 } } },
        { priority: 2_147_483_647, action: 'allow', preview: false, description: 'What no rule refused', match: ANYWHERE },
      ],
    });
  }
}
