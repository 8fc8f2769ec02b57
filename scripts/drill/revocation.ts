/** Runbook compromised-image: the owner signs a policy without the image that the primary's counters run, and the time until the last session of that image has ended is measured. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { verifyPolicy } from '../../workloads/protocol/documents.ts';
import { fleetOwner, signPolicy } from '../cell/fleet-documents.ts';
import type { OwnerPolicyContent } from '../cell/fleet-types.ts';
import { at } from '../cell/folder.ts';
import { PREVIOUS } from './matrix.ts';
import type { Remembered } from './requesters.ts';
import type { Scenario, Stage } from './scenarios.ts';

const seconds = (): number => Math.floor(Date.now() / 1000);
const PATIENCE_MS = 30_000;

/** What the counters of that platform run is code that nobody may run any more; the image before it still counts. */
export const withoutCounters = (platform: string) => <P extends Pick<OwnerPolicyContent, 'roles'>>(policy: P): P => ({
  ...policy, roles: { ...policy.roles, counter: { ...policy.roles.counter, references: policy.roles.counter.references.filter((one) => one.platform !== platform || one.id.startsWith(PREVIOUS)) } },
});

export interface SessionEnd { /** When the last answer came that gave a key. */ readonly lastReleased?: number; readonly denied: number; readonly code: string }

/** A counter of that image asks with the session that it has, again as soon as it is answered. `undefined`: it still got keys when patience ended. */
export async function endOfSession(kept: Pick<Remembered, 'renewed'>, now: () => number, signal: AbortSignal, patienceMs = PATIENCE_MS): Promise<SessionEnd | undefined> {
  let lastReleased: number | undefined;
  for (const end = now() + patienceMs; now() < end && !signal.aborted; await sleep(20, undefined, { signal }).catch(() => {})) {
    const answer = await kept.renewed().catch(() => undefined);
    if (answer?.actual === 'released') lastReleased = now();
    // Its cell's epoch may have run out, and may come again: no end of the session.
    if (answer?.actual === 'denied' && answer.code?.startsWith('EPOCH_') !== true) return { ...(lastReleased === undefined ? {} : { lastReleased }), denied: now(), code: answer.code ?? 'DENIED' };
  }
  return undefined;
}

async function inForce({ fleet }: Stage): Promise<OwnerPolicyContent & { revision: number; notAfter: number }> {
  return (await verifyPolicy((await readFile(at(fleet.folder).policy, 'utf8')).trim(), fleet.ownerKey, seconds())).policy;
}

/** A fresh one for each run: it remembers what it took out. */
export function revokedMeasurement(): Omit<Scenario, 'name'> {
  let before: OwnerPolicyContent | undefined;
  const paths = ({ fleet }: Stage) => ({ OLD: join(fleet.folder, 'policy-before.json'), NEW: join(fleet.folder, 'policy-after.json') });
  return {
    title: 'The owner revokes the counters\' image', failover: true, handedOver: true, primary: 'aws',
    what: 'a new policy revision without the measurement that the primary\'s counters run; the operator hands its tenants to the standby',
    async ready(stage) {
      const policy = await inForce(stage);
      const { revision, notAfter: _, ...content } = policy;
      before = content;
      const { OLD, NEW } = paths(stage);
      await writeFile(OLD, JSON.stringify(policy));
      await writeFile(NEW, JSON.stringify({ ...withoutCounters(stage.primary.cell.platform)(policy), revision: revision + 1 }));
      await stage.operator.type('compromised-image', 'ccc policy lint NEW', { NEW });
      await stage.operator.type('compromised-image', 'ccc policy diff OLD NEW', { OLD, NEW });
    },
    async hurt(stage) {
      const { fleet, primary, operator, kept, now, write, signal } = stage;
      if (before === undefined || kept === undefined) throw new Error('there is no session to end');
      const owner = await fleetOwner(fleet.folder);
      await signPolicy(owner, withoutCounters(primary.cell.platform)(before), seconds());
      const signed = now();
      const { NEW } = paths(stage);
      await writeFile(`${NEW}.jws`, await readFile(at(fleet.folder).policy));
      const ending = endOfSession(kept, now, signal);
      await operator.type('compromised-image', 'ccc policy put NEW.jws --data FOLDER', { NEW });
      const end = await ending;
      if (end === undefined) throw new Error('the session of the revoked image still gets keys');
      write({ kind: 'revoked', from: signed, at: end.denied, cell: primary.name, code: end.code, ...(end.lastReleased === undefined ? {} : { lastReleased: end.lastReleased }) });
    },
    async felt({ ask }) {
      const { actual, code } = await ask();
      return { hurt: actual === 'denied' && code === 'MEASUREMENT_MISMATCH', seen: `new evidence of that image: ${actual} ${code ?? ''}`.trim() };
    },
    async operator({ operator, tenants }) {
      await operator.type('compromised-image', 'ccc failover --to azure --tenant TENANTS --data FOLDER', { TENANTS: tenants.join(',') });
    },
    async heal({ fleet, primary, now, write }) {
      await fleet.signPolicy((policy) => ({ ...policy, roles: { ...policy.roles, counter: before?.roles.counter ?? policy.roles.counter } }));
      write({ kind: 'reinstated', at: now(), cell: primary.name });
    },
  };
}
