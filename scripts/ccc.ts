/** `ccc`: one command line for operators and for people with pictures. Each command is a file in commands/, loaded when it is called. */
import { Argument, Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { SCOPES } from './cell/admin.ts';
import { endWithReader, EXIT, fail } from './cli/output.ts';

/** What a command gives back: its exit code. */
export type Outcome = Promise<number>;
type Action = (...args: never[]) => Outcome;

const whole = (min: number, max: number) => (value: string): number => {
  const n = Number(value);
  if (!Number.isInteger(n) || n < min || n > max) throw new InvalidArgumentError(`a whole number from ${min} to ${max}.`);
  return n;
};
const counts = (value: string, all: number[] = []): number[] => [...all, ...value.split(',').map(whole(1, 1_000_000))];
const collect = (value: string, all: string[] = []): string[] => [...all, ...value.split(',')];

const data = () => new Option('--data <folder>', 'folder of the cell (default: $CCC_HOME or .ccc)');
const json = () => new Option('--json', 'one JSON document on standard output');
const client = (command: Command) => command.addOption(data()).addOption(json())
  .option('--url <url>', 'gateway (or $CCC_URL, or the saved profile)')
  .option('--api-key <key>', 'API key (or $CCC_API_KEY: better, since others can see a command line)')
  .option('--owner <key>', 'pinned public key of the deployment\'s owner (or $CCC_OWNER_KEY)')
  .option('--tenant <name>', 'tenant (or $CCC_TENANT)')
  .option('--zone <name>', 'compliance zone (or $CCC_ZONE)')
  .option('--cell <name>', 'cell (or $CCC_CELL)');

const environment = () => new Option('--env <name>', 'environment of modules/environments.ts').choices(['dev', 'staging', 'prod']).makeOptionMandatory();

let exitCode: number = EXIT.ok;

/** Loads the command's file when called; the last argument that commander gives is the command itself. */
const run = (load: () => Promise<Action>) => async (...args: unknown[]): Promise<void> => {
  const options = args.at(-2) as { json?: boolean };
  try {
    exitCode = await (await load())(...(args.slice(0, -1) as never[]));
  } catch (error) {
    exitCode = fail(error, options.json === true);
  }
};

export function program(): Command {
  const ccc = new Command('ccc')
    .description('Counts cats in encrypted pictures inside attested workloads.')
    .version('0.1.0')
    .showHelpAfterError('(ccc help COMMAND shows how to call it)')
    .addHelpText('after', '\nExit codes: 0 done, 1 failed, 2 usage, 3 refused by a verification, 4 cell unavailable, 130 interrupted, 141 nobody reads the answer.');

  ccc.command('demo').description('start a cell, count pictures with a known number of cats, verify every result, show what an operator can see')
    .argument('[files...]', 'your own pictures (JPEG, PNG, WebP) instead of the known ones')
    .option('--keep', 'leave the cell running and print the address of the page and the API')
    .addOption(json()).action(run(async () => (await import('./commands/demo.ts')).demo));

  ccc.command('up').description('run a development cell on this machine: gateway, broker, counters, PostgreSQL')
    .addOption(data()).option('--counters <n>', 'number of counters', whole(1, 64), 2).option('--port <port>', 'public port (default: a free one)', whole(1, 65_535))
    .addOption(new Option('--platform <platform>', 'whose machines are simulated (default: Nitro Enclaves, or what the cell is)').choices(['aws-nitro', 'azure-cvm', 'gke']))
    .option('--cells <n>', 'so many cells in simulated clouds, each in a folder of its own, that replicate to each other and take over from each other', whole(3, 9))
    .addOption(json()).action(run(async () => (await import('./commands/up.ts')).up));

  ccc.command('cells').description('which cell of ccc up --cells holds which tenant, how far copies are, alarms')
    .addOption(data()).addOption(json()).action(run(async () => (await import('./commands/failover.ts')).cells));
  ccc.command('failover').description('move tenants to a cell: planned, nothing is lost; forced, with the owner\'s grant, when the other cells are gone').requiredOption('--to <cell>', 'which cell shall have them')
    .option('--tenant <name>', 'only these tenants; repeat or separate by commas', collect).option('--force', 'print what may be lost; with --yes, sign the owner\'s grant and go').option('--yes', 'with --force')
    .addOption(data()).addOption(json()).action(run(async () => (await import('./commands/failover.ts')).failover));
  ccc.command('failback').description('move tenants back to the first cell of their order, when its copy is whole').option('--tenant <name>', 'only these tenants; repeat or separate by commas', collect)
    .addOption(data()).addOption(json()).action(run(async () => (await import('./commands/failover.ts')).failback));

  client(ccc.command('count').description('encrypt pictures here, have them counted, verify the results')
    .argument('[files...]', 'JPEG, PNG or WebP')
    .option('--resume', 'fetch the results of jobs that an interrupted ccc count had sent')
    .option('--classification <class>', 'public, internal, confidential or restricted', 'confidential')
    .option('--offline <bundle>', 'what vendors publish from this file of ccc collateral export, instead of asking them').option('--signer <key>', 'as of ccc verify')
    .option('--receipts <folder>', 'folder for the receipts', '.'))
    .action(run(async () => (await import('./commands/count.ts')).count));

  client(ccc.command('jobs').description('list the tenant\'s jobs')
    .option('--state <state>', 'accepted, leased, completed, rejected or failed').option('--limit <n>', 'how many', whole(1, 1000), 20))
    .action(run(async () => (await import('./commands/jobs.ts')).jobs));

  ccc.command('verify').description('verify receipts (offline) and attestation evidence of any known kind').argument('<files...>', 'receipts written by ccc count, the demo or the page; evidence as its platform wrote it')
    .addOption(data()).addOption(json()).option('--owner <key>', 'receipts: pinned public key of the deployment\'s owner (or $CCC_OWNER_KEY, or the cell\'s folder)')
    .option('--platform <name>', 'evidence: its platform, such as aws-nitro, azure-cvm, gke, amd-sev-snp, intel-tdx (default: detected; decides no trust)')
    .option('--kind <kind>', 'evidence: its kind, such as nitro-attestation-document, snp-report, tdx-quote (default: detected; decides no trust)')
    .option('--with <file>', 'certificates, collateral, key sets, or KIND=FILE; repeat or separate by commas', collect)
    .option('--at <time>', 'judge at this time (ISO 8601, or seconds; own: a Nitro document\'s own time) instead of now').option('--nonce <hex>', 'what the evidence has to answer: nonce, or all 64 bytes of report data')
    .option('--policy <file>', 'appraisal policy, JSON (default: production roots, no references, which never affirms)')
    .option('--offline <bundle>', 'collateral from this file of ccc collateral export only').option('--signer <key>', 'pinned public key of whoever signed the bundle (or $CCC_OWNER_KEY, or the cell\'s owner)')
    .option('--fetch', 'fetch what is missing from the vendors').option('--cache <folder>', 'where collateral is kept (default: collateral/ in the cell\'s folder)')
    .addOption(new Option('--revocation <how>', 'whether revocation lists must be there (default: require with --fetch or --offline)').choices(['require', 'ifAvailable'])).option('--explain', 'every check and every rule with what it has and needs')
    .addHelpText('after', '\nExit codes: receipts 0 verified, 3 refused; evidence 0 affirming, 10 warning (or verified, not appraised), 20 contraindicated, 30 not verifiable; 2 usage. Of several files, the worst.')
    .action(run(async () => (await import('./commands/verify.ts')).verify));

  ccc.command('vectors').description('judge a corpus of evidence and compare with what its MANIFEST.json expects')
    .argument('<folder>', 'a folder with a MANIFEST.json').option('--json', 'one JSON line per vector on standard output')
    .action(run(async () => (await import('./commands/vectors.ts')).vectors));

  const policy = ccc.command('policy').description('appraisal policies: what is wrong with one, what it says, how two differ');
  policy.command('lint').description('refuse policies that leave open what matters; warn of weak ones (exit 1 on errors)').argument('<files...>', 'appraisal policies, or an owner\'s (JSON or signed)').addOption(json())
    .action(run(async () => (await import('./commands/policy.ts')).policyLint));
  policy.command('explain').description('what a policy demands; for evidence, each rule with what it has and what it needs (exit as of ccc verify)').argument('<policy>').argument('[evidence...]').addOption(data()).addOption(json())
    .option('--platform <name>', 'platform of the evidence').option('--kind <kind>', 'kind of the evidence').option('--with <file>', 'as of ccc verify', collect).option('--at <time>', 'as of ccc verify').option('--nonce <hex>', 'as of ccc verify')
    .option('--offline <bundle>', 'as of ccc verify').option('--signer <key>', 'as of ccc verify').action(run(async () => (await import('./commands/policy.ts')).policyExplain));
  policy.command('diff').description('what the second policy changes, and whether it accepts more or less by it (exit 1 where they differ)').argument('<before>').argument('<after>').addOption(json())
    .action(run(async () => (await import('./commands/policy.ts')).policyDiff));
  policy.command('put').description('bring the owner\'s signed policy into force, in all cells of the folder: it ends all sessions').argument('<file>').addOption(data()).addOption(json())
    .action(run(async () => (await import('./commands/policy.ts')).policyPut));

  const measurements = ccc.command('measurements').description('the lock file of the images\' measurements, and the policy that the owner signs of it');
  const locked = (command: Command) => command.addOption(json()).option('--lock <file>', 'lock file (default: measurements.lock.json)');
  locked(measurements.command('check').description('what the lock file holds; exit 1 while anything in it was not built')).action(run(async () => (await import('./commands/measurements.ts')).measurementsCheck));
  locked(measurements.command('lock').description('take over what a build measured').requiredOption('--from <file>', 'entry that the image build wrote')
    .addOption(new Option('--role <role>', 'whose image').choices(['gateway', 'broker', 'counter']).makeOptionMandatory()).addOption(new Option('--generation <colour>', 'which fleet runs it').choices(['blue', 'green']).makeOptionMandatory()))
    .action(run(async () => (await import('./commands/measurements.ts')).measurementsLock));
  locked(measurements.command('policy').description('the owner\'s policy of these measurements: unsigned, or signed with --key').addOption(environment())
    .option('--cloud <names>', 'clouds of the deployment (default: all)', collect).option('--no-nodes', 'without counters on GKE nodes, whose evidence names no container')
    .option('--accept-milan', 'SEV-SNP on Zen 3 too, whose keys can be extracted by software: Azure\'s v5 sizes, Google\'s N2D')
    .option('--revision <n>', 'higher than every one before', whole(1, 1_000_000), 1).option('--days <n>', 'how long it holds', whole(1, 365), 90)
    .requiredOption('--directory-revision <n>', 'of the signed cell directory that goes with it', whole(1, 1_000_000))
    .option('--key <file>', 'the owner\'s private Ed25519 key, JWK').option('--out <file>', 'default: standard output'))
    .action(run(async () => (await import('./commands/measurements.ts')).measurementsPolicy));

  const cloud = () => new Argument('<cloud>').choices(['aws', 'azure', 'gcp']);
  ccc.command('preflight').description('what a first apply would stumble over: logins, quotas, sizes, principals, images, state store; reads only').addArgument(cloud()).addOption(environment()).addOption(json())
    .action(run(async () => (await import('./commands/preflight.ts')).preflight));
  ccc.command('bootstrap-state').description('make the store of Terraform\'s states; again changes nothing').addArgument(cloud()).addOption(environment()).option('--dry-run', 'only print the commands').addOption(json())
    .action(run(async () => (await import('./commands/bootstrap-state.ts')).bootstrapState));
  ccc.command('promote').description('move the measured images of one environment to the next, by digest: nothing is built; without --from, dev admits what its registries have')
    .addOption(new Option('--from <name>', 'environment that has recorded them').choices(['dev', 'staging', 'prod'])).addOption(new Option('--to <name>', 'environment right after it').choices(['dev', 'staging', 'prod']).makeOptionMandatory())
    .option('--cloud <names>', 'only these clouds; repeat or separate by commas', collect).option('--dry-run', 'only print the commands').option('--lock <file>', 'lock file (default: measurements.lock.json)')
    .option('--promotions <file>', 'records (default: promotions.json)').addOption(json()).action(run(async () => (await import('./commands/promote.ts')).promote));

  const collateral = ccc.command('collateral').description('what vendors publish about their platforms: cached, carried in one signed file');
  const cached = (command: Command) => command.addOption(data()).addOption(json()).option('--cache <folder>', 'where it is kept (default: collateral/ in the cell\'s folder)');
  cached(collateral.command('fetch').description('fetch from the vendors (or from the addresses in the file that $CCC_ENDPOINTS names)').argument('[names...]', 'KIND/KEY, such as amd-crl/Genoa')
    .option('--for <file>', 'whatever this evidence needs; repeat or separate by commas', collect)).action(run(async () => (await import('./commands/collateral.ts')).collateralFetch));
  cached(collateral.command('list').description('what is kept and holds now')).action(run(async () => (await import('./commands/collateral.ts')).collateralList));
  cached(collateral.command('export').description('write everything kept into one file, signed').argument('<file>')
    .option('--kind <kind>', 'only these kinds; repeat or separate by commas', collect).option('--key <file>', 'private Ed25519 key, JWK (default: the owner\'s)').option('--days <n>', 'how long the signer vouches for key sets', whole(1, 365), 30))
    .action(run(async () => (await import('./commands/collateral.ts')).collateralExport));
  cached(collateral.command('import').description('verify such a file and keep what is in it').argument('<file>').option('--signer <key>', 'pinned public key of whoever signed it (or $CCC_OWNER_KEY, or the cell\'s owner)'))
    .action(run(async () => (await import('./commands/collateral.ts')).collateralImport));

  const tenant = ccc.command('tenant').description('tenants of the cell (through its admin socket)');
  tenant.command('add').argument('<name>').requiredOption('--zone <zone>', 'compliance zone of the signed policy').addOption(data()).addOption(json())
    .description('add a tenant; the broker makes its keys').action(run(async () => (await import('./commands/tenant.ts')).tenantAdd));

  const key = ccc.command('key').description('API keys (through the admin socket)');
  key.command('add').argument('<tenant>').option('--scope <scope>', `${SCOPES.join(', ')}; repeat or separate by commas (default: all)`, collect)
    .option('--expires-days <n>', 'days until it expires', whole(1, 3650)).option('--save', 'write it to the client profile of the cell\'s folder').addOption(data()).addOption(json())
    .description('make an API key; it is shown once').action(run(async () => (await import('./commands/tenant.ts')).keyAdd));

  client(ccc.command('page').description('serve the page from this machine, with the pinned owner key').option('--port <port>', 'port (default: a free one)', whole(1, 65_535)))
    .action(run(async () => (await import('./commands/page.ts')).page));

  const drill = ccc.command('drill').description('practise what may happen to cells, on this machine, and measure it (exit 0 bounds met, 1 missed, 2 usage, 4 cannot be done here)');
  drill.command('failover').description('three cells, a load, a hurt primary, the way back; a signed report').addOption(json())
    .option('--scenario <name>', 'kill, pause, partition, disk-full, collateral-outage, broker-restart, revoked-measurement or all', 'kill')
    .option('--seed <n>', 'decides the load', whole(0, 4_294_967_295)).option('--rate <n>', 'jobs per second of all tenants (default 3)', whole(1, 100)).option('--lease-seconds <n>', 'of epochs: how long a cell that is gone is waited for (default 4)', whole(1, 60)).option('--out <folder>', 'where the report goes (default: .cache/drill)')
    .option('--record <folder>', 'a running cell, or cells, whose audit log gets the report\'s digest, too').option('--resume', 'with --scenario all: leave out what an interrupted run finished')
    .action(run(async () => (await import('./commands/drill.ts')).drillFailover));
  drill.command('restore').description('back up a working cell, lose it, make it again in an empty folder; every key opens, an erased tenant stays unreadable').addOption(json())
    .option('--out <folder>', 'where the report goes').action(run(async () => (await import('./commands/drill.ts')).drillRestore));

  const bench = ccc.command('bench').description('measure on this machine; npm run bench does the rest (exit 0 goals reached, 1 missed)');
  bench.command('failover').description('three cells, a backlog, kill -9 of the one that works on it: recovery by phase, throughput, drain; and how long a job takes to be acknowledged').addOption(json())
    .option('--jobs <n>', 'how many wait, a round each (commas or repeated; default 1000,1000,1000,10000)', counts).option('--samples <n>', 'jobs of the accept path (default 200, 0: none)', whole(0, 10_000))
    .option('--drain-seconds <n>', 'how long a backlog is watched (default 120)', whole(1, 7_200)).action(run(async () => (await import('./commands/bench.ts')).benchFailover));

  const model = ccc.command('model').description('the detector');
  model.command('check').argument('[file]', 'an ONNX file; the pinned default otherwise').addOption(json())
    .description('run fixed inputs, print digest and classes').action(run(async () => (await import('./commands/model.ts')).modelCheck));

  ccc.command('doctor').description('check this machine and a cell\'s folder; say what to do about what is wrong')
    .addOption(data()).addOption(json()).action(run(async () => (await import('./commands/doctor.ts')).doctor));
  return ccc;
}

async function main(): Promise<void> {
  endWithReader();
  const ccc = program();
  for (const command of [ccc, ...ccc.commands, ...ccc.commands.flatMap((c) => c.commands)]) command.exitOverride();
  try {
    await ccc.parseAsync();
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    exitCode = error.exitCode === 0 ? EXIT.ok : EXIT.usage;
  }
  process.exitCode = exitCode;
}

if (import.meta.main) await main();
