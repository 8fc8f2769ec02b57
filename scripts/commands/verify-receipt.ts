/** A receipt against the pinned key of the deployment's owner. */
import { type Bytes, fromB64u, text } from '../../attestation/bytes.ts';
import { bundleSupply } from '../../attestation/collateral/bundle.ts';
import { type ReceiptVerdict, verifyReceipt } from '../../workloads/client/receipt.ts';
import { at, cellFolder, readOptional } from '../cell/folder.ts';
import { readBundle } from './collateral.ts';
import { EXIT, json, paint, say, UserError } from '../cli/output.ts';

export interface ReceiptOptions { readonly owner?: string; readonly data?: string; readonly offline?: string; readonly signer?: string }

/** @throws Refusal, UserError */
export async function receiptVerdict(path: string, content: Bytes, options: ReceiptOptions): Promise<ReceiptVerdict> {
  const owner = options.owner ?? process.env['CCC_OWNER_KEY'] ?? (await readOptional(at(cellFolder(options.data)).ownerPublic))?.trim();
  if (owner === undefined) {
    throw new UserError('NO_OWNER_KEY', 'A receipt proves something only against an owner key that you trust.', 'Name it with --owner KEY; ccc up prints it. Never take it from the receipt or from a gateway.', EXIT.usage);
  }
  let receipt: unknown;
  try {
    receipt = JSON.parse(text(content));
  } catch (error) {
    throw new UserError('RECEIPT_UNREADABLE', `${path}: ${(error as Error).message}`, 'Give the JSON file that ccc count, the demo or the page wrote.', EXIT.usage);
  }
  let ownerKey;
  try {
    ownerKey = fromB64u(owner);
  } catch {
    throw new UserError('OWNER_KEY_FORMAT', 'The owner key is not base64url of 32 bytes.', 'Copy it again from ccc up.', EXIT.usage);
  }
  const now = Math.floor(Date.now() / 1000);
  return verifyReceipt(receipt, ownerKey, now, options.offline === undefined ? undefined : bundleSupply(await readBundle(options.offline, options), now));
}

export function sayReceipt(verdict: ReceiptVerdict, asJson: boolean): void {
  if (asJson) return json({ ok: true, ...verdict });
  for (const check of verdict.checks) say(`${check.result === 'pass' ? paint('green', 'pass') : paint('yellow', check.result)}  ${check.id}${check.detail ? `  ${check.detail}` : ''}`);
  if (verdict.simulated) say(paint('yellow', verdict.notice ?? ''));
  say(paint('bold', verdict.outcome === 'completed' ? `${verdict.result?.count} cats` : `${verdict.outcome}: ${verdict.code}`));
}
