/** Several cells of one deployment on this machine: what is asked for, and what drills and tests hold of it. */
import type { Bytes } from '../../attestation/bytes.ts';
import type { KeyRing } from '../../attestation/platforms/simulated/keys.ts';
import type { CellConfig } from '../../workloads/protocol/cell.ts';
import type { Log } from '../../workloads/protocol/log.ts';
import type { CellDirectory, OwnerPolicy } from '../../workloads/protocol/owner.ts';
import type { CellPlatform } from './machines.ts';
import type { Supervised } from './supervise.ts';
import type { Vendors } from './vendors.ts';

export interface FleetCellSpec {
  readonly name: string;
  readonly region: string;
  /** Also says which cloud. */
  readonly platform: CellPlatform;
  readonly counters: number;
}

export interface FleetTenantSpec {
  readonly id: string;
  readonly tier: 'sync' | 'async';
  /** Cells that may have it, first choice first. */
  readonly order: readonly string[];
  /** Default `local`: a zone with the regions of all cells. */
  readonly zone?: string;
}

/** One way from a cell, or from clients, to a part of a cell. */
export interface Link {
  /** A cell's name, or `client`. */
  readonly from: string;
  readonly to: string;
  readonly what: 'postgres' | 'gateway' | 'observer' | 'public';
  readonly host: string;
  readonly port: number;
}

export interface FleetOptions {
  readonly folder: string;
  /** Three, or more: each runs an observer. */
  readonly cells: readonly FleetCellSpec[];
  readonly tenants: readonly FleetTenantSpec[];
  /** Besides `local`: which cells' regions belong to it. */
  readonly zones?: readonly { readonly name: string; readonly cells: readonly string[] }[];
  /** Of epochs. Default 4 and 0.25. */
  readonly leaseSeconds?: number;
  readonly clockBoundSeconds?: number;
  /** Of jobs; the gateway's default unless told. */
  readonly jobLeaseMs?: number;
  readonly lag?: { readonly bytes: number; readonly seconds: number; readonly beyond: 'refuse' | 'alarm' };
  /** When jobs of tier sync are acknowledged without a standby that is away. Default 5; `null`: never. */
  readonly degradeAfterSeconds?: number | null;
  /** Where a part of a cell is reached from elsewhere: a proxy's address, say. Default: directly. */
  readonly via?: (link: Link) => Promise<{ readonly host: string; readonly port: number }>;
  readonly keys?: KeyRing;
  /** File of the detector of all counters; the default model unless told. The policy must list it. */
  readonly detector?: string;
  /** Builds the page, so that the gateways serve it. */
  readonly page?: boolean;
  readonly log: Log;
  readonly onProgress?: (text: string) => void;
  /** More of the owner's policy, for drills. */
  readonly policy?: (policy: OwnerPolicyContent) => OwnerPolicyContent;
}
export type OwnerPolicyContent = Omit<OwnerPolicy, 'revision' | 'notAfter'>;

export interface FleetCell {
  readonly name: string;
  readonly folder: string;
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
  /** Public API, as clients reach it. */
  readonly url: string;
  readonly databaseUrl: string;
  readonly adminDatabaseUrl: string;
  /** gateway, broker, observer, counter-1, ... */
  readonly processes: readonly Supervised[];
  /** Of all cells. */
  readonly vendors: Vendors | undefined;
  /** By name of the process, `postgres` among them; those that run now. */
  pids(): Record<string, number>;
  /** Each process, the workers of the database too. */
  everyPid(): Promise<number[]>;
  process(name: string): Supervised;
  /** kill -9 of every process, the database and its workers too; they stay down until `start`. */
  kill(): Promise<void>;
  /** SIGSTOP of every process. */
  pause(): Promise<void>;
  resume(): Promise<void>;
  /** Again, on the same ports, after `kill` or `stop`; ready when its gateway answers its health, whatever that says. */
  start(): Promise<void>;
  stop(): Promise<void>;
}

export interface FleetTenant { readonly id: string; readonly zone: string; readonly tier: 'sync' | 'async'; readonly order: readonly string[]; /** One for all cells. */ readonly apiKey: string }

export interface Fleet {
  readonly folder: string;
  readonly ownerKey: Bytes;
  readonly directory: CellDirectory;
  readonly cells: ReadonlyMap<string, FleetCell>;
  readonly tenants: ReadonlyMap<string, FleetTenant>;
  /** Played here; undefined where nothing needs any. */
  readonly vendors: Vendors | undefined;
  cell(name: string): FleetCell;
  /** Signs the next revision and puts it into force wherever a cell runs. @returns its revision */
  signPolicy(change: (policy: OwnerPolicyContent) => OwnerPolicyContent): Promise<number>;
  stop(): Promise<void>;
}
