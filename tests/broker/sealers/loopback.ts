/** A service on loopback that keeps every byte that came and went, and can be told to fail for a while. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { Surroundings } from '../../../workloads/broker/sealers/call.ts';
import { surroundings } from '../../../workloads/broker/sealers/call.ts';

export interface Heard { readonly method: string; readonly path: string; readonly headers: Readonly<Record<string, string>>; readonly body: string }
export interface Said { readonly status: number; readonly body: string; readonly headers?: Readonly<Record<string, string>> }
export type Handler = (heard: Heard) => Promise<Said> | Said;

export class Loopback {
  /** Bodies and headers, both ways. */
  readonly wire: string[] = [];
  readonly heard: Heard[] = [];
  /** Answers in place of the next ones; `hang`: none, `cut`: half of one. */
  readonly instead: (Said | 'hang' | 'cut')[] = [];
  /** Sits between service and broker. */
  tamper: ((said: Said, heard: Heard) => Said) | undefined;
  readonly #server: Server;
  handler: Handler;

  constructor(handler: Handler, tls?: { readonly key: string; readonly cert: string }) {
    this.handler = handler;
    const listener = (request: IncomingMessage, response: ServerResponse): void => void this.#serve(request, response);
    this.#server = tls === undefined ? createServer(listener) : createTlsServer(tls, listener);
  }

  async start(): Promise<this> {
    await new Promise<void>((done) => { this.#server.listen(0, '127.0.0.1', done); });
    return this;
  }

  get port(): number { return (this.#server.address() as AddressInfo).port; }
  get origin(): string { return `http://127.0.0.1:${this.port}`; }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise<void>((done) => { this.#server.close(() => done()); });
  }

  async #serve(request: IncomingMessage, response: ServerResponse): Promise<void> {
    const parts: Buffer[] = [];
    for await (const part of request) parts.push(part as Buffer);
    const heard: Heard = { method: request.method ?? '', path: request.url ?? '', headers: request.headers as Record<string, string>, body: Buffer.concat(parts).toString('utf8') };
    this.heard.push(heard);
    this.wire.push(JSON.stringify(heard.headers), heard.path, heard.body);
    const instead = this.instead.shift();
    if (instead === 'hang') return;
    if (instead === 'cut') {
      response.writeHead(200, { 'content-length': '100' }).write('{"half":');
      setImmediate(() => response.destroy());
      return;
    }
    let said: Said = instead ?? await Promise.resolve(this.handler(heard)).catch((error: unknown) => ({ status: 500, body: `fake failed: ${String(error)}` }));
    if (instead === undefined && this.tamper !== undefined) said = this.tamper(said, heard);
    this.wire.push(said.body);
    response.writeHead(said.status, { 'content-type': 'application/json', ...said.headers }).end(said.body);
  }
}

export const json = (status: number, value: object): Said => ({ status, body: JSON.stringify(value) });
export const changed = (change: (body: any) => void) => (said: Said): Said => {
  const body: unknown = JSON.parse(said.body);
  change(body);
  return { ...said, body: JSON.stringify(body) };
};

export interface Held { readonly around: Surroundings; readonly pauses: number[]; time: number }

/** Time that stands, pauses that are noted and not made. */
export function held(time: number, attemptMs = 2_000): Held {
  const state: { pauses: number[]; time: number; around: Surroundings } = { pauses: [], time, around: surroundings() };
  state.around = surroundings({ now: () => state.time, sleep: async (ms) => { state.pauses.push(ms); }, random: () => 0.5, attemptMs });
  return state;
}

/** Every spelling that a secret could leak in. */
export function spellings(secret: Uint8Array): string[] {
  const data = Buffer.from(secret);
  return [data.toString('hex'), data.toString('hex').toUpperCase(), data.toString('base64').replace(/=+$/, ''), data.toString('base64url'), data.toString('latin1')]
    // base64 of it inside of something else: the whole groups of three that do not touch its neighbours
    .concat([1, 2].map((skip) => data.subarray(skip, skip + 3 * Math.floor((data.length - skip) / 3)).toString('base64')));
}

export const leaks = (wire: readonly string[], secret: Uint8Array): boolean => wire.some((text) => spellings(secret).some((spelling) => text.includes(spelling)));
