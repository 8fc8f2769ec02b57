/**
 * What runbooks tell an operator to type, and which scenarios of the drill type it. The drill runs these very lines; a test holds docs/runbooks to them, and a drill that leaves
 * one of its lines out says so in its report.
 *
 * | word | is |
 * |---|---|
 * | FOLDER | folder of the deployment, with one of each cell below it |
 * | TENANTS | names, separated by commas |
 * | NEW, OLD | the owner's policy, before and after: JSON; NEW.jws is signed |
 * | FILE, KEY, ITEM | a bundle of collateral; its signer's public key; one KIND/KEY as `ccc collateral list` shows it |
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { ROOT } from '../../workloads/protocol/measure.ts';
import { EXIT, UserError } from '../cli/output.ts';

export const RUNBOOKS = ['failover', 'failback', 'restore', 'lost-broker', 'collateral-outage', 'compromised-image'] as const;
export type Runbook = (typeof RUNBOOKS)[number];
export const WORDS = ['FOLDER', 'TENANTS', 'NEW', 'OLD', 'FILE', 'KEY', 'ITEM'] as const;
export type Words = Readonly<Partial<Record<(typeof WORDS)[number], string>>>;

const LOST = ['kill', 'pause', 'partition', 'disk-full'] as const;
const MOVED = [...LOST, 'revoked-measurement'] as const;

/** `exit`: what it has to answer; 0 unless told. */
export interface Line { readonly runbook: Runbook; readonly command: string; readonly scenarios: readonly string[]; readonly exit?: number }

export const LINES = [
  { runbook: 'failover', command: 'ccc cells --data FOLDER', scenarios: LOST },
  { runbook: 'failover', command: 'ccc doctor --data FOLDER/azure', scenarios: LOST },
  // It says what would be lost and does nothing.
  { runbook: 'failover', command: 'ccc failover --to gcp --force --data FOLDER', scenarios: LOST, exit: EXIT.failed },
  { runbook: 'failover', command: 'ccc failover --to azure --tenant TENANTS --data FOLDER', scenarios: ['revoked-measurement'] },
  { runbook: 'failback', command: 'ccc cells --data FOLDER', scenarios: MOVED },
  { runbook: 'failback', command: 'ccc failback --data FOLDER', scenarios: MOVED },
  { runbook: 'lost-broker', command: 'ccc doctor --data FOLDER/aws', scenarios: ['broker-restart'] },
  { runbook: 'collateral-outage', command: 'ccc collateral list --cache FOLDER/azure/collateral/broker', scenarios: ['collateral-outage'] },
  { runbook: 'collateral-outage', command: 'ccc collateral export FILE --cache FOLDER/azure/collateral/broker --data FOLDER', scenarios: ['collateral-outage'] },
  { runbook: 'collateral-outage', command: 'ccc collateral import FILE --signer KEY --cache FOLDER/azure/collateral/broker', scenarios: ['collateral-outage'] },
  { runbook: 'collateral-outage', command: 'ccc collateral fetch ITEM --cache FOLDER/azure/collateral/broker', scenarios: ['collateral-outage'] },
  // It names no security versions: simulated machines have none to speak of.
  { runbook: 'compromised-image', command: 'ccc policy lint NEW', scenarios: ['revoked-measurement'], exit: EXIT.failed },
  // They differ.
  { runbook: 'compromised-image', command: 'ccc policy diff OLD NEW', scenarios: ['revoked-measurement'], exit: EXIT.failed },
  { runbook: 'compromised-image', command: 'ccc policy put NEW.jws --data FOLDER', scenarios: ['revoked-measurement'] },
  { runbook: 'compromised-image', command: 'ccc failover --to azure --tenant TENANTS --data FOLDER', scenarios: ['revoked-measurement'] },
  { runbook: 'compromised-image', command: 'ccc failback --data FOLDER', scenarios: ['revoked-measurement'] },
  { runbook: 'restore', command: 'ccc doctor --data FOLDER', scenarios: ['restore'] },
] as const satisfies readonly Line[];

type Known<R extends Runbook> = Extract<(typeof LINES)[number], { runbook: R }>['command'];

/** One line that was run, as the report has it. */
export interface Typed { readonly at: number; readonly runbook: Runbook; readonly command: string; readonly exit: number; readonly seconds: number }

/** Words in capitals stand for something; all others are typed as they are. @throws TypeError for a word that stands for nothing here */
export function argumentsOf(command: string, words: Words): string[] {
  return command.split(' ').map((each) => each.replace(/[A-Z]{3,}/g, (word) => {
    const value = words[word as keyof Words];
    if (value === undefined) throw new TypeError(`${word} stands for nothing in: ${command}`);
    return value;
  }));
}

/** Progress comes first: what it ended with is an error, or the last line. */
export const saidLast = (text: string): string | undefined => {
  const lines = text.split('\n').filter((line) => line.trim() !== '');
  return lines.find((line) => line.startsWith('error')) ?? lines.at(-1);
};

export interface OperatorOptions {
  readonly scenario: string;
  readonly words: Words;
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** Of the commands. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Types what the runbooks say, in processes of their own, as an operator would. */
export class Operator {
  readonly #options: OperatorOptions;
  readonly typed: Typed[] = [];

  constructor(options: OperatorOptions) {
    this.#options = options;
  }

  /** @returns its standard output. @throws UserError RUNBOOK_LINE when it answers otherwise than the runbook says */
  async type<R extends Runbook>(runbook: R, command: Known<R>, more: Words = {}): Promise<string> {
    const { words, now, signal, env } = this.#options;
    const line: Line | undefined = LINES.find((one) => one.runbook === runbook && one.command === command);
    const need = line?.exit ?? EXIT.ok;
    const [, ...args] = argumentsOf(command, { ...words, ...more });
    const at = now();
    const { exit, stdout, stderr } = await new Promise<{ exit: number; stdout: string; stderr: string }>((done, failed) => {
      execFile(process.execPath, [join(ROOT, 'scripts/ccc.ts'), ...args], { cwd: ROOT, signal, timeout: 120_000, maxBuffer: 8 << 20, env: { ...process.env, NO_COLOR: '1', ...env } }, (error, out, err) => {
        if (error !== null && typeof error.code !== 'number') failed(error);
        else done({ exit: error === null ? 0 : Number(error.code), stdout: out, stderr: err });
      });
    });
    this.typed.push({ at, runbook, command, exit, seconds: (now() - at) / 1000 });
    if (exit !== need) throw new UserError('RUNBOOK_LINE', `\`${command}\` of the runbook ${runbook} ended with ${exit}, not ${need}: ${saidLast(stderr) ?? saidLast(stdout) ?? 'it said nothing'}`, 'Correct the runbook, or what it says.');
    return stdout;
  }

  /** Where the runbook says to call it again when it ends otherwise: each time is in the report. @throws UserError RUNBOOK_LINE, of the last time */
  async typeAgain<R extends Runbook>(runbook: R, command: Known<R>, times = 3): Promise<string> {
    for (let left = times - 1; ; left -= 1) {
      try {
        return await this.type(runbook, command);
      } catch (error) {
        if (left === 0 || !(error instanceof UserError && error.code === 'RUNBOOK_LINE')) throw error;
      }
    }
  }

  /** Lines of this scenario that nobody typed. */
  left(): Line[] {
    return LINES.filter((line: Line) => line.scenarios.includes(this.#options.scenario) && !this.typed.some(({ command }) => command === line.command));
  }
}
