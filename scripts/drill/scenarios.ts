/** What is done to the primary, and what is expected of it. Each is done to real processes, sockets and files. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Fleet, FleetCell } from '../cell/fleet-types.ts';
import { origin } from '../../workloads/protocol/cell.ts';
import { UserError } from '../cli/output.ts';
import { duringOutage } from './collateral.ts';
import { asked, knock } from './felt.ts';
import type { HistoryEvent } from './history.ts';
import { type Network, PASS } from './proxy.ts';
import type { Answer, Remembered } from './requesters.ts';
import { revokedMeasurement } from './revocation.ts';
import type { Operator } from './runbook.ts';
import { type SmallDisk, smallDisk } from './small-disk.ts';

export const SCENARIOS = ['kill', 'pause', 'partition', 'disk-full', 'collateral-outage', 'broker-restart', 'revoked-measurement'] as const;
export type ScenarioName = (typeof SCENARIOS)[number];

export interface Stage {
  readonly fleet: Fleet;
  readonly network: Network;
  readonly primary: FleetCell;
  readonly standby: FleetCell;
  /** Tenants that may move. */
  readonly tenants: readonly string[];
  readonly operator: Operator;
  /** A good counter of the primary asks for a key: anew, or with the session that it has had since before the hurt. */
  readonly ask: () => Promise<Answer>;
  readonly kept: Remembered | undefined;
  readonly now: () => number;
  readonly write: (event: HistoryEvent) => void;
  readonly signal: AbortSignal;
}

/** What was seen of a hurt from outside. Asked before, too, when it must not be there: a check that always says yes shows nothing. */
export interface Felt { readonly hurt: boolean; readonly seen: string }

export interface Scenario {
  readonly name: ScenarioName;
  readonly title: string;
  /** Another cell should take over. */
  readonly failover: boolean;
  /** Somebody hands the tenants over: no lease has to end. */
  readonly handedOver?: boolean;
  /** Which of the simulated clouds is the primary. */
  readonly primary: 'aws' | 'azure';
  /** What is really done. */
  readonly what: string;
  /** Before the cells are made. @param folder of the primary @returns its end, after all of them. @throws UserError DRILL_UNPLAYABLE where this machine cannot play it */
  prepare?(folder: string): Promise<() => Promise<void>>;
  /** What the operator does before anything changes. */
  ready?(stage: Stage): Promise<void>;
  hurt(stage: Stage): Promise<void>;
  felt(stage: Stage): Promise<Felt>;
  /** What an operator does meanwhile, by the runbook. */
  operator?(stage: Stage): Promise<void>;
  heal(stage: Stage): Promise<void>;
}

const health = ({ url }: FleetCell): Promise<string> => asked(`${url}/v1/health`);
const database = ({ databaseUrl }: FleetCell): Promise<string> => knock(new URL(databaseUrl).hostname, Number(new URL(databaseUrl).port));

/** What the cell that took over says, and what a forced move would lose: runbook failover. */
const looked = async ({ operator }: Stage): Promise<void> => {
  await operator.type('failover', 'ccc cells --data FOLDER');
  await operator.type('failover', 'ccc doctor --data FOLDER/azure');
  await operator.type('failover', 'ccc failover --to gcp --force --data FOLDER');
};

/** A fresh one for each run: it remembers its disk. */
function diskFull(): Omit<Scenario, 'name'> {
  let disk: SmallDisk | undefined;
  const own = (): SmallDisk => disk ?? (() => { throw new UserError('DRILL_STAGE', 'The cell has no disk of its own.', 'This is a defect of the drill; please report it.'); })();
  return {
    title: 'The primary\'s disk is full', what: 'every byte of the file system with the cell\'s database, ciphertext and logs (in memory, mounted for it alone) is taken, and taken again as soon as one becomes free', failover: true, primary: 'aws',
    async prepare(folder) {
      disk = await smallDisk(folder);
      return () => own().remove();
    },
    hurt: () => own().fill(),
    async felt({ primary }) {
      const code = await own().refusal();
      const checks = await fetch(`${primary.url}/v1/health`, { signal: AbortSignal.timeout(2_000) }).then(async (answer) => `its gateway answers ${answer.status}`, () => 'its gateway does not answer');
      return { hurt: code === 'ENOSPC', seen: code === undefined ? 'a page can be written' : `writing a page in the cell's folder fails with ${code}; ${checks}` };
    },
    operator: looked,
    heal: () => own().free(),
  };
}

