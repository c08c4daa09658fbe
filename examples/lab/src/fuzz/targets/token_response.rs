//! Answers of the token endpoint: a token that can be used, or an error that quotes nothing.

use std::sync::Arc;

use entra_auth::{ConfidentialClient, RetryPolicy, Secret, TokenCredential, TokenRequest, UserAssertion};
use serde_json::json;

use super::{
    super::{Harness, Seen},
    support::{Answer, CANARY, Simulated, clock, hash, silent},
};
use crate::{
    Fault, Random,
    world::{self, CLIENT, EPOCH, TENANT},
};

struct Responses {
    runtime: Simulated,
    answer: Arc<Answer>,
    clock: Arc<entra_auth::ManualClock>,
    app: TokenRequest,
    user: TokenRequest,
    assertion: UserAssertion,
}

pub(super) fn make(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    Ok(Box::new(Responses {
        runtime: Simulated::new()?,
        answer: Arc::new(Answer::default()),
        clock: clock()?,
        app: world::request("https://graph.microsoft.com/.default")?,
        user: world::request("https://graph.microsoft.com/User.Read")?,
        assertion: world::user_token(TENANT, "cccccccc-0000-0000-0000-00000000000c", EPOCH + 3600, "a".into())?,
    }))
}

impl Harness for Responses {
    fn seeds(&self) -> Vec<Vec<u8>> {
        let challenge = r#"{"access_token":{"acrs":{"essential":true,"value":"c1"}}}"#;
        [
            json!({"token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": CANARY}),
            json!({
                "token_type": "Bearer", "expires_in": "86399", "refresh_in": "43199", "access_token": CANARY,
                "refresh_token": CANARY, "id_token": CANARY, "scope": "a b", "client_info": "e30",
            }),
            json!({
                "error": "invalid_grant", "error_description": format!("AADSTS50076: {CANARY}"), "error_codes": [50076],
                "timestamp": "2026-01-01 00:00:00Z", "trace_id": "t-1", "correlation_id": "c-1",
                "suberror": "basic_action", "claims": challenge, "error_uri": "https://login.microsoftonline.com/error",
            }),
            json!({"error": "temporarily_unavailable", "error_codes": [90033]}),
            json!({"error": {"code": "x", "message": CANARY}}),
        ]
        .iter()
        .map(|seed| seed.to_string().into_bytes())
        .chain([b"<html>proxy</html>".to_vec(), Vec::new()])
        .collect()
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let number = hash(input);
        let status =
            self.answer.set_any(number, &[200, 200, 200, 200, 200, 400, 401, 403, 429, 500, 503, 302, 204], input);
        let (tenant, client) = (TENANT.parse().map_err(|_| "no tenant")?, CLIENT.parse().map_err(|_| "no client")?);
        let builder = ConfidentialClient::builder(tenant, client, Secret::new("secret"));
        let builder = builder.transport(self.answer.clone()).clock(self.clock.clone()).retry(RetryPolicy::never());
        let client = builder.cache_bytes(1 << 16).build().map_err(|error| error.to_string())?;
        let answer = self.runtime.run(async {
            match number.is_multiple_of(2) {
                true => client.get_token(&self.app).await,
                false => client.on_behalf_of(self.assertion.clone()).get_token(&self.user).await,
            }
        })?;
        match answer {
            Ok(token) => {
                let text = token.expose();
                let life = token.expires_on().unix_timestamp() - EPOCH;
                if text.is_empty() || !text.bytes().all(|byte| (0x21..=0x7e).contains(&byte)) {
                    return Err("an empty token, or one that no header carries".into());
                }
                if !(1..=315_360_000).contains(&life) {
                    return Err(format!("a token that lives {life} s"));
                }
                if !(200..300).contains(&status) {
                    return Err(format!("a token out of an answer with status {status}"));
                }
                if token.refresh_on().is_some_and(|at| at > token.expires_on()) {
                    return Err("a token to be refreshed after its end".into());
                }
                Ok(Seen::accepted(format!("{status}")))
            }
            Err(error) => {
                silent(&error)?;
                let oauth = error.oauth().map_or(0, |oauth| oauth.status);
                Ok(Seen::refused(format!("{:?} {oauth} {}", error.kind(), error.claims_challenge().is_some())))
            }
        }
    }
}
