/** The accept path: what a client waits for until a job is acknowledged, of tier sync, of tier async, and in a cell by itself; in turn, one job at a time. */
import { createApi } from '../../workloads/client/api.ts';
import { useNativeCrypto } from '../../workloads/protocol/primitives-native.ts';
import type { Fleet } from '../cell/fleet.ts';
import { benchCell } from './cell.ts';
import { encryptor } from './failover-fill.ts';
import { type Spread, spread } from './stats.ts';

export interface AcceptSeries { readonly what: string; readonly spread: Spread }

const WARM_UP = 5;

/** @param tenants of the fleet, by what they are called in the report, and the cell that holds each */
export async function acceptPath(fleet: Fleet, tenants: Readonly<Record<string, { readonly tenant: string; readonly cell: string }>>, samples: number, picture: Uint8Array): Promise<AcceptSeries[]> {
  useNativeCrypto();
  const alone = await benchCell(1);
  try {
    const ways: { what: string; submit: () => Promise<void>; times: number[] }[] = [];
    for (const [what, { tenant, cell }] of Object.entries(tenants)) {
      const made = await encryptor(fleet, tenant, cell, picture);
      const api = createApi({ url: fleet.cell(cell).url, apiKey: fleet.tenants.get(tenant)?.apiKey, attempts: 1 });
      const times: number[] = [];
      ways.push({
        what, times,
        async submit() {
          const { bytes } = await made.message();
          const began = performance.now();
          await api.submit(bytes);
          times.push(performance.now() - began);
        },
      });
    }
    const times: number[] = [];
    const messages = await alone.messages(samples + WARM_UP, picture);
    let turn = 0;
    ways.push({
      what: 'a cell by itself', times,
      async submit() {
        const message = messages[turn] ?? (() => { throw new Error('no message is left'); })();
        const began = performance.now();
        await alone.submit(message, turn++);
        times.push(performance.now() - began);
      },
    });
    for (let n = -WARM_UP; n < samples; n++) {
      for (const way of ways) {
        await way.submit();
        if (n < 0) way.times.pop();
      }
    }
    return ways.map((way) => ({ what: way.what, spread: spread(way.times) }));
  } finally {
    await alone.close();
  }
}
