//! Access tokens and id tokens: what is let in was signed by the issuer, byte for byte, and says what it must.

use std::{collections::HashSet, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    AccessTokenValidator, AllowedCallers, Authority, IdTokenValidator, Secret, StaticKeys, TenantPolicy, TokenError,
    UnverifiedToken, ValidatedToken,
};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::{Value, json};

use super::{
    super::{Harness, Seen, mutate},
    support::{Simulated, clock, object, signed_part},
};
use crate::{
    Fault, Random,
    world::{API, CALLER, CLIENT, EPOCH, Signer, TENANT, user_claims},
};

const NONCE: &str = "0S6_WzA2Mj";
/// One in so many inputs is signed again, so that the rules behind the signature see hostile claims.
const SIGNED: u64 = 250;

struct Tokens {
    runtime: Simulated,
    signer: Signer,
    access: AccessTokenValidator,
    id: IdTokenValidator,
    seeds: Vec<Vec<u8>>,
    /// What the issuer has signed.
    signed: HashSet<Vec<u8>>,
}

pub(super) fn make(_: &mut Random) -> Result<Box<dyn Harness>, Fault> {
    let signer = Signer::new("key-1")?;
    let thief = Signer::new("key-1")?;
    let keys = Arc::new(StaticKeys::from_jwks(&signer.jwks())?);
    let policy = TenantPolicy::Single(TENANT.parse()?);
    let access =
        AccessTokenValidator::builder(Authority::default(), [API.to_owned(), format!("api://{API}")], policy.clone())
            .keys(keys.clone())
            .clock(clock()?)
            .app_callers(AllowedCallers::only([CALLER.parse()?]))
            .build()?;
    let id =
        IdTokenValidator::builder(Authority::default(), CLIENT.parse()?, policy).keys(keys).clock(clock()?).build()?;
    let (mut seeds, mut signed) = (Vec::new(), HashSet::new());
    for claims in claims() {
        let token = signer.sign(&claims)?.into_bytes();
        signed.insert(signed_part(&token).to_vec());
        seeds.push(token);
    }
    for claims in claims().into_iter().take(3) {
        seeds.push(thief.sign(&claims)?.into_bytes());
    }
    let payload = crate::world::base64(&user_claims(EPOCH, 3600, 1).to_string());
    for header in [
        r#"{"alg":"none"}"#,
        r#"{"alg":"HS256","kid":"key-1"}"#,
        r#"{"alg":"RS256","kid":"key-1","crit":["exp"]}"#,
        r#"{"alg":"RS256","kid":"key-1","jku":"https://evil.example/keys","jwk":{"kty":"RSA"},"x5c":["AA"]}"#,
        r#"{"alg":"RSA-OAEP","enc":"A128CBC-HS256","zip":"DEF","kid":"key-1"}"#,
    ] {
        seeds.push(format!("{}.{payload}.c2ln", crate::world::base64(header)).into_bytes());
    }
    Ok(Box::new(Tokens { runtime: Simulated::new()?, signer, access, id, seeds, signed }))
}

/// Claims that the issuer signs: good ones of every kind, and some that no rule may let pass.
fn claims() -> Vec<Value> {
    let v2 = user_claims(EPOCH, 3600, 1);
    let change = |base: &Value, changes: Value| {
        let mut claims = base.clone();
        if let (Some(claims), Value::Object(changes)) = (claims.as_object_mut(), changes) {
            claims.extend(changes);
            claims.retain(|_, value| *value != json!("absent"));
        }
        claims
    };
    let app = change(
        &v2,
        json!({"idtyp": "app", "scp": "absent", "roles": ["Jobs.Run"], "sub": "cccccccc-0000-0000-0000-000000000001"}),
    );
    let v1 = change(
        &v2,
        json!({
            "ver": "1.0", "iss": format!("https://sts.windows.net/{TENANT}/"), "aud": format!("api://{API}"),
            "azp": "absent", "azpacr": "absent", "appid": CALLER, "appidacr": "1", "groups": ["g"], "amr": ["pwd", "mfa"],
        }),
    );
    let id = change(
        &v2,
        json!({
            "aud": CLIENT, "azp": "absent", "azpacr": "absent", "idtyp": "absent", "scp": "absent", "xms_cc": "absent",
            "name": "Ada", "nonce": NONCE, "auth_time": EPOCH - 60, "preferred_username": "ada@contoso.example",
            "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://evil.example/"}},
        }),
    );
    vec![
        v2.clone(),
        app,
        v1,
        change(&id, json!({"nonce": "absent"})),
        id,
        change(&v2, json!({"exp": EPOCH - 3600, "iat": EPOCH - 7200, "nbf": EPOCH - 7200})),
        change(&v2, json!({"nbf": EPOCH + 3600, "iat": EPOCH + 3600, "exp": EPOCH + 7200})),
        change(&v2, json!({"aud": "ffffffff-0000-0000-0000-00000000000f"})),
        change(&v2, json!({"tid": "99999999-9999-9999-9999-999999999999"})),
        change(&v2, json!({"iss": "https://login.microsoftonline.com/99999999-9999-9999-9999-999999999999/v2.0"})),
        change(&v2, json!({"exp": "absent"})),
    ]
}

