/**
 * The public side: Front Door with a firewall, private link, an internal load balancer, gateways. TLS of the public name ends at Front Door, and again in the
 * gateway's VM for the leg behind it; neither is a TEE. That is the documented choice: the firewall sees HTTP, and payloads are encrypted to attested keys
 * end to end (HPKE), so that all it ever sees of a picture is ciphertext.
 *
 * Blue and green gateways are two origins; their weights are the canary. Each has its own front end and private link service.
 */
import { CdnFrontdoorCustomDomain } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-custom-domain/index.js';
import { CdnFrontdoorCustomDomainAssociation } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-custom-domain-association/index.js';
import { CdnFrontdoorEndpoint } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-endpoint/index.js';
import { CdnFrontdoorFirewallPolicy } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-firewall-policy/index.js';
import { CdnFrontdoorOrigin } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-origin/index.js';
import { CdnFrontdoorOriginGroup } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-origin-group/index.js';
import { CdnFrontdoorProfile } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-profile/index.js';
import { CdnFrontdoorRoute } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-route/index.js';
import { CdnFrontdoorSecurityPolicy } from '@cdktf/provider-azurerm/lib/cdn-frontdoor-security-policy/index.js';
import { PrivateLinkService } from '@cdktf/provider-azurerm/lib/private-link-service/index.js';
import { Construct } from 'constructs';
import { needWhole } from '../configuration-error.ts';
import { GENERATIONS, type Generation } from '../measurements.ts';
import type { Balancer } from './balancer.ts';
import { type Destinations, diagnose } from './diagnostics.ts';
import { type AzureScope, placed } from './scope.ts';

export interface EdgeProps {
  readonly scope: AzureScope;
  readonly logs: Destinations;
  /** Public names: the cell's own and the one that DNS puts in front of all cells. */
  readonly hostNames: Readonly<Record<string, string>>;
  /** In the certificate of the origins. */
  readonly originHostName: string;
  readonly balancer: Balancer;
  readonly linkSubnetId: string;
  /** Share of the green gateways, percent; 0: blue alone. */
  readonly canaryPercent: number;
  /** Requests of one address in a minute. */
  readonly rateLimit: number;
}

export class Edge extends Construct {
  readonly endpoint: CdnFrontdoorEndpoint;
  readonly profile: CdnFrontdoorProfile;
  /** Tokens by public name, to be put into DNS before a certificate is made. */
  readonly validation: Readonly<Record<string, string>>;

