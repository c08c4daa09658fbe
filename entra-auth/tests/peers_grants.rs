//! Every grant next to MSAL Python, MSAL Node and azure-identity, unmodified, over TLS on loopback.
//!
//! Each test asks a library and this crate for the same token and compares what arrived, member by member. What differs
//! is on a list with its reason; everything else fails.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

mod peers_support;

use std::{fs, path::PathBuf, sync::Arc};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    AuthorizationAnswer, AuthorizationRequest, Certificate, ClaimsChallenge, ClientAssertion, ClientCredential,
    ConfidentialClient, IdTokenValidator, PublicClient, ReqwestTransport, Secret, SessionKey, TenantPolicy,
    TokenCredential, TokenRequest, UserAssertion, UserToken, Users, WorkloadIdentity, settings::Settings,
};
use serde_json::{Value, json};

use self::peers_support::{
    Peer,
    compare::{Difference, differs, only_ours, only_theirs, problems},
    recorder::{AGENT, CLIENT, Recorder, Sent, TENANT, USER},
};

const SECRET: &str = "p+q&r=s%t/ü";
const APP: &str = "api://resource/.default";
const DELEGATED: &str = "api://resource/Read";

struct World {
    recorder: Recorder,
    ca: PathBuf,
    transport: Arc<ReqwestTransport>,
}

impl World {
    async fn new(name: &str) -> Self {
        let recorder = Recorder::tls().await;
        let pem = recorder.certificate.clone().unwrap();
        let ca = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-{name}-{}.pem", std::process::id()));
        fs::write(&ca, &pem).unwrap();
        let roots = [reqwest::Certificate::from_pem(pem.as_bytes()).unwrap()];
        let builder = reqwest::Client::builder().no_proxy().tls_certs_only(roots);
        let transport = Arc::new(ReqwestTransport::from_builder(builder).unwrap());
        Self { recorder, ca, transport }
    }

    fn settings(&self, more: &Value) -> Value {
        let mut settings = json!({
            "base": self.recorder.base, "tenant": TENANT, "client_id": CLIENT, "secret": SECRET, "ca": self.ca,
            "scopes": [APP],
        });
        settings.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        settings
    }

    fn client(&self, credential: impl Into<ClientCredential>) -> ConfidentialClient {
        ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), credential)
            .authority(self.recorder.base.parse().unwrap())
            .transport(self.transport.clone())
            .build()
            .unwrap()
    }

    fn public(&self) -> PublicClient {
        PublicClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap())
            .authority(self.recorder.base.parse().unwrap())
            .transport(self.transport.clone())
            .build()
            .unwrap()
    }

    fn id_tokens(&self) -> IdTokenValidator {
        let policy = TenantPolicy::Single(TENANT.parse().unwrap());
        IdTokenValidator::builder(self.recorder.base.parse().unwrap(), CLIENT.parse().unwrap(), policy)
            .keys(self.recorder.keys.clone())
            .build()
            .unwrap()
    }

    /// Asks this crate, then the library, and holds the two next to each other.
    async fn compare(
        &self,
        peers: &[(Peer, Vec<Difference>)],
        scenario: &str,
        more: &Value,
        names: &[(String, &str)],
        ours: impl AsyncFn(&Self) -> String,
    ) {
        let token = ours(self).await;
        let our: Vec<Sent> = self.recorder.take();
        assert!(!our.is_empty());
        let mut all = Vec::new();
        for (peer, differences) in peers {
            let Some(theirs) = peer.token(scenario, &self.settings(more), &[]).await else { continue };
            assert_eq!(theirs, token);
            all.extend(problems(&format!("{scenario}, {peer:?}"), &our, &self.recorder.take(), names, differences));
        }
        assert!(all.is_empty(), "{}", all.join("\n"));
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.ca);
    }
}

fn request(scopes: &str) -> TokenRequest {
    TokenRequest::new(scopes.parse().unwrap())
}

async fn token(credential: &dyn TokenCredential, scopes: &str) -> String {
    credential.get_token(&request(scopes)).await.unwrap().expose().to_owned()
}

// What each library does at every request.

const ECHO: Difference =
    only_ours("* header return-client-request-id", "true", "asks for the id back, for support (2.0)");

