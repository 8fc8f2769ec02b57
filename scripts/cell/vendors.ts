/**
 * The vendors of a development cell, played on this machine: what its simulated machines need besides their evidence, at the addresses that cell.json names. They
 * publish under development roots; what they say counts only where the owner's policy names these.
 */
import { createServer, type Server } from 'node:http';
import { sourceOf } from '../../attestation/collateral/sources.ts';
import { type MachineState, vendorItems } from '../../attestation/platforms/simulated/machine.ts';
import { type CellConfig, endpointsOf } from '../../workloads/protocol/cell.ts';

/** Lists hold for thirty days: made anew twice a day. */
const RENEW_MS = 12 * 3_600_000;

export interface Vendors { stop(): Promise<void>; start(): Promise<void> }

/** Where a cell's own vendors listen; undefined for a cell that needs none. */
export function vendorsAt({ collateral, simulated }: Pick<CellConfig, 'collateral' | 'simulated'>): { host: string; port: number; origin: string } | undefined {
  if (!simulated || collateral === undefined || collateral === 'public' || collateral.amdKds === undefined) return undefined;
  const { hostname, port, origin } = new URL(collateral.amdKds);
  return { host: hostname, port: Number(port), origin };
}

/** @param now epoch milliseconds */
export async function startVendors(cell: Pick<CellConfig, 'collateral' | 'simulated'>, machines: readonly MachineState[], now: () => number): Promise<Vendors | undefined> {
  const at = vendorsAt(cell);
  if (at === undefined) return undefined;
  const endpoints = endpointsOf(cell);
  let made: { readonly at: number; readonly files: Promise<Map<string, Uint8Array>> } | undefined;
  const files = (): Promise<Map<string, Uint8Array>> => {
    if (made === undefined || now() - made.at >= RENEW_MS) made = { at: now(), files: publish(Math.floor(now() / 1000)) };
    return made.files;
  };
  async function publish(seconds: number): Promise<Map<string, Uint8Array>> {
    const items = (await Promise.all(machines.map((machine) => vendorItems(machine, seconds)))).flat();
    return new Map(items.map(({ kind, key, bytes }) => {
      const { url } = sourceOf(kind, key, endpoints);
      return [url.pathname + url.search, bytes];
    }));
  }
  let server: Server | undefined;
  const vendors: Vendors = {
    async start() {
      const listening = createServer((request, response) => {
        files().then((all) => {
          const found = all.get(request.url ?? '');
          response.writeHead(found === undefined ? 404 : 200, { 'content-type': 'application/octet-stream' }).end(found);
        }, () => response.writeHead(500).end());
      });
      await new Promise<void>((done, failed) => { listening.once('error', failed).listen(at.port, at.host, done); });
      server = listening;
    },
    async stop() {
      const running = server;
      server = undefined;
      if (running === undefined) return;
      running.closeAllConnections();
      await new Promise((done) => { running.close(done); });
    },
  };
  await vendors.start();
  return vendors;
}