  constructor(parent: Construct, id: string, props: EdgeProps) {
    super(parent, id);
    const { scope, balancer, canaryPercent } = props;
    const { named } = scope;
    needWhole('canaryPercent', canaryPercent, 0, 50, 'percent');
    needWhole('rateLimit', props.rateLimit, 10, 100_000, 'requests a minute');

    // Query strings and addresses of clients do not belong in logs.
    this.profile = new CdnFrontdoorProfile(this, 'profile', {
      name: named('azure-generic', 'front-door'), resourceGroupName: scope.group.name, skuName: 'Premium_AzureFrontDoor', responseTimeoutSeconds: 120,
      logScrubbingRule: [{ matchVariable: 'QueryStringArgNames' }, { matchVariable: 'RequestIPAddress' }],
    });
    this.endpoint = new CdnFrontdoorEndpoint(this, 'endpoint', { name: named('front-door-endpoint', 'cell'), cdnFrontdoorProfileId: this.profile.id, enabled: true });
    const domains = Object.entries(props.hostNames).map(([name, hostName]) => new CdnFrontdoorCustomDomain(this, `domain-${name}`, {
      name: named('azure-generic', `domain-${name}`), cdnFrontdoorProfileId: this.profile.id, hostName, tls: { certificateType: 'ManagedCertificate', minimumTlsVersion: 'TLS12' },
    }));
    this.validation = Object.fromEntries(domains.map((domain, index) => [Object.values(props.hostNames)[index] ?? '', domain.validationToken]));
    const group = new CdnFrontdoorOriginGroup(this, 'origins', {
      name: 'gateways', cdnFrontdoorProfileId: this.profile.id, sessionAffinityEnabled: false, restoreTrafficTimeToHealedOrNewEndpointInMinutes: 5,
      // Weights decide between the colours only while their latencies count as equal.
      loadBalancing: { sampleSize: 4, successfulSamplesRequired: 3, additionalLatencyInMilliseconds: 1_000 },
      healthProbe: { protocol: 'Https', intervalInSeconds: 30, path: '/v1/health', requestType: 'GET' },
    });
    const weights: Readonly<Record<Generation, number>> = { blue: 1_000 - 10 * canaryPercent, green: Math.max(1, 10 * canaryPercent) };
    const origins = GENERATIONS.map((generation) => {
      const link = new PrivateLinkService(this, `link-${generation}`, {
        ...placed(scope), name: named('azure-generic', `link-${generation}`), loadBalancerFrontendIpConfigurationIds: [balancer.frontendId(generation)], enableProxyProtocol: false,
        natIpConfiguration: [{ name: 'nat', primary: true, subnetId: props.linkSubnetId }],
      });
      return new CdnFrontdoorOrigin(this, `origin-${generation}`, {
        name: generation, cdnFrontdoorOriginGroupId: group.id, enabled: generation === 'blue' || canaryPercent > 0, hostName: props.originHostName, originHostHeader: props.originHostName,
        certificateNameCheckEnabled: true, httpsPort: 443, priority: 1, weight: weights[generation],
        // Approved once after the first apply: a link service takes connections of subscriptions it knows by itself, and Front Door's are Microsoft's.
        privateLink: { location: scope.location, privateLinkTargetId: link.id, requestMessage: `ccc ${generation}` },
      });
    });
    const route = new CdnFrontdoorRoute(this, 'route', {
      name: 'all', cdnFrontdoorEndpointId: this.endpoint.id, cdnFrontdoorOriginGroupId: group.id, cdnFrontdoorOriginIds: origins.map(({ id }) => id), cdnFrontdoorCustomDomainIds: domains.map(({ id }) => id), patternsToMatch: ['/*'],
      supportedProtocols: ['Https'], forwardingProtocol: 'HttpsOnly', httpsRedirectEnabled: false, linkToDefaultDomain: false, enabled: true,
    });
    for (const domain of domains) new CdnFrontdoorCustomDomainAssociation(this, `${domain.node.id}-route`, { cdnFrontdoorCustomDomainId: domain.id, cdnFrontdoorRouteIds: [route.id] });

    const firewall = new CdnFrontdoorFirewallPolicy(this, 'firewall', {
      name: named('waf-policy', 'edge'), resourceGroupName: scope.group.name, skuName: 'Premium_AzureFrontDoor', enabled: true, mode: 'Prevention', requestBodyCheckEnabled: true, customBlockResponseStatusCode: 403,
      managedRule: [{ type: 'Microsoft_DefaultRuleSet', version: '2.1', action: 'Block' }, { type: 'Microsoft_BotManagerRuleSet', version: '1.1', action: 'Block' }],
      customRule: [
        {
          name: 'RateLimit', type: 'RateLimitRule', action: 'Block', enabled: true, priority: 100, rateLimitDurationInMinutes: 1, rateLimitThreshold: props.rateLimit,
          // Every request starts with a slash: the limit holds for all addresses.
          matchCondition: [{ matchVariable: 'RequestUri', operator: 'Contains', matchValues: ['/'] }],
        },
        { name: 'MethodsOnly', type: 'MatchRule', action: 'Block', enabled: true, priority: 200, matchCondition: [{ matchVariable: 'RequestMethod', operator: 'Equal', negationCondition: true, matchValues: ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS'] }] },
      ],
      logScrubbing: { enabled: true, scrubbingRule: [{ enabled: true, matchVariable: 'RequestHeaderNames', operator: 'Equals', selector: 'authorization' }, { enabled: true, matchVariable: 'RequestBodyJsonArgNames', operator: 'EqualsAny' }] },
    });
    new CdnFrontdoorSecurityPolicy(this, 'security', {
      name: 'firewall', cdnFrontdoorProfileId: this.profile.id,
      securityPolicies: { firewall: { cdnFrontdoorFirewallPolicyId: firewall.id, association: { patternsToMatch: ['/*'], domain: [this.endpoint, ...domains].map(({ id }) => ({ cdnFrontdoorDomainId: id })) } } },
    });
    diagnose(this, 'profile-logs', this.profile.id, props.logs);
  }
}
