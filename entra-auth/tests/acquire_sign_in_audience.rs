//! Users of many tenants sign in through `organizations` and `common`: who is let in, and under which tenant tokens are kept.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod acquire_support;

use std::sync::Arc;

use acquire_support::{CLIENT, Form, NOW, TENANT, oid, success};
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    Authority, AuthorizationAnswer, AuthorizationRequest, ConfidentialClient, Error, ErrorKind, IdTokenValidator,
    ManualClock, Secret, SignInAudience, SignInSession, SignedIn, TenantPolicy, TokenCredential, TokenErrorKind,
    TokenRequest, Users,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use url::Url;
use wiremock::{
    Mock, MockServer, Request, ResponseTemplate,
    matchers::{any, path_regex},
};

const OTHER: &str = "44444444-4444-4444-4444-444444444444";
const STRANGER: &str = "55555555-5555-5555-5555-555555555555";
const PERSONAL: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// An authority with metadata of every tenant, whose one key is for all of them.
struct Cloud {
    server: MockServer,
    authority: Authority,
    key: KeyPair,
}

impl Cloud {
    async fn start() -> Self {
        let server = MockServer::start().await;
        let base = format!("{}/entra", server.uri());
        let key = KeyPair::generate(KeySize::Rsa2048).unwrap();
        let der = key.public_key().as_ref();
        let (n, e) = (&der[der.len() - 5 - 256..der.len() - 5], &der[der.len() - 3..]);
        let jwk = json!({"kty": "RSA", "use": "sig", "kid": "k", "n": URL_SAFE_NO_PAD.encode(n),
            "e": URL_SAFE_NO_PAD.encode(e), "issuer": format!("{base}/{{tenantid}}/v2.0")});
        let metadata = {
            let base = base.clone();
            move |request: &Request| {
                let tenant = request.url.path().split('/').nth(2).unwrap().to_owned();
                let name = if ["organizations", "common"].contains(&&*tenant) { "{tenantid}" } else { &tenant };
                ResponseTemplate::new(200).set_body_json(json!({
                    "issuer": format!("{base}/{name}/v2.0"), "jwks_uri": format!("{base}/{tenant}/discovery/v2.0/keys"),
                }))
            }
        };
        Mock::given(path_regex("openid-configuration$")).respond_with(metadata).with_priority(1).mount(&server).await;
        let keys = ResponseTemplate::new(200).set_body_json(json!({ "keys": [jwk] }));
        Mock::given(path_regex("/keys$")).respond_with(keys).with_priority(2).mount(&server).await;
        Self { authority: base.parse().unwrap(), server, key }
    }

    fn users(&self, policy: TenantPolicy) -> Users {
        let clock = Arc::new(ManualClock::at(OffsetDateTime::from_unix_timestamp(NOW).unwrap()));
        let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
            .authority(self.authority.clone())
            .clock(clock.clone())
            .build()
            .unwrap();
        let validator = IdTokenValidator::builder(self.authority.clone(), CLIENT.parse().unwrap(), policy);
        client.users(validator.clock(clock).build().unwrap())
    }

    fn issuer(&self, tenant: &str) -> String {
        format!("{}/{tenant}/v2.0", self.authority.url())
    }

    fn id_token(&self, tenant: &str, extra: &Value) -> String {
        let mut claims = json!({
            "aud": CLIENT, "iss": self.issuer(tenant), "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 3600,
            "tid": tenant, "oid": oid(1), "sub": "s1", "ver": "2.0",
        });
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let header = json!({"typ": "JWT", "alg": "RS256", "kid": "k"});
        let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
        let mut jwt = format!("{}.{}", encode(&header), encode(&claims));
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), jwt.as_bytes(), &mut signature).unwrap();
        jwt.push('.');
        jwt.push_str(&URL_SAFE_NO_PAD.encode(signature));
        jwt
    }

    /// Answers the next token request once.
    async fn answers_once(&self, id_token: String) {
        let answer = success("access-1", &json!({"refresh_token": "refresh-1", "id_token": id_token}));
        Mock::given(any()).respond_with(answer).up_to_n_times(1).with_priority(5).mount(&self.server).await;
    }

    /// A whole sign-in of a user of this tenant, with these changes of the id token and of the browser's answer.
    async fn sign_in(&self, users: &Users, tenant: &str, extra: Value, more: &str) -> Result<SignedIn, Error> {
        let (url, session) = users.sign_in(request()).unwrap();
        let sent = query(&url);
        let mut claims = json!({"nonce": sent["nonce"]});
        claims.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        self.answers_once(self.id_token(tenant, &claims)).await;
        // Sealed in a cookie meanwhile, perhaps.
        let session = SignInSession::from_secret(&session.to_secret().unwrap()).unwrap();
        let answer = AuthorizationAnswer::parse(&format!("code=c&state={}{more}", sent["state"])).unwrap();
        users.redeem(session, answer).await
    }

    async fn token_paths(&self) -> Vec<String> {
        let requests = self.server.received_requests().await.unwrap();
        let paths = requests.iter().map(|request| request.url.path().to_owned());
        paths.filter(|path| path.ends_with("/token")).collect()
    }
}

