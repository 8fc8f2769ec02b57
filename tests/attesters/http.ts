/** A metadata service on the loopback interface: each path has its answer, and what was asked is kept. */
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Asked { readonly method: string; readonly path: string; readonly headers: Readonly<Record<string, string | string[] | undefined>>; readonly body: string }
export interface Answered { readonly status?: number; readonly body: string | Uint8Array }
export interface Service { readonly base: string; readonly asked: Asked[]; answers: Record<string, (asked: Asked) => Answered>; stop(): void }

export async function serve(answers: Service['answers']): Promise<Service> {
  const asked: Asked[] = [];
  const server = createServer((request, response) => {
    let body = '';
    request.on('data', (part: Buffer) => { body += part.toString(); }).on('end', () => {
      const one = { method: request.method ?? '', path: request.url ?? '', headers: request.headers, body };
      asked.push(one);
      const answer = service.answers[one.path]?.(one) ?? { status: 404, body: '' };
      response.writeHead(answer.status ?? 200).end(answer.body);
    });
  });
  await new Promise<void>((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const service: Service = { base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, asked, answers, stop: () => { server.closeAllConnections(); server.close(); } };
  return service;
}

export const pem = (der: Uint8Array): string => `-----BEGIN CERTIFICATE-----\n${(Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? []).join('\n')}\n-----END CERTIFICATE-----\n`;