impl Harness for Tokens {
    fn seeds(&self) -> Vec<Vec<u8>> {
        self.seeds.clone()
    }

    fn mutate(&mut self, random: &mut Random, base: &[u8], other: &[u8]) -> Vec<u8> {
        let token = mutate::jwt(random, base, other);
        if !random.once_in(SIGNED) {
            return token;
        }
        let input = String::from_utf8_lossy(signed_part(&token)).into_owned();
        match self.signer.sign_input(&input) {
            Ok(token) if input.split('.').count() == 2 => {
                self.signed.insert(input.into_bytes());
                token.into_bytes()
            }
            _ => token,
        }
    }

    fn run(&mut self, input: &[u8]) -> Result<Seen, String> {
        let text = String::from_utf8_lossy(input);
        let header = HeaderValue::from_bytes(&[b"Bearer ", input].concat());
        let nonce = Secret::new(NONCE);
        let (access, with_nonce, without_nonce) = self.runtime.run(async {
            let access = match header {
                Ok(header) => self.access.authenticate(&HeaderMap::from_iter([(AUTHORIZATION, header)])).await,
                Err(_) => self.access.validate(&text).await,
            };
            (access, self.id.validate(&text, &nonce).await, self.id.validate_without_nonce(&text).await)
        })?;
        if let Ok(token) = UnverifiedToken::parse(&text) {
            let claims = token.unverified_claims();
            let _ = (claims.audience(), claims.strings("roles"), claims.numeric_date("exp"), claims.names().count());
        }
        let answer = match (&access, &with_nonce, &without_nonce) {
            (Ok(ValidatedToken::User(_)), _, _) => Ok("user"),
            (Ok(ValidatedToken::App(_)), _, _) => Ok("app"),
            (_, Ok(_), _) => Ok("id with nonce"),
            (_, _, Ok(_)) => Ok("id"),
            (Err(access), Err(id), _) => Err((access.kind(), id.kind())),
        };
        match answer {
            Ok(kind) => {
                if access.is_ok() && (with_nonce.is_ok() || without_nonce.is_ok()) {
                    return Err("one token is both an access token and an id token".into());
                }
                self.judge(input, kind.starts_with("id"))?;
                Ok(Seen::accepted(kind))
            }
            Err(kinds) => {
                access.as_ref().err().map_or(Ok(()), answerable)?;
                Ok(Seen::refused(format!("{kinds:?}")))
            }
        }
    }
}

impl Tokens {
    /// What must be true of whatever is let in, checked by other code than that which let it in.
    fn judge(&self, token: &[u8], is_id: bool) -> Result<(), String> {
        let signed = signed_part(token);
        if !self.signed.contains(signed) {
            return Err("false accept: the issuer has not signed this".into());
        }
        let mut parts = signed.split(|byte| *byte == b'.');
        let mut part =
            || parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok()).and_then(|json| object(&json));
        let (header, claims) = (part(), part());
        let (Some(header), Some(claims)) = (header, claims) else {
            return Err("false accept: header or claims are no object, or name something twice".into());
        };
        let text = |name: &str| claims.get(name).and_then(Value::as_str).unwrap_or_default();
        let audience = match claims.get("aud") {
            Some(Value::Array(one)) if is_id => one.iter().any(|one| one == CLIENT),
            Some(Value::Array(one)) => one.len() == 1 && one.iter().all(|one| ours(one.as_str().unwrap_or_default())),
            Some(Value::String(one)) if is_id => one.eq_ignore_ascii_case(CLIENT),
            Some(Value::String(one)) => ours(one),
            _ => false,
        };
        let issuers =
            [format!("https://login.microsoftonline.com/{TENANT}/v2.0"), format!("https://sts.windows.net/{TENANT}/")];
        let exp = claims.get("exp").and_then(Value::as_i64).unwrap_or(0);
        let begins =
            |name: &str| claims.get(name).is_none_or(|time| time.as_i64().is_some_and(|time| time <= EPOCH + 60));
        let rules = [
            (header.get("alg") == Some(&json!("RS256")), "algorithm"),
            (header.get("kid") == Some(&json!("key-1")) && !header.contains_key("crit"), "header"),
            (audience, "audience"),
            (issuers.iter().any(|issuer| issuer == text("iss")), "issuer"),
            (text("tid").eq_ignore_ascii_case(TENANT), "tenant"),
            (text("oid").len() == 36, "object id"),
            (exp + 60 > EPOCH && exp < 1 << 33, "expiry"),
            (begins("nbf") && begins("iat"), "not yet valid"),
            (!is_id || !claims.contains_key("scp"), "an access token taken for an id token"),
        ];
        match rules.into_iter().find(|(holds, _)| !holds) {
            Some((_, rule)) => Err(format!("false accept: {rule}")),
            None => Ok(()),
        }
    }
}

fn ours(audience: &str) -> bool {
    audience.eq_ignore_ascii_case(API) || audience == format!("api://{API}")
}

/// An error can be answered with.
fn answerable(error: &TokenError) -> Result<(), String> {
    if error.status().is_client_error() || error.is_retryable() {
        Ok(())
    } else {
        Err("an error without a status".into())
    }
}
