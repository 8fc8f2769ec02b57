/** Command-line tools of the clouds: aws, az, gcloud, and crane, which copies images. Arguments are never put through a shell. */
import { execFile } from 'node:child_process';
import type { Cloud } from '../../modules/environments.ts';
import { UserError } from '../cli/output.ts';

export const TOOLS = { aws: 'aws', azure: 'az', gcp: 'gcloud', crane: 'crane' } as const satisfies Record<Cloud | 'crane', string>;
export type Tool = keyof typeof TOOLS;
const LOGIN = { aws: 'aws sso login (or set AWS_PROFILE)', azure: 'az login', gcp: 'gcloud auth login', crane: 'crane auth login' } as const;
const INSTALL = { aws: 'https://docs.aws.amazon.com/cli', azure: 'https://learn.microsoft.com/cli/azure', gcp: 'https://cloud.google.com/sdk', crane: 'https://github.com/google/go-containerregistry' } as const;
const TIMEOUT_MS = 120_000;
const MAX_OUTPUT = 32 * 2 ** 20;

export interface Answer { readonly ok: boolean; readonly out: string; readonly err: string }

/** @throws UserError when the tool is not installed, or nobody is logged in */
export async function call(cloud: Tool, args: readonly string[], timeout = TIMEOUT_MS): Promise<Answer> {
  const tool = TOOLS[cloud];
  const env = { ...process.env, AWS_PAGER: '', CLOUDSDK_CORE_DISABLE_PROMPTS: '1' };
  const answer = await new Promise<Answer & { readonly code: unknown }>((done) => {
    execFile(tool, [...args], { env, timeout, maxBuffer: MAX_OUTPUT, encoding: 'utf8' }, (error, out, err) => done({ ok: error === null, code: error?.code, out, err }));
  });
  if (answer.code === 'ENOENT') throw new UserError('CLI_ABSENT', `${tool} is not installed.`, `Install it (${INSTALL[cloud]}), log in, and run this again.`);
  if (!answer.ok && /Unable to locate credentials|ExpiredToken|Token has expired|SSO session .* expired|az login|gcloud auth login|Reauthentication/i.test(answer.err)) throw new UserError('NOT_LOGGED_IN', `${tool} has no login that holds.`, `Run: ${LOGIN[cloud]}`);
  return answer;
}

/** As one would type it. */
export const spelled = (cloud: Tool, args: readonly string[]): string => [TOOLS[cloud], ...args].map((arg) => (/^[\w@%+=:,./-]+$/.test(arg) ? arg : `'${arg.replaceAll("'", "'\\''")}'`)).join(' ');
