/** Vendors, played by a server on this machine: what each path answers can be set, and every request is counted. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import type { Endpoints } from '../../attestation/collateral/endpoints.ts';

export interface Reply { readonly status?: number; readonly headers?: Readonly<Record<string, string>>; readonly body?: Uint8Array | string; /** Never answers. */ readonly hang?: boolean; /** Answers with headers and half of the body, then nothing. */ readonly stall?: boolean; readonly delayMs?: number }
export type Route = Reply | ((hit: number, request: IncomingMessage) => Reply);

export class Vendors {
  readonly routes = new Map<string, Route>();
  readonly hits: string[] = [];
  readonly #server: Server;
  base = '';

  private constructor() {
    this.#server = createServer((request, response) => this.#answer(request, response));
  }

  static async start(): Promise<Vendors> {
    const vendors = new Vendors();
    await new Promise<void>((resolve) => { vendors.#server.listen(0, '127.0.0.1', resolve); });
    vendors.base = `http://127.0.0.1:${(vendors.#server.address() as AddressInfo).port}`;
    return vendors;
  }

  /** All vendors are this one, each below a path of its own. */
  get endpoints(): Endpoints {
    const at = (path: string): string => `${this.base}${path}`;
    return {
      amdKds: at('/kds'), intelPcs: at('/pcs'), intelRootCrl: at('/intel/root.der'), intelUpdate: 'standard', azureThim: null, gceEndorsements: at('/endorsements'), gceHosts: at('/hosts'),
      authorities: { aa: at('/ca/aa') }, lists: { aa: at('/crl/aa') }, issuers: { 'https://issuer.example': at('/jwks') },
    };
  }

  count(path: string): number {
    return this.hits.filter((hit) => hit === path).length;
  }

  reset(): void {
    this.routes.clear();
    this.hits.length = 0;
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => { this.#server.close(resolve); });
  }

  #answer(request: IncomingMessage, response: ServerResponse): void {
    const path = request.url ?? '';
    this.hits.push(path);
    const route = this.routes.get(path) ?? { status: 404 };
    const { status = 200, headers = {}, body = '', hang, stall, delayMs = 0 } = typeof route === 'function' ? route(this.count(path), request) : route;
    if (hang) return;
    setTimeout(() => {
      response.writeHead(status, headers);
      if (stall) response.write(body);
      else response.end(body);
    }, delayMs);
  }
}