const PYTHON: &[Difference] = &[ECHO];

const NODE: &[Difference] = &[
    ECHO,
    differs("* header accept", "application/json", "*/*", "nothing but JSON can be read"),
    differs(
        "* header content-type",
        "application/x-www-form-urlencoded",
        "application/x-www-form-urlencoded;charset=utf-8",
        "this media type has no parameters",
    ),
    only_ours("* header client-request-id", "(uuid)", "the header is the documented place; addresses are logged"),
    only_theirs("* query client-request-id", "(uuid)", "the header is the documented place; addresses are logged"),
];

/// Where MSAL Node repeats the id.
const BODY_ID: Difference = only_theirs("* form client-request-id", "(uuid)", "the header is enough");

const AZURE: &[Difference] =
    &[ECHO, only_theirs("* header x-ms-client-request-id", "(uuid)", "the name of Azure's own services, not of Entra")];

/// Where azure-identity does not go through MSAL.
const AZURE_ALONE: &[Difference] = &[
    differs("* header accept", "application/json", "*/*", "nothing but JSON can be read"),
    only_ours("* header client-request-id", "(uuid)", "Entra does not know x-ms-client-request-id"),
];

const CLIENT_INFO: Difference = only_theirs("* form client_info", "1", "users are known by their validated id token");

/// The id token brings who the user is, the refresh token what keeps MSAL's account alive.
const MORE_SCOPES: &str = "api://resource/Read offline_access openid profile";

const OBO_SCOPES: Difference = differs(
    "1 form scope",
    "api://resource/Read",
    MORE_SCOPES,
    "no token of an exchange outlives the assertion, so there is nothing to refresh; long-running exchanges ask for it",
);

/// Optional claims of the id token that MSAL Node reads.
const ID_TOKEN_CLAIMS: &str = r#"{"id_token":{"login_hint":{"essential":false},"signin_state":{"essential":false},"tenant_region_sub_scope":{"essential":false}}}"#;

const NODE_CLAIMS: &str = "no claim of the id token is asked for that is not read";

fn with(habits: &[Difference], more: &[Difference]) -> Vec<Difference> {
    [habits, more].concat()
}

#[tokio::test]
async fn client_credentials_with_a_secret() {
    let world = World::new("secret").await;
    let ours = async |world: &World| token(&world.client(Secret::new(SECRET)), APP).await;
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO])),
        (Peer::MsalNode, with(NODE, &[BODY_ID])),
        (Peer::AzureIdentity, with(AZURE, &[CLIENT_INFO])),
    ];
    world.compare(&peers, "secret", &json!({}), &[], ours).await;
}

#[tokio::test]
async fn client_credentials_with_a_claims_challenge() {
    let world = World::new("challenge").await;
    let claims = r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"}}}"#;
    let ours = async |world: &World| {
        let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new(SECRET))
            .authority(world.recorder.base.parse().unwrap())
            .transport(world.transport.clone())
            .handles_claims_challenges()
            .build()
            .unwrap();
        let challenge = ClaimsChallenge::from_json(claims).unwrap();
        client.get_token(&request(APP).with_claims(challenge)).await.unwrap().expose().to_owned()
    };
    let merged = r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"},"xms_cc":{"values":["cp1"]}}}"#;
    let theirs = r#"{"access_token":{"nbf":{"essential":true,"value":"1700000000"},"xms_cc":{"values":["cp1"]}},"id_token":{"login_hint":{"essential":false},"signin_state":{"essential":false},"tenant_region_sub_scope":{"essential":false}}}"#;
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO])),
        (Peer::MsalNode, with(NODE, &[BODY_ID, differs("1 form claims", merged, theirs, NODE_CLAIMS)])),
    ];
    world.compare(&peers, "challenge", &json!({"claims": claims, "capabilities": ["cp1"]}), &[], ours).await;
}

