//! A channel of our own: keys, tokens and requests for tests.
#![allow(dead_code, unreachable_pub)]

use std::sync::{Arc, LazyLock};

use aws_lc_rs::{
    encoding::AsDer,
    hmac,
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256, RSA_PKCS1_SHA384, RSA_PSS_SHA256, RsaEncoding},
};
use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine as _};
use botframework_activity::{ChannelAuthenticator, ChannelAuthenticatorBuilder, ChannelKeys};
use entra_auth::{ManualClock, StaticKeys, TenantPolicy};
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

/// The time at which all tokens are judged.
pub const NOW: i64 = 1_800_000_000;
pub const APP: &str = "11111111-2222-3333-4444-5555abcdef01";
pub const HOME: &str = "aaaaaaaa-0000-4000-8000-00000000000a";
pub const FOREIGN: &str = "bbbbbbbb-0000-4000-8000-00000000000b";
pub const USER: &str = "cccccccc-0000-4000-8000-00000000000c";
/// As in the activity; the claim is the same in lower case.
pub const SERVICE_URL: &str = "https://smba.trafficmanager.net/amer/aaaaaaaa-0000-4000-8000-00000000000A/";

/// A key that signs, and what the channel's metadata says about it.
pub struct TestKey {
    pub kid: &'static str,
    endorsements: Option<&'static [&'static str]>,
    pair: KeyPair,
}

/// `channel` endorses Teams and Direct Line, `webchat` only that, `bare` nothing; `unpublished` is in no document; `entra`
/// is Entra's.
pub static KEYS: LazyLock<[TestKey; 5]> = LazyLock::new(|| {
    let key = |kid, endorsements| TestKey { kid, endorsements, pair: KeyPair::generate(KeySize::Rsa2048).unwrap() };
    [
        key("channel", Some(&["directline", "MsTeams", "extra"][..])),
        key("webchat", Some(&["webchat"][..])),
        key("bare", None),
        key("unpublished", Some(&["msteams"][..])),
        key("entra", None),
    ]
});

pub fn key(kid: &str) -> &'static TestKey {
    KEYS.iter().find(|key| key.kid == kid).unwrap()
}

impl TestKey {
    pub fn sign(&self, alg: &'static dyn RsaEncoding, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.pair.public_modulus_len()];
        self.pair.sign(alg, &SystemRandom::new(), message, &mut signature).unwrap();
        signature
    }

    fn jwk(&self) -> Value {
        // RSAPublicKey of PKCS #1: a sequence of the modulus (256 bytes after a zero byte) and the exponent.
        let der = self.pair.public_key().as_ref();
        assert_eq!(
            (der.len(), &der[..9], &der[265..267]),
            (270, &[0x30, 0x82, 1, 10, 2, 0x82, 1, 1, 0][..], &[2, 3][..])
        );
        let [n, e] = [&der[9..265], &der[267..]].map(|number| BASE64_URL_SAFE_NO_PAD.encode(number));
        let mut jwk = json!({ "kty": "RSA", "use": "sig", "alg": "RS256", "kid": self.kid, "n": n, "e": e });
        if let Some(endorsements) = self.endorsements {
            jwk["endorsements"] = json!(endorsements);
        }
        jwk
    }

    fn public_der(&self) -> Vec<u8> {
        self.pair.public_key().as_der().unwrap().as_ref().to_vec()
    }
}

/// The document with the published keys.
pub fn jwks(kids: &[&str]) -> Vec<u8> {
    json!({ "keys": kids.iter().map(|kid| key(kid).jwk()).collect::<Vec<_>>() }).to_string().into_bytes()
}

pub fn keys() -> ChannelKeys {
    ChannelKeys::source(Arc::new(StaticKeys::from_jwks(&jwks(&["channel", "webchat", "bare"])).unwrap()))
}

pub fn clock() -> ManualClock {
    ManualClock::at(OffsetDateTime::from_unix_timestamp(NOW).unwrap())
}

pub fn builder(tenants: TenantPolicy) -> ChannelAuthenticatorBuilder {
    ChannelAuthenticator::builder(APP.parse().unwrap(), tenants, keys()).clock(Arc::new(clock()))
}

/// The claims of a captured Teams token: these five and no other.
pub fn claims() -> Map<String, Value> {
    let Value::Object(claims) = json!({
        "serviceurl": SERVICE_URL.to_ascii_lowercase(),
        "nbf": NOW - 60,
        "exp": NOW + 3540,
        "iss": "https://api.botframework.com",
        "aud": APP,
    }) else {
        unreachable!()
    };
    claims
}

pub fn header(kid: &str) -> Value {
    json!({ "alg": "RS256", "kid": kid, "x5t": kid, "typ": "JWT" })
}

/// A Teams message with neutral ids.
pub fn activity() -> Value {
    json!({
        "type": "message",
        "id": "1700000000001",
        "timestamp": "2027-01-15T08:00:00.1234567Z",
        "channelId": "msteams",
        "serviceUrl": SERVICE_URL,
        "from": { "id": "29:user", "name": "Test User", "aadObjectId": USER },
        "recipient": { "id": "28:11111111-2222-3333-4444-5555abcdef01", "name": "Bot" },
        "conversation": { "id": "a:conversation", "conversationType": "personal", "tenantId": HOME },
        "channelData": { "tenant": { "id": HOME } },
        "text": "hello",
    })
}

pub fn token(header: &Value, claims: &Value, signature: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    token_of(&header.to_string(), &claims.to_string(), signature)
}

pub fn token_of(header: &str, claims: &str, signature: impl FnOnce(&[u8]) -> Vec<u8>) -> String {
    let input = format!("{}.{}", BASE64_URL_SAFE_NO_PAD.encode(header), BASE64_URL_SAFE_NO_PAD.encode(claims));
    let signature = signature(input.as_bytes());
    format!("{input}.{}", BASE64_URL_SAFE_NO_PAD.encode(signature))
}

/// A good token, with these claims changed.
pub fn good_token(change: Value) -> String {
    let mut claims = claims();
    if let Value::Object(change) = change {
        claims.extend(change);
    }
    token(&header("channel"), &Value::Object(claims), |input| key("channel").sign(&RSA_PKCS1_SHA256, input))
}

pub fn bearer(token: &str) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}")).unwrap());
    headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
    headers
}

/// Signs in the way a case asks for.
pub fn sign(how: &str, kid: &str, message: &[u8]) -> Vec<u8> {
    let key = key(kid);
    match how {
        "RS256" => key.sign(&RSA_PKCS1_SHA256, message),
        "RS384" => key.sign(&RSA_PKCS1_SHA384, message),
        "PS256" => key.sign(&RSA_PSS_SHA256, message),
        "HS256 with the public key" => {
            hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key.public_der()), message).as_ref().to_vec()
        }
        "nothing" => Vec::new(),
        "noise" => vec![7; 256],
        other => panic!("unknown way to sign: {other}"),
    }
}