/** Restarted by its supervisor before anybody can look: its number tells. */
function brokerRestart(): Omit<Scenario, 'name'> {
  let before: number | undefined;
  return {
    title: 'The broker ends and starts anew', what: 'SIGKILL to the broker: sessions, challenges and opened keys are gone', failover: false, primary: 'aws',
    async ready({ primary }) { before = primary.process('broker').pid(); },
    async hurt({ primary }) {
      primary.process('broker').kill('SIGKILL');
      while (primary.process('broker').pid() === before) await sleep(10);
    },
    async felt({ primary, kept }) {
      const again = await kept?.again().catch((error: unknown) => ({ actual: 'unreachable', code: error instanceof Error ? error.name : 'unknown' }));
      return { hurt: primary.process('broker').pid() !== before && (again?.actual === 'unreachable' || again?.code?.startsWith('SESSION_') === true), seen: `a session of before: ${again?.actual ?? 'none'} ${again?.code ?? ''}`.trim() };
    },
    async operator({ operator }) { await operator.type('lost-broker', 'ccc doctor --data FOLDER/aws'); },
    async heal() { /* its supervisor does */ },
  };
}

const table = (): Readonly<Record<ScenarioName, Omit<Scenario, 'name'>>> => ({
  kill: {
    title: 'The primary is gone', what: 'SIGKILL to every process of the cell, the database and its workers too', failover: true, primary: 'aws',
    hurt: ({ primary }) => primary.kill(), heal: ({ primary }) => primary.start(), operator: looked,
    async felt({ primary }) {
      const [gateway, store] = await Promise.all([health(primary), database(primary)]);
      return { hurt: gateway === 'refused' && store === 'refused', seen: `its gateway: ${gateway}; its database: ${store}` };
    },
  },
  pause: {
    title: 'The primary stands still and comes back', what: 'SIGSTOP to every process of the cell for longer than its lease, then SIGCONT', failover: true, primary: 'aws',
    hurt: ({ primary }) => primary.pause(), heal: ({ primary }) => primary.resume(), operator: looked,
    async felt({ primary }) {
      const { host, port } = primary.cell.gateway.public;
      const [gateway, kernel] = await Promise.all([health(primary), knock(host, port)]);
      return { hurt: gateway === 'silent' && kernel === 'answers', seen: `its gateway: ${gateway}, on a connection that its kernel ${kernel === 'answers' ? 'takes' : 'does not take'}` };
    },
  },
  partition: {
    title: 'The primary is cut off from the other cells, not from clients', what: 'every link between the cell and others carries nothing, connections stay open', failover: true, primary: 'aws', operator: looked,
    async hurt({ network, primary }) { network.isolate(primary.name, { kind: 'partition' }, ({ from }) => from === 'client'); },
    async heal({ network, primary }) { network.isolate(primary.name, PASS); },
    async felt({ network, primary, standby }) {
      const link = async (from: FleetCell, to: FleetCell) => asked(origin(await network.via({ from: from.name, to: to.name, what: 'gateway', ...to.cell.gateway.internal })));
      const [there, here, clients] = await Promise.all([link(standby, primary), link(primary, standby), health(primary)]);
      return { hurt: there === 'silent' && here === 'silent' && clients === 'answers', seen: `from ${standby.name} it is ${there}, to ${standby.name} ${here}, for clients ${clients}` };
    },
  },
  'disk-full': diskFull(),
  'collateral-outage': {
    title: 'The vendor\'s collateral service is down, and the broker starts anew', what: 'the vendor\'s listener is closed, then SIGKILL to broker and counters, which have to attest again from what is cached', failover: false, primary: 'azure',
    async hurt({ primary }) {
      if (primary.vendors === undefined) throw new UserError('DRILL_STAGE', 'The cell needs nothing of a vendor.', 'This is a defect of the drill; please report it.');
      await primary.vendors.stop();
      for (const one of primary.processes) if (one.name === 'broker' || one.name.startsWith('counter')) one.kill('SIGKILL');
    },
    async felt({ primary: { cell: { collateral } } }) {
      const url = typeof collateral === 'object' ? collateral.amdKds ?? '' : '';
      const vendor = await asked(url);
      return { hurt: vendor === 'refused', seen: `the vendor's service: ${vendor}` };
    },
    operator: duringOutage,
    heal: async ({ primary }) => primary.vendors?.start(),
  },
  'broker-restart': brokerRestart(),
  'revoked-measurement': revokedMeasurement(),
});

export const scenario = (name: ScenarioName): Scenario => ({ name, ...table()[name] });