#[tokio::test]
async fn client_credentials_with_a_certificate() {
    let world = World::new("certificate").await;
    let (file, settings, names) = certificate("certificate");
    let pem = fs::read(&file.0).unwrap();
    let ours = async |world: &World| token(&world.client(Certificate::from_pem(&pem).unwrap().send_chain()), APP).await;
    let fractions = [
        differs("1 assertion claim exp", "now + 10 min, integer", "now + 10 min, fraction", "whole seconds (2.2)"),
        differs("1 assertion claim iat", "now + 0 min, integer", "now + 0 min, fraction", "whole seconds (2.2)"),
        only_ours("1 assertion claim nbf", "now + 0 min, integer", "the documented claim"),
    ];
    let padded = differs("1 assertion header x5t#S256", "\"S256\"", "\"S256=\"", "base64url has no padding (RFC 7515)");
    let lines =
        differs("1 assertion header x5c", "[\"DER\"]", "[\"DER, in lines\"]", "base64 without line feeds (RFC 7515)");
    let sha1 = [
        differs("1 assertion header alg", "\"PS256\"", "\"RS256\"", "the documented algorithm of today (2.2)"),
        only_ours("1 assertion header x5t#S256", "\"S256\"", "the documented thumbprint of today (2.2)"),
        only_theirs("1 assertion header x5t", "\"S1=\"", "SHA-1 is for AD FS"),
    ];
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[&fractions[..], &[CLIENT_INFO, padded, lines]].concat())),
        (Peer::MsalNode, with(NODE, &[BODY_ID])),
        (Peer::AzureIdentity, with(AZURE, &[&fractions[..], &sha1, &[CLIENT_INFO]].concat())),
    ];
    world.compare(&peers, "certificate", &settings, &names, ours).await;

    // What AD FS needs is what these two send for a thumbprint in SHA-1.
    let ours = async |world: &World| token(&world.client(Certificate::from_pem(&pem).unwrap().for_ad_fs()), APP).await;
    let padded = differs("1 assertion header x5t", "\"S1\"", "\"S1=\"", "base64url has no padding (RFC 7515)");
    let list = [&fractions[..], &[CLIENT_INFO, padded]].concat();
    let peers = [(Peer::MsalPython, with(PYTHON, &list)), (Peer::AzureIdentity, with(AZURE, &list))];
    world.compare(&peers, "certificate_sha1", &settings, &names, ours).await;
}

struct File(PathBuf);

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// A file with key and certificate, what the scripts need to know of it, and short names for what is sent of it.
fn certificate(name: &str) -> (File, Value, Vec<(String, &'static str)>) {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["bot".to_owned()]).unwrap().self_signed(&key).unwrap();
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-{name}-{}.key.pem", std::process::id()));
    let pem = certificate.pem().replace('\r', "");
    fs::write(&path, format!("{}{pem}", key.serialize_pem())).unwrap();
    let digests = [&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY, &aws_lc_rs::digest::SHA256]
        .map(|algorithm| aws_lc_rs::digest::digest(algorithm, certificate.der()));
    let hex = |at: usize| digests[at].as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<String>();
    let settings = json!({"certificate": path, "thumbprint": hex(0), "thumbprint_sha256": hex(1)});
    let lines: Vec<&str> = pem.lines().filter(|line| !line.starts_with('-')).collect();
    let names = vec![
        (lines.concat(), "DER"),
        (lines.join("\\n"), "DER, in lines"),
        (URL_SAFE_NO_PAD.encode(digests[0]), "S1"),
        (URL_SAFE_NO_PAD.encode(digests[1]), "S256"),
    ];
    (File(path), settings, names)
}

#[tokio::test]
async fn client_credentials_with_an_assertion_of_a_platform() {
    let world = World::new("assertion").await;
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("peers-token-{}", std::process::id()));
    let file = File(path);
    let assertion = world.recorder.user_token("api://AzureADTokenExchange").1;
    fs::write(&file.0, &assertion).unwrap();
    let ours = async |world: &World| {
        // As on AKS: the variables that its webhook sets.
        let mut settings = Settings::from_lookup(|name: &str| match name {
            "AZURE_TENANT_ID" => Some(TENANT.to_owned()),
            "AZURE_CLIENT_ID" => Some(CLIENT.to_owned()),
            "AZURE_AUTHORITY_HOST" => Some(world.recorder.base.clone()),
            "AZURE_FEDERATED_TOKEN_FILE" => Some(file.0.to_str().unwrap().to_owned()),
            _ => None,
        });
        let client = WorkloadIdentity::from_settings(&mut settings).unwrap().client();
        token(&client.transport(world.transport.clone()).build().unwrap(), APP).await
    };
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO])),
        (Peer::MsalNode, with(NODE, &[BODY_ID])),
        (Peer::AzureIdentity, with(AZURE, AZURE_ALONE)),
    ];
    let names = [(assertion, "the content of the file")];
    world.compare(&peers, "assertion", &json!({"token_file": file.0}), &names, ours).await;
    let ours = async |world: &World| token(&world.client(ClientAssertion::from_file(&file.0).unwrap()), APP).await;
    world.compare(&peers, "assertion", &json!({"token_file": file.0}), &names, ours).await;
}

