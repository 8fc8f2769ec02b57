/** What every route of the gateway has at hand. */
import type { Bytes } from '../../attestation/bytes.ts';
import type { CollateralSupply } from '../../attestation/collateral/collateral.ts';
import type { ApiKey, Ledger } from '../ledger/ledger.ts';
import type { Replication } from '../ledger/replication.ts';
import type { CellConfig } from '../protocol/cell.ts';
import type { Clock } from '../protocol/clock.ts';
import type { Log } from '../protocol/log.ts';
import type { SessionPayload } from '../protocol/messages.ts';
import type { BrokerClient, BrokerTrust, VerifiedBroker } from './broker.ts';
import type { Epochs } from './epochs.ts';
import type { KeyStates } from './key-states.ts';
import type { KeyedTenants } from './keyed.ts';
import type { Health } from './health.ts';
import type { Limits } from './limits.ts';
import type { Load } from './load.ts';
import type { PhaseLog } from './phases.ts';
import type { Documents, OwnerDocuments } from './policy.ts';
import type { RateLimiter } from './rate.ts';
import type { Sessions } from './sessions.ts';
import type { Standbys } from './standby.ts';
import type { MessageStore } from './store.ts';
import type { Zones } from './zones.ts';

export interface Core {
  readonly cell: CellConfig;
  readonly configDigest: Bytes;
  readonly now: Clock;
  readonly limits: Limits;
  readonly log: Log;
  /** Guarded: late is LEDGER_UNAVAILABLE. */
  readonly ledger: Ledger;
  readonly store: MessageStore;
  readonly zones: Zones;
  readonly keyStates: KeyStates;
  readonly documents: OwnerDocuments;
  readonly broker: BrokerClient;
  readonly trust: BrokerTrust;
  readonly sessions: Sessions;
  readonly rates: RateLimiter;
  readonly load: Load;
  readonly health: Health;
  readonly epochs: Epochs;
  /** To other cells, where there are some. */
  readonly replication: Replication | undefined;
  readonly standbys: Standbys;
  readonly keyed: KeyedTenants | undefined;
  readonly phases: PhaseLog;
  readonly collateral: CollateralSupply | undefined;
  readonly keepDocuments: (documents: Documents) => Promise<void>;
  /** Aborted when the gateway stops: long polls and event streams end. */
  readonly closing: AbortSignal;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** The body's exact bytes, when it is JSON. */
    rawBody: Buffer | undefined;
    apiKey: ApiKey | undefined;
    session: SessionPayload | undefined;
    brokerInstance: VerifiedBroker | undefined;
    startedAt: number;
  }
}
