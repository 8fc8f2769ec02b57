/**
 * A simulated TDX platform: quotes in the real format under a development root, with everything that Intel publishes for it. It proves nothing
 * about hardware. Each part can be set otherwise, under signatures that verify. Isomorphic.
 */
import type { TrustRoot } from '../../adapter.ts';
import { type Bytes, hex, utf8 } from '../../bytes.ts';
import type { CollateralItem, CollateralKind } from '../../collateral/collateral.ts';
import { KeyRing, type SigningKey } from './keys.ts';
import { type Json, qeIdentity, signStatement, tcbInfo } from './tdx-collateral.ts';
import { makeTdxPki, PCK_FIELDS, pem, pinIntel, type TdxPki, type TdxPkiOptions } from './tdx-pki.ts';
import { encodeQuote, type QuoteOptions } from './tdx-quote.ts';

export interface TdxWorldOptions extends TdxPkiOptions {
  readonly quote?: Partial<QuoteOptions>;
  /** Members to set otherwise, or the whole text. */
  readonly tcbInfo?: Json | string;
  readonly qeIdentity?: Json | string;
  /** Signs them instead of the TCB signing certificate's key. */
  readonly signStatementsWith?: SigningKey;
}

export interface TdxWorld { readonly quote: Bytes; readonly pki: TdxPki; readonly root: TrustRoot; readonly collateral: readonly CollateralItem[]; readonly attestationKey: SigningKey }

export async function makeTdxWorld(options: TdxWorldOptions): Promise<TdxWorld> {
  const { now, ring = new KeyRing() } = options;
  const pki = await makeTdxPki({ ...options, ring });
  const attestationKey = await ring.get('P-256', 'tdx-attestation');
  const chain = pem(pki.pck.certificate, pki.ca.certificate, pki.root.certificate);
  const quote = await encodeQuote({ pckChain: chain, attestationKey, pckKey: pki.pck.key, ...options.quote });
  const signer = options.signStatementsWith ?? pki.signer.key;
  const whole = (given: Json | string | undefined, make: (now: number, change: Json) => Json) => (typeof given === 'string' ? given : make(now, given ?? {}));
  const signing = utf8(pem(pki.signer.certificate, pki.root.certificate));
  const item = (kind: CollateralKind, key: string, data: Bytes): CollateralItem => ({ kind, key, bytes: data, source: 'offline', fetchedAt: now });
  return {
    quote, pki, attestationKey, root: await pinIntel(pki.root.certificate),
    collateral: [
      item('intel-tcb-info', hex(options.pck?.fmspc ?? PCK_FIELDS.fmspc), await signStatement('tcbInfo', whole(options.tcbInfo, tcbInfo), signer)),
      item('intel-qe-identity', 'td', await signStatement('enclaveIdentity', whole(options.qeIdentity, qeIdentity), signer)),
      item('intel-tcb-signing-chain', 'tcb-info', signing), item('intel-tcb-signing-chain', 'qe-identity', signing),
      item('intel-root-crl', 'root', pki.rootCrl), item('intel-pck-crl', pki.caKind, pki.pckCrl),
    ],
  };
}
