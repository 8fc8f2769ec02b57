/** Speaks to the gateway's admin socket (mode 0600: whoever can open it is the operator). */
import { request } from 'node:http';
import { EXIT, UserError } from '../cli/output.ts';
import { at } from './folder.ts';

export async function admin<T>(folder: string, method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, body?: unknown, timeoutMs = 30_000): Promise<T> {
  const payload = body === undefined ? undefined : JSON.stringify(body);
  const { status, text } = await new Promise<{ status: number; text: string }>((done, failed) => {
    const call = request({ socketPath: at(folder).admin, method, path, timeout: timeoutMs, headers: payload === undefined ? {} : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(payload) } }, (response) => {
      const chunks: Buffer[] = [];
      response.on('data', (chunk: Buffer) => chunks.push(chunk)).on('error', failed).on('end', () => done({ status: response.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') }));
    });
    call.on('error', failed).on('timeout', () => call.destroy(Object.assign(new Error('time-out'), { code: 'ETIMEDOUT' })));
    call.end(payload);
  }).catch((error: NodeJS.ErrnoException) => {
    throw new UserError('UNREACHABLE', `No cell answers on ${at(folder).admin} (${error.code ?? error.message}).`, 'Start one with: ccc up   (or name its folder with --data)', EXIT.unavailable);
  });
  const answer = text === '' ? {} : (JSON.parse(text) as Record<string, unknown>);
  if (status >= 200 && status < 300) return answer as T;
  const reasons = (answer['reasons'] as { next?: string }[] | undefined) ?? [];
  throw new UserError(String(answer['code'] ?? status), String(answer['detail'] ?? answer['title'] ?? `HTTP ${status}`), reasons[0]?.next ?? 'ccc doctor says more.', status === 503 ? EXIT.unavailable : EXIT.failed);
}

export const addTenant = (folder: string, id: string, zone: string) => admin<{ id: string; zone: string }>(folder, 'POST', '/tenants', { id, zone });
export const addKey = (folder: string, tenantId: string, scopes: readonly string[], expiresInDays?: number) =>
  admin<{ id: string; key: string; scopes: string[] }>(folder, 'POST', '/keys', { tenant_id: tenantId, scopes, ...(expiresInDays === undefined ? {} : { expires_in_days: expiresInDays }) });

export const SCOPES = ['jobs:write', 'jobs:read', 'keys:read'] as const;
