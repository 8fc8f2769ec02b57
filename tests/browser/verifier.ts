/** The verifier as others bundle it: every platform's adapter, appraisal, the binding transcript, production roots. */
export { appraise, requireAcceptable } from '../../attestation/appraise.ts';
export { d32, d64, transcript } from '../../attestation/binding.ts';
export { collateralOf } from '../../attestation/collateral/collateral.ts';
export { Refusal } from '../../attestation/refusal.ts';
export { adapterFor } from '../../attestation/registry.ts';
export { PRODUCTION_ROOTS } from '../../attestation/trust/roots.ts';