#[tokio::test]
async fn on_behalf_of() {
    let world = World::new("obo").await;
    let (claims, raw) = world.recorder.user_token(CLIENT);
    let ours = async |world: &World| {
        let credential = world.client(Secret::new(SECRET)).on_behalf_of(assertion(&claims, &raw));
        token(&credential, DELEGATED).await
    };
    let more = json!({"assertion": raw, "scopes": [DELEGATED]});
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO, OBO_SCOPES])),
        (Peer::MsalNode, with(NODE, &[CLIENT_INFO, BODY_ID, OBO_SCOPES])),
        (Peer::AzureIdentity, with(AZURE, &[CLIENT_INFO, OBO_SCOPES])),
    ];
    world.compare(&peers, "on_behalf_of", &more, &[], ours).await;
}

/// What a long-running exchange sends is what the libraries send for every exchange.
#[tokio::test]
async fn long_running_on_behalf_of() {
    let world = World::new("long").await;
    let (claims, raw) = world.recorder.user_token(CLIENT);
    let ours = async |world: &World| {
        let client = world.client(Secret::new(SECRET));
        let (assertion, key) = (assertion(&claims, &raw), SessionKey::random().unwrap());
        let user = assertion.user_key().clone();
        client.start_long_running(&assertion, &key, &DELEGATED.parse().unwrap()).await.unwrap();
        token(&client.long_running(&user, &key), DELEGATED).await
    };
    let more = json!({"assertion": raw, "scopes": [DELEGATED]});
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO])),
        (Peer::MsalNode, with(NODE, &[CLIENT_INFO, BODY_ID])),
        (Peer::AzureIdentity, with(AZURE, &[CLIENT_INFO])),
    ];
    world.compare(&peers, "on_behalf_of", &more, &[], ours).await;
}

fn assertion(claims: &Value, raw: &str) -> UserAssertion {
    UserToken::trusted(claims, raw).unwrap().assertion_for(&CLIENT.parse().unwrap(), &[CLIENT]).unwrap()
}

const REDIRECT: &str = "http://localhost/signed-in";

/// The whole sign-in, the browser's part included.
async fn signs_in(world: &World, users: Users) -> String {
    let roots = [reqwest::Certificate::from_pem(world.recorder.certificate.as_ref().unwrap().as_bytes()).unwrap()];
    let browser = reqwest::Client::builder().no_proxy().tls_certs_only(roots).build().unwrap();
    let request = AuthorizationRequest::new(REDIRECT.parse().unwrap(), DELEGATED.parse().unwrap());
    let (url, session) = users.sign_in(request).unwrap();
    let answer = browser.get(url.as_str()).send().await.unwrap().bytes().await.unwrap();
    let answer: Value = serde_json::from_slice(&answer).unwrap();
    let query = format!("code={}&state={}", answer["code"].as_str().unwrap(), answer["state"].as_str().unwrap());
    users.redeem(session, AuthorizationAnswer::parse(&query).unwrap()).await.unwrap().token.expose().to_owned()
}

const MODE: Difference = only_ours("1 query response_mode", "query", "said, not left to a default");

const INFO: Difference = only_theirs("1 query client_info", "1", "users are known by their validated id token");

const NODE_SIGN_IN: [Difference; 5] = [
    INFO,
    CLIENT_INFO,
    only_theirs("1 query claims", ID_TOKEN_CLAIMS, NODE_CLAIMS),
    only_theirs("2 form claims", ID_TOKEN_CLAIMS, NODE_CLAIMS),
    only_theirs("1 query clidata", "1", "not part of the documented request"),
];

