//! Key documents: whatever they hold, a thief's token is not let in, and what cannot be used is an error.

use std::sync::Arc;

use entra_auth::{
    AccessTokenValidator, Authority, JwksClient, KeyErrorKind, KeyLookup, KeySource, RetryPolicy, StaticKeys,
    TenantPolicy,
};
use serde_json::json;

use super::{
    super::{Harness, Seen},
    support::{Answer, Simulated, clock, hash},
};
use crate::{
    Fault, Random,
    world::{API, EPOCH, Signer, TENANT, user_claims},
};

struct Keys {
    runtime: Simulated,
    seeds: Vec<Vec<u8>>,
    good: String,
    stolen: String,
    answer: Arc<Answer>,
}

const METADATA: &str = "https://login.microsoftonline.com/x/.well-known/openid-configuration";

pub(super) fn make(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let [signer, next, thief] = [Signer::new("key-1")?, Signer::new("key-2")?, Signer::new("key-1")?];
    let mut full = signer.jwk();
    full["issuer"] = format!("https://login.microsoftonline.com/{TENANT}/v2.0").into();
    full["alg"] = "RS256".into();
    full["x5t"] = "key-1".into();
    full["x5c"] = json!(["MIIC"]);
    full["endorsements"] = json!(["msteams"]);
    full["cloud_instance_name"] = "microsoftonline.com".into();
    let short = json!({"kty": "RSA", "use": "sig", "kid": "short", "n": "AQAB", "e": "AQAB"});
    let even = json!({"kty": "RSA", "use": "sig", "kid": "even", "n": signer.jwk()["n"], "e": "AQ"});
    let curve = json!({
        "kty": "EC", "crv": "P-256", "kid": "ec", "use": "sig",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU", "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    });
    let symmetric = json!({"kty": "oct", "kid": "key-1", "k": "AAAA", "alg": "HS256"});
    let seeds = [
        json!({"keys": [signer.jwk()]}),
        json!({"keys": [full, next.jwk()]}),
        json!({"keys": [short, even, curve, symmetric, signer.jwk()]}),
        json!({"keys": []}),
    ];
    let answer = Arc::new(Answer::default());
    answer.special(
        "/keys",
        json!({"issuer": "x", "jwks_uri": "https://login.microsoftonline.com/x/keys"}).to_string().into_bytes(),
    );
    Ok(Box::new(Keys {
        runtime: Simulated::new()?,
        seeds: seeds.iter().map(|seed| seed.to_string().into_bytes()).collect(),
        good: signer.sign(&user_claims(EPOCH, 3600, 1))?,
        stolen: thief.sign(&user_claims(EPOCH, 3600, 1))?,
        answer,
    }))
}

impl Harness for Keys {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let keys = match StaticKeys::from_jwks(input) {
            Ok(keys) => keys,
            Err(error) if error.kind() == KeyErrorKind::Malformed => return Ok(Seen::refused(error.to_string())),
            Err(error) => return Err(format!("a document gives {:?}", error.kind())),
        };
        if hash(input).is_multiple_of(8) {
            self.fetched(input)?;
        }
        let judge = |keys: StaticKeys| -> Result<AccessTokenValidator, Fault> {
            let policy = TenantPolicy::Single(TENANT.parse()?);
            let validator = AccessTokenValidator::builder(Authority::default(), [API], policy);
            Ok(validator.keys(Arc::new(keys)).clock(clock()?).remember(0).build()?)
        };
        let judge = judge(keys).map_err(|fault| fault.to_string())?;
        let good = self.runtime.run(judge.validate(&self.good))?;
        if hash(input).is_multiple_of(4) && self.runtime.run(judge.validate(&self.stolen))?.is_ok() {
            return Err("false accept: a token of a key that nobody published".into());
        }
        Ok(match good {
            Ok(_) => Seen::accepted("the good token is let in"),
            Err(error) => Seen::accepted(format!("{:?}", error.kind())),
        })
    }
}

impl Keys {
    /// The same document over a transport: usable, too, and for any key id without a surprise.
    fn fetched(&self, input: &[u8]) -> Result<(), String> {
        self.answer.set(200, &[], input);
        let answer = Arc::clone(&self.answer);
        let found = self.runtime.run(async move {
            let url = METADATA.parse().map_err(|_| "no URL")?;
            let client = JwksClient::builder(url).transport(answer).retry(RetryPolicy::never()).build();
            let client = client.map_err(|error| error.to_string())?;
            let answer = client.key(KeyLookup::new("x", "key-1")).await;
            Ok::<_, String>(answer.err().map(|error| error.kind()))
        })??;
        match found {
            None | Some(KeyErrorKind::Unknown) => Ok(()),
            Some(kind) => Err(format!("a document that holds keys gives {kind:?} when it is fetched")),
        }
    }
}