fn request() -> AuthorizationRequest {
    AuthorizationRequest::new("https://app.example/signed-in".parse().unwrap(), "User.Read".parse().unwrap())
}

fn query(url: &Url) -> Form {
    url.query_pairs().into_owned().collect()
}

fn two_tenants() -> TenantPolicy {
    TenantPolicy::allow([TENANT.parse().unwrap(), OTHER.parse().unwrap()])
}

#[tokio::test]
async fn tokens_are_got_from_and_kept_under_the_users_own_tenant() {
    for (audience, name) in
        [(SignInAudience::Organizations, "organizations"), (SignInAudience::OrganizationsAndPersonal, "common")]
    {
        let cloud = Cloud::start().await;
        let users = cloud.users(two_tenants()).with_audience(audience);
        let (url, _) = users.sign_in(request()).unwrap();
        assert_eq!(url.path(), format!("/entra/{name}/oauth2/v2.0/authorize"));
        let signed_in = cloud.sign_in(&users, OTHER, json!({}), "").await.unwrap();
        let user = signed_in.account.user_key().clone();
        assert_eq!(user.tenant().as_str(), OTHER);
        let credential = users.credential(&user);
        let same = credential.get_token(&TokenRequest::new("User.Read".parse().unwrap())).await.unwrap();
        assert_eq!(same.expose(), "access-1");
        cloud.answers_once(cloud.id_token(OTHER, &json!({}))).await;
        credential.get_token(&TokenRequest::new("Mail.Read".parse().unwrap())).await.unwrap();
        let expected = [name, OTHER].map(|tenant| format!("/entra/{tenant}/oauth2/v2.0/token"));
        assert_eq!(cloud.token_paths().await, expected);
        assert_eq!(users.sign_out_url(None).path(), format!("/entra/{name}/oauth2/v2.0/logout"));
    }
}

#[tokio::test]
async fn who_is_let_in_is_the_policys_decision() {
    let cloud = Cloud::start().await;
    let single = || TenantPolicy::Single(TENANT.parse().unwrap());
    for (policy, tenant, good) in [
        (two_tenants(), TENANT, true),
        (two_tenants(), OTHER, true),
        (two_tenants(), STRANGER, false),
        (two_tenants(), PERSONAL, false),
        (single(), TENANT, true),
        (single(), OTHER, false),
        (TenantPolicy::AnyOrganization, STRANGER, true),
        (TenantPolicy::AnyOrganization, PERSONAL, false),
        (TenantPolicy::Any, PERSONAL, true),
    ] {
        let users = cloud.users(policy.clone()).with_audience(SignInAudience::OrganizationsAndPersonal);
        let result = cloud.sign_in(&users, tenant, json!({}), "").await;
        assert_eq!(result.is_ok(), good, "{policy:?} {tenant}");
        let Err(error) = result else { continue };
        assert_eq!(error.kind(), ErrorKind::PolicyBlocked, "{policy:?} {tenant}");
        let cause = std::error::Error::source(&error).unwrap().downcast_ref::<entra_auth::TokenError>().unwrap();
        assert_eq!(cause.kind(), TokenErrorKind::TenantNotAllowed);
        assert!(users.accounts().is_empty());
    }
}

#[tokio::test]
async fn issuers_are_not_mixed_up() {
    let cloud = Cloud::start().await;
    let users = cloud.users(two_tenants()).with_audience(SignInAudience::Organizations);
    let evil = "https://login.evil.example/44444444-4444-4444-4444-444444444444/v2.0";
    for (name, extra) in [
        ("issuer of another tenant", json!({"iss": cloud.issuer(TENANT)})),
        ("tenant of another issuer", json!({"tid": TENANT})),
        ("the template itself", json!({"iss": cloud.issuer("{tenantid}")})),
        ("the name for all", json!({"iss": cloud.issuer("organizations")})),
        ("another host", json!({"iss": evil})),
        ("no tenant", json!({"tid": null})),
    ] {
        let error = cloud.sign_in(&users, OTHER, extra, "").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol, "{name}");
    }
    let encode =
        |issuer: &str| format!("&iss={}", url::form_urlencoded::byte_serialize(issuer.as_bytes()).collect::<String>());
    for (issuer, good) in [
        (cloud.issuer(OTHER), true),
        (evil.to_owned(), false),
        (cloud.issuer("organizations"), false),
        (cloud.issuer("{tenantid}"), false),
    ] {
        let before = cloud.token_paths().await.len();
        let result = cloud.sign_in(&users, OTHER, json!({}), &encode(&issuer)).await;
        assert_eq!(result.is_ok(), good, "{issuer}");
        let sent = cloud.token_paths().await.len() - before;
        assert_eq!(sent, usize::from(good), "a code went out for {issuer}");
    }
    // Who asks for one tenant gets that one or nothing, and it is no matter of policy.
    let users = cloud.users(two_tenants());
    let error = cloud.sign_in(&users, OTHER, json!({}), "").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);
}