#[tokio::test]
async fn authorization_code_with_pkce() {
    let world = World::new("code").await;
    let ours = async |world: &World| signs_in(world, world.client(Secret::new(SECRET)).users(world.id_tokens())).await;
    let more = json!({"redirect_uri": REDIRECT, "scopes": [DELEGATED]});
    // It has no authorize URL of its own: this is a plain web application's.
    let random = "(random, 43 characters or more)";
    let azure = [
        MODE,
        only_ours("1 query code_challenge", random, "PKCE always"),
        only_ours("1 query code_challenge_method", "S256", "PKCE always"),
        only_ours("2 form code_verifier", random, "PKCE always"),
        only_ours("1 query nonce", "(random)", "the id token belongs to this sign-in"),
        only_ours("1 query state", "(random)", "the answer belongs to this browser"),
        differs("1 query scope", MORE_SCOPES, DELEGATED, "the id token says who signed in"),
        differs("2 form scope", MORE_SCOPES, DELEGATED, "the id token says who signed in"),
    ];
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[MODE, INFO, CLIENT_INFO])),
        (Peer::MsalNode, with(NODE, &NODE_SIGN_IN)),
        (Peer::AzureIdentity, with(AZURE, &[&azure[..], AZURE_ALONE, &[CLIENT_INFO]].concat())),
    ];
    world.compare(&peers, "code", &more, &[], ours).await;
}

#[tokio::test]
async fn authorization_code_of_a_public_client() {
    let world = World::new("public").await;
    let ours = async |world: &World| signs_in(world, world.public().users(world.id_tokens())).await;
    let more = json!({"redirect_uri": REDIRECT, "scopes": [DELEGATED], "secret": null});
    let peers =
        [(Peer::MsalPython, with(PYTHON, &[MODE, INFO, CLIENT_INFO])), (Peer::MsalNode, with(NODE, &NODE_SIGN_IN))];
    world.compare(&peers, "code", &more, &[], ours).await;
}

#[tokio::test]
async fn refresh_token() {
    let world = World::new("refresh").await;
    let ours = async |world: &World| {
        let users = world.client(Secret::new(SECRET)).users(world.id_tokens());
        let signed_in = users.adopt(Secret::new("refresh-1"), &DELEGATED.parse().unwrap()).await.unwrap();
        signed_in.token.expose().to_owned()
    };
    let more = json!({"refresh_token": "refresh-1", "scopes": [DELEGATED]});
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO])),
        (Peer::MsalNode, with(NODE, &[CLIENT_INFO, only_theirs("1 form claims", ID_TOKEN_CLAIMS, NODE_CLAIMS)])),
    ];
    world.compare(&peers, "refresh", &more, &[], ours).await;
}

#[tokio::test]
async fn device_code() {
    let world = World::new("device").await;
    let ours = async |world: &World| {
        let users = world.public().users(world.id_tokens());
        let code = users.device_code(&DELEGATED.parse().unwrap()).await.unwrap();
        users.wait_for(code).await.unwrap().token.expose().to_owned()
    };
    let accept = differs("1 header accept", "application/json", "*/*", "nothing but JSON can be read");
    let python = [
        accept,
        CLIENT_INFO,
        only_theirs("2 form code", "device", "the older name; the documented one is device_code"),
        only_ours("2 form scope", MORE_SCOPES, "says again what the token is for; Entra allows it"),
    ];
    let grant = differs(
        "2 form grant_type",
        "urn:ietf:params:oauth:grant-type:device_code",
        "device_code",
        "the name in RFC 8628 and in the documentation",
    );
    let peers = [
        (Peer::MsalPython, with(PYTHON, &python)),
        (Peer::MsalNode, with(NODE, &[CLIENT_INFO, BODY_ID, grant])),
        (Peer::AzureIdentity, with(AZURE, &python)),
    ];
    world.compare(&peers, "device", &json!({"scopes": [DELEGATED]}), &[], ours).await;
}

#[tokio::test]
async fn agent_for_itself() {
    let world = World::new("agent-app").await;
    let ours = async |world: &World| token(&world.client(Secret::new(SECRET)).agent(AGENT.parse().unwrap()), APP).await;
    let peers = [(Peer::MsalPython, with(PYTHON, &[CLIENT_INFO])), (Peer::MsalNode, with(NODE, &[BODY_ID]))];
    world.compare(&peers, "agent_app", &json!({"agent": AGENT}), &[], ours).await;
}

