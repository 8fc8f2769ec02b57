/** The broker's side of the gateway's internal listener: each request proven by the attested key; nothing read back is trusted. */
import { type Clock, seconds } from '../protocol/clock.ts';
import { Answered, type HttpCall, parseJson, request } from '../protocol/http-client.ts';
import { type StoredKey, directoryResponseSchema, policyResponseSchema, tenantKeysResponseSchema } from '../protocol/messages.ts';
import { CccError, type ProblemCode, isProblemCode } from '../protocol/problem.ts';
import type { KeyStore } from './core/tenant-keys.ts';
import { type ReceiptRow, RowsRefused } from './core/receipts.ts';
import type { Identity } from './identity.ts';

export interface GatewayClient extends KeyStore {
  policy(): Promise<string>;
  directory(): Promise<string>;
  storeReceipts(rows: readonly ReceiptRow[]): Promise<void>;
  /** Whether this cell has no sealed key at all. */
  nothingSealed(): Promise<boolean>;
}

const ROUTES = { policy: '/internal/v1/policy', directory: '/internal/v1/directory', receipts: '/internal/v1/receipts', tenantKeys: '/internal/v1/tenant-keys' } as const;
/** Answers about the content of a request: the same one would get the same answer. */
const DEFINITE: ReadonlySet<ProblemCode> = new Set(['TENANT_UNKNOWN', 'KEY_CONFLICT', 'VALIDATION', 'RECEIPT_FORMAT']);
const REFUSED_ROWS: ReadonlySet<ProblemCode> = new Set(['TENANT_UNKNOWN', 'VALIDATION', 'RECEIPT_FORMAT']);
/** Any name does: only the total is read. */
const NO_TENANT = 'none';

export function gatewayClient(options: { origin: string; identity: Identity; now: Clock; timeoutMs?: number }): GatewayClient {
  const { origin, identity, now } = options;
  const ask = async (call: Pick<HttpCall, 'method' | 'path' | 'body'>, maxBytes = 65_536) => {
    try {
      return await request(origin, {
        ...call, maxBytes, now: seconds(now), timeoutMs: options.timeoutMs ?? 10_000,
        headers: { 'ccc-broker': identity.instance }, proof: { key: identity.signing.privateKey },
      });
    } catch (cause) {
      if (cause instanceof Answered && isProblemCode(cause.code) && DEFINITE.has(cause.code)) throw new CccError(cause.code, 'The gateway will not keep this.', { cause });
      throw new CccError('LEDGER_UNAVAILABLE', 'The broker keeps its state at the gateway; try again when that answers.', { cause });
    }
  };
  const rows = async (tenantId: string) => parseJson(tenantKeysResponseSchema, await ask({ method: 'GET', path: `${ROUTES.tenantKeys}?tenant=${encodeURIComponent(tenantId)}` }, 2 << 20));
  return {
    policy: async () => parseJson(policyResponseSchema, await ask({ method: 'GET', path: ROUTES.policy }, 1 << 20)).policy,
    directory: async () => parseJson(directoryResponseSchema, await ask({ method: 'GET', path: ROUTES.directory }, 1 << 20)).directory,
    list: async (tenantId) => (await rows(tenantId)).keys,
    nothingSealed: async () => (await rows(NO_TENANT)).sealed_total === 0,
    put: async (keys: readonly StoredKey[]) => void (await ask({ method: 'PUT', path: ROUTES.tenantKeys, body: { keys } })),
    async storeReceipts(receipts) {
      try {
        await ask({ method: 'POST', path: ROUTES.receipts, body: { receipts } });
      } catch (cause) {
        if (cause instanceof CccError && REFUSED_ROWS.has(cause.code)) throw new RowsRefused(cause.code, { cause });
        throw cause;
      }
    },
  };
}
