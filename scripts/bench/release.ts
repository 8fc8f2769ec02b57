/** Data keys released by a real broker, asked for as a counter asks: through the gateway, with a session and a proof for each request. */
import { readFile } from 'node:fs/promises';
import { b64u, bytes, fromB64u } from '../../attestation/bytes.ts';
import { counterGateway } from '../../workloads/counter/gateway-client.ts';
import { createCounterKeys } from '../../workloads/counter/keys.ts';
import { SessionKeeper } from '../../workloads/counter/session.ts';
import { attesterFor } from '../../workloads/protocol/attester.ts';
import { origin, parseCell } from '../../workloads/protocol/cell.ts';
import { createLog } from '../../workloads/protocol/log.ts';
import { parseMessage } from '../../workloads/protocol/message.ts';
import { PolicySource } from '../../workloads/protocol/policy-source.ts';
import { at } from '../cell/folder.ts';
import { type BenchCell, TENANT } from './cell.ts';
import { load } from './machine.ts';
import { ms, type Section } from './section.ts';
import { spread } from './stats.ts';

const BATCHES = [1, 16] as const;
const AT_ONCE = 4;

/** A counter's half of the protocol up to the release, in this process. */
async function releaser(cell: BenchCell): Promise<(headers: readonly { job_id: string; header: string }[]) => Promise<void>> {
  const now = Date.now;
  const log = createLog('bench', { write: () => {} });
  const { cell: config, configDigest } = await parseCell(bytes(await readFile(at(cell.folder).cell)));
  const gateway = counterGateway({ origin: origin(config.gateway.internal), now });
  const policy = new PolicySource({ fetch: gateway.policy, ownerKey: fromB64u(config.ownerKey), now, log });
  const [keys, attester] = await Promise.all([createCounterKeys(), attesterFor(config, 'counter', cell.folder, now, async () => (await policy.current()).policy)]);
  const sessions = new SessionKeeper({ gateway, attester, keys, policy, cell: config.cell, platform: config.platform, configDigest, now, log });
  return async (headers) => {
    const { items } = await sessions.use((session) => gateway.release(headers.map((h) => ({ tenant_id: TENANT, ...h })), session));
    if (items.length !== headers.length || !items.every((item) => item.ok)) throw new Error('not everything was released');
  };
}

export async function releasing(cell: BenchCell, requests: number): Promise<Section> {
  const release = await releaser(cell);
  const messages = await cell.messages(Math.max(...BATCHES), new Uint8Array(1024));
  const headers = messages.map(({ jobId, bytes: message }) => ({ job_id: jobId, header: b64u(parseMessage(message).header) }));
  const rows: string[][] = [];
  for (const batch of BATCHES) {
    const some = headers.slice(0, batch);
    for (let i = 0; i < 20; i++) await release(some);
    const samples: number[] = [];
    for (let i = 0; i < requests; i++) {
      const began = performance.now();
      await release(some);
      samples.push(performance.now() - began);
    }
    const times = spread(samples);
    const began = performance.now();
    const turns = Array.from({ length: requests }).keys();
    await Promise.all(Array.from({ length: AT_ONCE }, async () => { for (const _ of turns) await release(some); }));
    const perSecond = (1000 * requests * batch) / (performance.now() - began);
    rows.push([String(batch), ms(times.min), ms(times.median), ms(times.p99), ((1000 * batch) / times.median).toFixed(0), perSecond.toFixed(0)]);
  }
  return {
    title: 'Release',
    about: [
      'Milliseconds from the request of a counter to its answer, through gateway and broker: proof of possession checked by both, tenant keys opened, data keys unwrapped by X-Wing, commitment and header tag',
      'checked, a receipt for each key signed, chained and stored (PostgreSQL, fsync) before the answer, data keys sealed to the attested key. Simulated evidence, the same session throughout.',
    ],
    head: ['keys in a request', 'ms, minimum', 'ms, p50', 'ms, p99', 'releases/s, one after the other', `releases/s, ${AT_ONCE} at once`],
    rows,
    goals: [],
    load: load(),
  };
}
