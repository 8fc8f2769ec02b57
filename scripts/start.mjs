/**
 * The one way in: `npm run demo`, `npm test`, `npm run ccc`, `npm run bench`, `npm run fuzz`, `npm run simulate` enter here in an empty clone. Plain JavaScript for
 * Node 18: brings the packages that are missing (never prunes what is there) and Node 24, and runs the rest under it.
 */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const ROOT = fileURLToPath(new URL('..', import.meta.url));
const MODULES = join(ROOT, 'node_modules');
const MINIMUM_NODE = 24;

/** What each verb runs under Node 24, and whether it needs the development packages. */
const VERBS = {
  ccc: { script: 'scripts/ccc.ts', dev: false },
  demo: { script: 'scripts/ccc.ts', args: ['demo'], dev: false },
  test: { script: 'scripts/test.ts', dev: true },
  bench: { script: 'scripts/bench/main.ts', dev: true },
  fuzz: { script: 'scripts/fuzz/main.ts', dev: false },
  drill: { script: 'scripts/ccc.ts', args: ['drill', 'failover'], dev: false },
  'docs:architecture': { script: 'scripts/stacks/diagram.ts', dev: true },
  'validate:stacks': { script: 'scripts/stacks/validate.ts', dev: true },
  'scan:stacks': { script: 'scripts/stacks/scan.ts', dev: true },
  'scan:kubernetes': { script: 'scripts/stacks/kubernetes.ts', dev: true },
  simulate: { script: 'scripts/simulate/main.ts', dev: false },
};

function say(text) {
  process.stderr.write(`${text}\n`);
}

function die(text) {
  say(text);
  process.exit(1);
}

/** Packages of the lock file that this machine should have and has not, split by who needs them. */
function survey() {
  const lock = JSON.parse(readFileSync(join(ROOT, 'package-lock.json'), 'utf8'));
  const missing = { production: 0, development: 0 };
  let developmentPresent = false;
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === '' || entry.link) continue;
    const installed = installedVersion(path);
    if (entry.dev && installed !== undefined) developmentPresent = true;
    // An optional package may fail to install on a machine that it is not made for.
    if (installed === entry.version || entry.optional) continue;
    missing[entry.dev ? 'development' : 'production'] += 1;
  }
  return { missing, developmentPresent };
}

function installedVersion(path) {
  try {
    return JSON.parse(readFileSync(join(ROOT, path, 'package.json'), 'utf8')).version;
  } catch {
    return undefined;
  }
}

/** Two verbs started at once in an empty clone: one installs, the other waits. */
function withInstallLock(install) {
  const lock = join(ROOT, '.cache', 'install.lock');
  mkdirSync(join(ROOT, '.cache'), { recursive: true });
  const pidFile = join(lock, 'pid');
  for (;;) {
    try {
      mkdirSync(lock);
      break;
    } catch {
      let alive = true;
      try {
        process.kill(Number(readFileSync(pidFile, 'utf8')), 0);
      } catch (error) {
        alive = error.code === 'EPERM' || error.code === 'ENOENT';
      }
      if (!alive) rmSync(lock, { recursive: true, force: true });
      else Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 500);
    }
  }
  writeFileSync(pidFile, String(process.pid));
  try {
    install();
  } finally {
    rmSync(lock, { recursive: true, force: true });
  }
}

function npm(args) {
  const cli = process.env.npm_execpath;
  const [command, prefix] = cli && cli.endsWith('.js') ? [process.execPath, [cli]] : [process.platform === 'win32' ? 'npm.cmd' : 'npm', []];
  // npm's own output goes to standard error: standard output belongs to the command that was asked for.
  const run = spawnSync(command, [...prefix, ...args], { cwd: ROOT, stdio: ['ignore', 2, 2], shell: process.platform === 'win32' });
  if (run.status !== 0) {
    die(`npm ${args.join(' ')} failed (exit ${run.status ?? run.error?.code ?? run.signal}). Check that the npm registry can be reached, then run the same command again.`);
  }
}

function ensurePackages(dev) {
  const lacking = ({ missing }) => missing.production > 0 || (dev && missing.development > 0);
  if (!lacking(survey())) return;
  withInstallLock(() => {
    const state = survey();
    if (!lacking(state)) return;
    const everything = dev || state.developmentPresent;
    const count = state.missing.production + (everything ? state.missing.development : 0);
    say(`Installing ${count} packages (${everything ? 'with' : 'without'} the development ones); this happens once.`);
    npm(['ci', ...(everything ? [] : ['--omit=dev']), '--loglevel=error']);
  });
}

function node24() {
  if (Number(process.versions.node.split('.')[0]) >= MINIMUM_NODE) return process.execPath;
  const local = join(MODULES, '.bin', process.platform === 'win32' ? 'node.cmd' : 'node');
  if (existsSync(local)) return local;
  return die(`Node ${MINIMUM_NODE} is needed and npm has no package of it for ${process.platform}-${process.arch}. Install Node ${MINIMUM_NODE} (nodejs.org), then run the same command again.`);
}

export function start(verb, args) {
  const task = VERBS[verb];
  if (!task) die(`Unknown verb "${verb ?? ''}". Known: ${Object.keys(VERBS).join(', ')}.`);
  const began = Date.now();
  ensurePackages(task.dev);
  const env = {
    ...process.env,
    PATH: join(MODULES, '.bin') + delimiter + (process.env.PATH ?? ''),
    CCC_INSTALL_MS: String(Date.now() - began),
  };
  const child = spawn(node24(), [join(ROOT, task.script), ...(task.args ?? []), ...args], { stdio: 'inherit', env });
  // A Ctrl-C reaches the whole process group; this process only waits for the child's own clean end.
  process.on('SIGINT', () => {});
  process.on('SIGTERM', () => child.kill('SIGTERM'));
  child.on('error', (error) => die(`Could not start Node: ${error.message}`));
  child.on('exit', (code, signal) => process.exit(code ?? (signal === 'SIGINT' ? 130 : 1)));
}

if (process.argv[1] && fileURLToPath(import.meta.url) === process.argv[1]) start(process.argv[2], process.argv.slice(3));
