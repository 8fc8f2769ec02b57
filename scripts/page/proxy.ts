/** Passes a request through to the gateway and streams the answer back as it comes (server-sent events included). */
import { type IncomingHttpHeaders, type IncomingMessage, request as httpRequest, type RequestOptions, type ServerResponse } from 'node:http';
import { request as httpsRequest } from 'node:https';

/** RFC 9110, section 7.6.1: these belong to one connection. `host` is the gateway's; cookies and origin are nobody's business there. */
const NOT_FORWARDED = new Set(['connection', 'keep-alive', 'proxy-authenticate', 'proxy-authorization', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'host', 'cookie', 'origin', 'referer']);
const NOT_RETURNED = new Set(['connection', 'keep-alive', 'proxy-authenticate', 'te', 'trailer', 'transfer-encoding', 'upgrade', 'set-cookie']);

const without = (headers: IncomingHttpHeaders, names: ReadonlySet<string>) => Object.fromEntries(Object.entries(headers).filter(([k, v]) => v !== undefined && !names.has(k)));

export function passThrough(request: IncomingMessage, response: ServerResponse, gateway: URL): void {
  const ask = gateway.protocol === 'https:' ? httpsRequest : httpRequest;
  const options: RequestOptions = { method: request.method, path: request.url, headers: { ...without(request.headers, NOT_FORWARDED), host: gateway.host } };
  const upstream = ask(gateway, options, (answer) => {
    response.writeHead(answer.statusCode ?? 502, without(answer.headers, NOT_RETURNED) as Record<string, string | string[]>);
    // Events are sent one by one: the head must not wait for the first.
    response.flushHeaders();
    answer.on('error', () => response.destroy());
    answer.pipe(response);
  });
  upstream.on('error', () => {
    if (response.headersSent) return response.destroy();
    response.writeHead(502, { 'content-type': 'application/problem+json' }).end(JSON.stringify({
      type: 'about:blank', title: 'The gateway does not answer', status: 502, code: 'GATEWAY_UNREACHABLE', detail: `Start the cell, or check the address ${gateway.origin}.`,
    }));
  });
  response.on('close', () => upstream.destroy());
  request.on('error', () => upstream.destroy());
  request.pipe(upstream);
}