#[tokio::test]
async fn agent_user() {
    let world = World::new("agent-user").await;
    let user_leg = [
        only_ours("3 form requested_token_use", "on_behalf_of", "documented; the MSALs leave it out (2.8)"),
        differs("3 form scope", DELEGATED, MORE_SCOPES, "the agent's own tokens stand for a refresh token"),
    ];
    for (who, anchor) in [
        (json!({"user": USER}), "Oid:44444444-4444-4444-4444-444444444444@11111111-1111-1111-1111-111111111111"),
        (json!({"username": "agent@contoso.example"}), "upn:agent@contoso.example"),
    ] {
        let ours = async |world: &World| {
            let agent = world.client(Secret::new(SECRET)).agent(AGENT.parse().unwrap());
            let user = match who["username"].as_str() {
                Some(name) => agent.user_by_name(name),
                None => agent.user(USER.parse().unwrap()),
            };
            token(&user, DELEGATED).await
        };
        let hint = only_theirs("3 header x-anchormailbox", anchor, "a routing hint; nothing depends on it");
        let mut more = who.clone();
        more.as_object_mut().unwrap().extend([("agent".into(), json!(AGENT)), ("scopes".into(), json!([DELEGATED]))]);
        let peers = [
            (Peer::MsalPython, with(PYTHON, &[&user_leg[..], &[CLIENT_INFO, hint]].concat())),
            (Peer::MsalNode, with(NODE, &[&user_leg[..], &[CLIENT_INFO, BODY_ID]].concat())),
        ];
        world.compare(&peers, "agent_user", &more, &[], ours).await;
    }
}

#[tokio::test]
async fn agent_on_behalf_of_a_person() {
    let world = World::new("agent-obo").await;
    let (claims, raw) = world.recorder.user_token(CLIENT);
    let ours = async |world: &World| {
        let agent = world.client(Secret::new(SECRET)).agent(AGENT.parse().unwrap());
        token(&agent.on_behalf_of(assertion(&claims, &raw)), DELEGATED).await
    };
    let scopes = Difference { place: "2 form scope", ..OBO_SCOPES };
    let more = json!({"agent": AGENT, "assertion": raw, "scopes": [DELEGATED]});
    let peers = [
        (Peer::MsalPython, with(PYTHON, &[CLIENT_INFO, scopes])),
        (Peer::MsalNode, with(NODE, &[CLIENT_INFO, BODY_ID, scopes])),
    ];
    world.compare(&peers, "agent_on_behalf_of", &more, &[], ours).await;
}

/// The comparison sees what is more, less or other on either side, and a list that is behind.
#[test]
fn the_comparison_can_fail() {
    let sent = |form: &[(&str, &str)]| Sent {
        method: "POST".into(),
        path: "/token".into(),
        query: Vec::new(),
        headers: vec![("x-client-sku".into(), "any".into())],
        form: form.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect(),
    };
    let ours = [sent(&[("a", "1"), ("scope", "x y")])];
    let judge = |theirs: &[Sent], list: &[Difference]| problems("test", &ours, theirs, &[], list).len();
    assert_eq!(judge(&[sent(&[("scope", "y x"), ("a", "1")])], &[]), 0, "order counts for nothing");
    assert_eq!(judge(&[sent(&[("a", "2"), ("scope", "x y")])], &[]), 1);
    assert_eq!(judge(&[sent(&[("scope", "x y")])], &[]), 1);
    assert_eq!(judge(&[sent(&[("a", "1"), ("b", ""), ("scope", "x y")])], &[]), 1);
    assert!(judge(&[ours[0].clone(), ours[0].clone()], &[]) > 1);
    assert_eq!(judge(&[sent(&[("a", "2"), ("scope", "x y")])], &[differs("1 form a", "1", "2", "why")]), 0);
    assert_eq!(judge(&[sent(&[("a", "3"), ("scope", "x y")])], &[differs("1 form a", "1", "2", "why")]), 2);
    assert_eq!(judge(&ours, &[differs("1 form a", "1", "2", "why")]), 1, "it is not there any more");
}
