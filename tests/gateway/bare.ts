/** A gateway without database or broker, for what needs neither: one tenant, one API key, a policy, nothing in the queue. */
import { b64u } from '../../attestation/bytes.ts';
import { newApiKey } from '../../workloads/gateway/api-keys.ts';
import { createGateway, type Gateway, type GatewayOptions } from '../../workloads/gateway/server.ts';
import type { Blobs } from '../../workloads/ledger/blobs.ts';
import type { Ledger } from '../../workloads/ledger/ledger.ts';
import type { CellConfig } from '../../workloads/protocol/cell.ts';
import { generateSigningKey, signJws } from '../../workloads/protocol/jws.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { type CellDirectory, DIRECTORY_TYPE, type OwnerPolicy, POLICY_TYPE } from '../../workloads/protocol/owner.ts';

export const bareKey = newApiKey();
const jobs = { accepted: 0, leased: 0, completed: 0, rejected: 0, failed: 0 };
const port = { host: '127.0.0.1', port: 1 };
const owner = await generateSigningKey();
const cell: CellConfig = {
  cell: 'local', cloud: 'local', region: 'local-1', epoch: 1, platform: 'aws-nitro', simulated: true, ownerKey: b64u(owner.publicKey), gateway: { public: port, internal: port }, broker: port,
};

// Without a policy no message would be looked at.
const appraisal = (role: 'broker' | 'counter') => ({
  id: `test/${role}`, role, maxAgeSeconds: 300, allowDevelopment: true, scopes: ['enclave' as const], references: [{ id: role, platform: 'aws-nitro' as const, registers: { PCR0: 'b0'.repeat(48), PCR1: 'b1'.repeat(48), PCR2: 'b2'.repeat(48) } }],
});
const policy = await signJws(POLICY_TYPE, {
  revision: 1, notAfter: 4_000_000_000, deployment: 'test', roles: { broker: appraisal('broker'), counter: appraisal('counter') }, developmentRoots: [], revoked: [], zones: [{ name: 'eu', regions: ['local-1'], origin: 'asserted' }],
  tenants: [{ tenant: '*', zones: ['eu'], classifications: ['public', 'internal', 'confidential'], scopes: ['enclave'], egress: ['count'] }], detectors: [{ name: 'test', digest: 'aa'.repeat(32), threshold: 0.5 }], directoryRevision: 1,
} satisfies OwnerPolicy, owner.privateKey);
const directory = await signJws(DIRECTORY_TYPE, {
  revision: 1, notAfter: 4_000_000_000, deployment: 'test', cells: [{ name: 'local', cloud: 'local', region: 'local-1', url: 'http://127.0.0.1:1', configDigest: '00'.repeat(32), epoch: 1 }],
} satisfies CellDirectory, owner.privateKey);

/** What is not listed fails: a test that reaches it learns so. */
const ledger = new Proxy({
  policy: async () => ({ revision: 1, jws: policy }),
  tenantKeys: async () => [],
  apiKey: async (id: string) => (id === bareKey.id ? { id, tenantId: 'acme', hash: bareKey.hash, scopes: ['jobs:write', 'jobs:read', 'keys:read'], createdAt: 0 } : undefined),
  counts: async () => ({ jobs, due: 0, tenants: 1, auditEntries: 0 }),
  tenant: async () => ({ id: 'acme', zone: 'eu', createdAt: 0 }),
  jobs: async () => [],
  job: async () => undefined,
}, { get: (target, name) => Reflect.get(target, name) ?? (async () => { throw new Error(`not in the bare ledger: ${String(name)}`); }) }) as unknown as Ledger;

/** `more`: what this ledger can do besides. */
export const bareGateway = (limits: GatewayOptions['limits'] = {}, more: Partial<Ledger> = {}): Promise<Gateway> => createGateway({
  ledger: new Proxy(ledger, { get: (target, name) => Reflect.get(more, name) ?? Reflect.get(target, name) }), blobs: {} as Blobs, broker: { origin: 'http://127.0.0.1:1' }, cell, configDigest: new Uint8Array(32), documents: { directory }, now: Date.now, log: createLog('test', { write: () => {} }),
  limits: { rates: { submit: { burst: 1e6, perSecond: 1e6 }, read: { burst: 1e6, perSecond: 1e6 }, manifest: { burst: 1e6, perSecond: 1e6 } }, challenge: { burst: 1e6, perSecond: 1e6 }, ...limits },
});
