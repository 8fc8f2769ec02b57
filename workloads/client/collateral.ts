/**
 * Collateral in a client: what came with an answer of the gateway, which is trusted for none of it, and what the client itself gets from vendors or a bundle, which goes
 * first. Of what was brought, only kinds count that carry their vendor's signature; the verifier checks it, and its dates, under its own pinned roots: a gateway can
 * withhold, or hand out a list that has not ended yet, and nothing else.
 */
import { fromB64u } from '../../attestation/bytes.ts';
import { type CollateralItem, type CollateralSupply, isVendorSigned } from '../../attestation/collateral/collateral.ts';
import type { WireCollateral } from '../protocol/messages.ts';

export function brought(wire: WireCollateral | undefined, now: number): CollateralItem[] {
  return (wire ?? []).filter(({ kind }) => isVendorSigned(kind)).map(({ kind, key, bytes }) => ({ kind, key, bytes: fromB64u(bytes), source: 'evidence', fetchedAt: now }));
}

const nameOf = ({ kind, key }: { readonly kind: string; readonly key: string }): string => `${kind} ${key}`;

/** @param own what this client finds by itself, if it can. @param now epoch seconds */
export function supplyFor(own: CollateralSupply | undefined, wire: WireCollateral | undefined, now: number): CollateralSupply {
  return async (evidence, gce) => {
    const found = await own?.(evidence, gce) ?? { items: [], reasons: [] };
    const names = new Set(found.items.map(nameOf));
    return { items: [...found.items, ...brought(wire, now).filter((item) => !names.has(nameOf(item)))], reasons: found.reasons };
  };
}
