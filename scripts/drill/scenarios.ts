/** What is done to the primary, and what is expected of it. Each is done to real processes, sockets and files. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import type { Fleet, FleetCell, OwnerPolicyContent } from '../cell/fleet-types.ts';
import { deploymentIn, handOver } from '../cell/handover.ts';
import { UserError } from '../cli/output.ts';
import { type Network, PASS } from './proxy.ts';

export const SCENARIOS = ['kill', 'pause', 'partition', 'disk-full', 'collateral-outage', 'broker-restart', 'revoked-measurement'] as const;
export type ScenarioName = (typeof SCENARIOS)[number];

export interface Stage { readonly fleet: Fleet; readonly network: Network; readonly primary: FleetCell; readonly standby: FleetCell; /** Tenants that may move. */ readonly tenants: readonly string[] }

export interface Scenario {
  readonly name: ScenarioName;
  readonly title: string;
  /** Another cell should take over. */
  readonly failover: boolean;
  /** Which of the simulated clouds is the primary. */
  readonly primary: 'aws' | 'azure';
  /** What is really done. */
  readonly what: string;
  /** @throws UserError where this machine cannot play it */
  hurt(stage: Stage): Promise<void>;
  /** What an operator does meanwhile, by the runbook; nothing where cells do it by themselves. */
  operator?(stage: Stage): Promise<void>;
  heal(stage: Stage): Promise<void>;
}

const run = promisify(execFile);

/** proc(5), setrlimit(2): whatever would make a file longer fails. The nearest to a full disk that needs no rights. */
async function limitFiles(pid: number | undefined, bytes: number | undefined): Promise<void> {
  if (pid === undefined) throw new UserError('DRILL_PROCESS', 'The process to hurt is not there.', 'Read the logs of the cell; run the drill again.');
  const limit = bytes === undefined ? 'unlimited' : String(bytes);
  await run('prlimit', ['--pid', String(pid), `--fsize=${limit}:`], { timeout: 10_000 }).catch((error: Error) => {
    throw new UserError('DRILL_UNPLAYABLE', `prlimit could not limit the files of a process: ${error.message.split('\n')[0]}`, 'disk-full needs prlimit (package util-linux) and Linux; choose another --scenario.');
  });
}

/** The counters of the primary are code that nobody may run any more: their reference is gone from the owner's policy. */
const withoutCounters = (platform: string) => (policy: OwnerPolicyContent): OwnerPolicyContent => ({
  ...policy, roles: { ...policy.roles, counter: { ...policy.roles.counter, references: policy.roles.counter.references.filter((one) => one.platform !== platform) } },
});

/** A fresh one for each run: it remembers what it took out. */
function revokedMeasurement(): Omit<Scenario, 'name'> {
  let before: OwnerPolicyContent['roles']['counter'] | undefined;
  return {
    title: 'The owner revokes the counters\' image', what: 'a new policy revision without the measurement that the primary\'s counters run; the operator hands its tenants to the standby', failover: true, primary: 'aws',
    async hurt({ fleet, primary }) {
      await fleet.signPolicy((policy) => {
        before = policy.roles.counter;
        return withoutCounters(primary.cell.platform)(policy);
      });
    },
    operator: ({ fleet, standby, tenants }) => moveTo(fleet, standby.name, tenants, 'failover'),
    async heal({ fleet }) { await fleet.signPolicy((policy) => ({ ...policy, roles: { ...policy.roles, counter: before ?? policy.roles.counter } })); },
  };
}

const table = (): Readonly<Record<ScenarioName, Omit<Scenario, 'name'>>> => ({
  kill: {
    title: 'The primary is gone', what: 'SIGKILL to every process of the cell, the database and its workers too', failover: true, primary: 'aws',
    hurt: ({ primary }) => primary.kill(), heal: ({ primary }) => primary.start(),
  },
  pause: {
    title: 'The primary stands still and comes back', what: 'SIGSTOP to every process of the cell for longer than its lease, then SIGCONT', failover: true, primary: 'aws',
    hurt: ({ primary }) => primary.pause(), heal: ({ primary }) => primary.resume(),
  },
  partition: {
    title: 'The primary is cut off from the other cells, not from clients', what: 'every link between the cell and others carries nothing, connections stay open', failover: true, primary: 'aws',
    async hurt({ network, primary }) { network.isolate(primary.name, { kind: 'partition' }, ({ from }) => from === 'client'); },
    async heal({ network, primary }) { network.isolate(primary.name, PASS); },
  },
  'disk-full': {
    title: 'The primary cannot write files any more', what: 'RLIMIT_FSIZE of its gateway: no file of messages grows', failover: true, primary: 'aws',
    hurt: ({ primary }) => limitFiles(primary.process('gateway').pid(), 0), heal: ({ primary }) => limitFiles(primary.process('gateway').pid(), undefined),
  },
  'collateral-outage': {
    title: 'The vendor\'s collateral service is down, and the broker starts anew', what: 'the vendor\'s listener is closed, then SIGKILL to broker and counters, which have to attest again from what is cached', failover: false, primary: 'azure',
    async hurt({ primary }) {
      if (primary.vendors === undefined) throw new UserError('DRILL_UNPLAYABLE', 'The cell needs nothing of a vendor.', 'This is a defect of the drill; please report it.');
      await primary.vendors.stop();
      for (const one of primary.processes) if (one.name === 'broker' || one.name.startsWith('counter')) one.kill('SIGKILL');
    },
    heal: async ({ primary }) => primary.vendors?.start(),
  },
  'broker-restart': {
    title: 'The broker ends and starts anew', what: 'SIGKILL to the broker: sessions, challenges and opened keys are gone', failover: false, primary: 'aws',
    async hurt({ primary }) { primary.process('broker').kill('SIGKILL'); },
    async heal() { /* its supervisor does */ },
  },
  'revoked-measurement': revokedMeasurement(),
});

export const scenario = (name: ScenarioName): Scenario => ({ name, ...table()[name] });

/** The operator's own way, of `ccc failover` and `ccc failback`: nothing is lost by it. */
export async function moveTo(fleet: Fleet, to: string, tenants: readonly string[], direction: 'failover' | 'failback'): Promise<void> {
  await handOver(await deploymentIn(fleet.folder), { to, tenants, direction });
}
