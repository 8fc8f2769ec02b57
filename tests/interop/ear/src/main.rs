//! Standard input: an EAR as a JWT, a space, the verifier's key as a JWK. Output: what the crate `ear` reads in it, as one JSON object.
//! Ends with 1 and a line on standard error when signature, time or form does not hold.
use ear::{Algorithm, Ear};
use serde_json::{json, Map, Value};
use std::io::Read;

fn read() -> Result<Value, String> {
    let mut input = String::new();
    std::io::stdin().read_to_string(&mut input).map_err(|e| e.to_string())?;
    let (token, jwk) = input.trim().split_once(' ').ok_or("a token and a key")?;
    let result = Ear::from_jwt_jwk(token, Algorithm::EdDSA, jwk.as_bytes()).map_err(|e| e.to_string())?;
    result.validate().map_err(|e| e.to_string())?;
    // Written by the crate again: its own names, so that nothing that it passed over is compared
    let again = serde_json::to_value(&result).map_err(|e| e.to_string())?;
    let submods: Map<String, Value> = result
        .submods
        .iter()
        .map(|(name, a)| (name.clone(), json!({ "status": a.status.to_string(), "policies": a.policy_ids, "attester_claims": a.attester_claims.len(), "verifier_claims": a.verifier_claims.len() })))
        .collect();
    Ok(json!({ "profile": result.profile, "iat": result.iat, "exp": result.exp, "developer": result.vid.developer, "submods": submods, "again": again }))
}

fn main() {
    match read() {
        Ok(value) => println!("{value}"),
        Err(reason) => {
            eprintln!("{reason}");
            std::process::exit(1);
        }
    }
}
