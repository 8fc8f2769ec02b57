/** Starts a server in the folder that is its argument, says where, and waits to be killed. */
import { startPostgres } from '../../workloads/ledger/postgres.ts';
import { silent } from './engines.ts';

const postgres = await startPostgres({ folder: process.argv[2] as string, log: silent });
process.stdout.write(`${JSON.stringify({ pid: postgres.pid(), url: postgres.url })}\n`);
setInterval(() => {}, 60_000);
