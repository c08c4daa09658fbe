//! What goes to the token endpoint, member by member, and what a hostile or broken endpoint brings about.

#![cfg(all(feature = "acquire", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use aws_lc_rs::signature::{ParsedPublicKey, RSA_PSS_2048_8192_SHA256};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use entra_auth::{
    Authority, Certificate, ClaimsChallenge, ClientCredential, ConfidentialClient, CorrelationId, ErrorKind,
    ManualClock, RetryPolicy, Secret, TokenCredential, TokenRequest,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

const TENANT: &str = "11111111-1111-1111-1111-111111111111";
const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
const SCOPE: &str = "https://api.botframework.com/.default";

fn now() -> OffsetDateTime {
    OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap()
}

fn client(server: &MockServer, credential: impl Into<ClientCredential>) -> ConfidentialClient {
    let authority: Authority = format!("{}/entra", server.uri()).parse().unwrap();
    ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), credential)
        .authority(authority)
        .clock(Arc::new(ManualClock::at(now())))
        .retry(RetryPolicy::new(3, Duration::from_millis(1), Duration::from_millis(2)))
        .timeouts(Duration::from_secs(2), Duration::from_secs(5))
        .build()
        .unwrap()
}

fn request() -> TokenRequest {
    TokenRequest::new(SCOPE.parse().unwrap())
}

fn success(token: &str) -> ResponseTemplate {
    ResponseTemplate::new(200).set_body_json(json!({
        "token_type": "Bearer", "expires_in": 3599, "ext_expires_in": 3599, "access_token": token,
    }))
}

fn form(request: &Request) -> BTreeMap<String, String> {
    let pairs: Vec<(String, String)> = url::form_urlencoded::parse(&request.body).into_owned().collect();
    let map: BTreeMap<_, _> = pairs.iter().cloned().collect();
    assert_eq!(map.len(), pairs.len(), "a parameter was sent twice");
    map
}

async fn answering(template: ResponseTemplate) -> MockServer {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(template).mount(&server).await;
    server
}

#[tokio::test]
async fn client_credentials_with_a_secret() {
    let server = answering(success("t")).await;
    let secret = "p+q&r=s%t/ü";
    let id: CorrelationId = "33333333-3333-3333-3333-333333333333".parse().unwrap();
    let token =
        client(&server, Secret::new(secret)).get_token(&request().with_correlation_id(id.clone())).await.unwrap();
    assert_eq!(token.expose(), "t");
    assert_eq!((token.expires_on() - now()).whole_seconds(), 3599);

    let requests = server.received_requests().await.unwrap();
    let [sent] = &requests[..] else { panic!("{} requests", requests.len()) };
    assert_eq!(sent.method.as_str(), "POST");
    assert_eq!(sent.url.path(), format!("/entra/{TENANT}/oauth2/v2.0/token"));
    assert_eq!(sent.url.query(), None);
    let header = |name: &str| sent.headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    assert_eq!(header("content-type").as_deref(), Some("application/x-www-form-urlencoded"));
    assert_eq!(header("accept").as_deref(), Some("application/json"));
    assert_eq!(header("client-request-id").as_deref(), Some(id.as_str()));
    assert_eq!(header("return-client-request-id").as_deref(), Some("true"));
    assert_eq!(header("x-client-sku").as_deref(), Some("entra-auth"));
    assert_eq!(header("x-client-ver").as_deref(), Some(env!("CARGO_PKG_VERSION")));
    assert_eq!(header("authorization"), None);
    let expected =
        [("client_id", CLIENT), ("client_secret", secret), ("grant_type", "client_credentials"), ("scope", SCOPE)];
    assert_eq!(form(sent), expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());
}

#[tokio::test]
async fn claims_and_capability() {
    let server = answering(success("t")).await;
    let plain = client(&server, Secret::new("s"));
    let challenge = ClaimsChallenge::from_json(r#"{"access_token":{"nbf":{"value":"1"}}}"#).unwrap();
    plain.get_token(&request().with_claims(challenge.clone())).await.unwrap();
    let authority: Authority = format!("{}/entra", server.uri()).parse().unwrap();
    let capable = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
        .authority(authority)
        .handles_claims_challenges()
        .build()
        .unwrap();
    capable.get_token(&request()).await.unwrap();
    capable.get_token(&request().with_claims(challenge)).await.unwrap();
    let sent: Vec<Value> = server
        .received_requests()
        .await
        .unwrap()
        .iter()
        .map(|request| serde_json::from_str(&form(request)["claims"]).unwrap())
        .collect();
    let cp1 = json!({"values": ["cp1"]});
    assert_eq!(sent[0], json!({"access_token": {"nbf": {"value": "1"}}}));
    assert_eq!(sent[1], json!({"access_token": {"xms_cc": cp1}}));
    assert_eq!(sent[2], json!({"access_token": {"xms_cc": cp1, "nbf": {"value": "1"}}}));
}

struct Pair {
    key_pem: String,
    certificate_pem: String,
    certificate_der: Vec<u8>,
    public_key: Vec<u8>,
}

fn rsa_pair() -> Pair {
    let key = rcgen::KeyPair::generate_rsa_for(&rcgen::PKCS_RSA_SHA256, rcgen::RsaKeySize::_2048).unwrap();
    let certificate = rcgen::CertificateParams::new(vec!["bot".to_owned()]).unwrap().self_signed(&key).unwrap();
    Pair {
        key_pem: key.serialize_pem(),
        certificate_pem: certificate.pem(),
        certificate_der: certificate.der().to_vec(),
        public_key: rcgen::PublicKeyData::der_bytes(&key).to_vec(),
    }
}

#[tokio::test]
async fn client_credentials_with_a_certificate() {
    let server = MockServer::start().await;
    Mock::given(any()).respond_with(ResponseTemplate::new(503)).up_to_n_times(1).mount(&server).await;
    Mock::given(any()).respond_with(success("t")).mount(&server).await;
    let (pair, issuer) = (rsa_pair(), rsa_pair());
    // The chain comes before the key, and another certificate before the right one.
    let pem = format!("{}{}{}", issuer.certificate_pem, pair.certificate_pem, pair.key_pem);
    let certificate = Certificate::from_pem(pem.as_bytes()).unwrap();
    let thumbprint =
        URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &pair.certificate_der));
    assert_eq!(certificate.thumbprint(), thumbprint);
    client(&server, certificate.clone().send_chain()).get_token(&request()).await.unwrap();
    client(&server, certificate).get_token(&request()).await.unwrap();

    let requests = server.received_requests().await.unwrap();
    assert_eq!(requests.len(), 3);
    let mut ids = Vec::new();
    for (at, sent) in requests.iter().enumerate() {
        let mut form = form(sent);
        let assertion = form.remove("client_assertion").unwrap();
        let expected = [
            ("client_assertion_type", "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"),
            ("client_id", CLIENT),
            ("grant_type", "client_credentials"),
            ("scope", SCOPE),
        ];
        assert_eq!(form, expected.map(|(k, v)| (k.to_owned(), v.to_owned())).into());

        let parts: Vec<&str> = assertion.split('.').collect();
        let part =
            |at: usize| -> Value { serde_json::from_slice(&URL_SAFE_NO_PAD.decode(parts[at]).unwrap()).unwrap() };
        let mut header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": thumbprint});
        if at < 2 {
            // Base64 of DER, not base64url, not of PEM, the certificate of the key first.
            header["x5c"] = json!([STANDARD.encode(&pair.certificate_der), STANDARD.encode(&issuer.certificate_der)]);
        }
        assert_eq!(part(0), header);
        let mut claims = part(1);
        ids.push(claims.as_object_mut().unwrap().remove("jti").unwrap());
        let expected = json!({
            "aud": format!("{}/entra/{TENANT}/oauth2/v2.0/token", server.uri()),
            "iss": CLIENT, "sub": CLIENT,
            "nbf": 1_800_000_000, "iat": 1_800_000_000, "exp": 1_800_000_600,
        });
        assert_eq!(claims, expected, "integers, and nothing else");
        let signed = format!("{}.{}", parts[0], parts[1]);
        ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &pair.public_key)
            .unwrap()
            .verify_sig(signed.as_bytes(), &URL_SAFE_NO_PAD.decode(parts[2]).unwrap())
            .unwrap();
    }
    ids.dedup();
    assert_eq!(ids.len(), 3, "every attempt has an assertion of its own");
}

#[test]
fn unusable_certificates_say_what_is_wrong() {
    let (pair, other) = (rsa_pair(), rsa_pair());
    let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (pem, expected) in [
        (String::new(), "no private key"),
        ("garbage".to_owned(), "no private key"),
        (pair.certificate_pem.clone(), "no private key"),
        (pair.key_pem.clone(), "no certificate; append"),
        (format!("{}{}", pair.key_pem, other.certificate_pem), "belongs to the private key"),
        (format!("{ec}{}", pair.certificate_pem), "no RSA key"),
        ("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n".to_owned(), "encrypted"),
        ("-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n".to_owned(), "PEM"),
    ] {
        let error = Certificate::from_pem(pem.as_bytes()).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
    let certificate = Certificate::from_pem(format!("{}{}", pair.key_pem, pair.certificate_pem).as_bytes()).unwrap();
    let shown = format!("{certificate:?} {:?}", ClientCredential::from(Secret::new("marker")));
    assert!(!shown.contains("marker") && shown.contains(certificate.thumbprint()), "{shown}");
}

#[tokio::test]
async fn redirects_are_errors_and_nothing_is_sent_twice() {
    let elsewhere = answering(success("stolen")).await;
    for status in [301, 302, 307, 308] {
        let server = answering(ResponseTemplate::new(status).insert_header("location", elsewhere.uri())).await;
        let error = client(&server, Secret::new("marker")).get_token(&request()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        assert_eq!(server.received_requests().await.unwrap().len(), 1);
    }
    assert_eq!(elsewhere.received_requests().await.unwrap().len(), 0, "a form with the secret was sent elsewhere");
}

#[tokio::test]
async fn broken_answers_are_typed_errors() {
    let huge = "x".repeat(300 << 10);
    for (template, kind, requests) in [
        (ResponseTemplate::new(200), ErrorKind::Protocol, 1),
        (ResponseTemplate::new(200).set_body_string("<html>marker</html>"), ErrorKind::Protocol, 1),
        (ResponseTemplate::new(200).set_body_string(huge), ErrorKind::Protocol, 1),
        (ResponseTemplate::new(403).set_body_string("<html>marker</html>"), ErrorKind::Protocol, 1),
        (ResponseTemplate::new(502).set_body_string("<html>marker</html>"), ErrorKind::Transient, 3),
        (ResponseTemplate::new(503), ErrorKind::Transient, 3),
        (ResponseTemplate::new(429).insert_header("retry-after", "600"), ErrorKind::Throttled, 1),
        (
            ResponseTemplate::new(401).set_body_json(json!({
                "error": "invalid_client", "error_description": "AADSTS7000215: marker", "error_codes": [7_000_215],
                "correlation_id": "c-1",
            })),
            ErrorKind::ClientCredential,
            1,
        ),
        (
            ResponseTemplate::new(400).set_body_json(json!({"error": "unauthorized_client", "error_codes": [700_016]})),
            ErrorKind::Configuration,
            1,
        ),
    ] {
        let server = answering(template).await;
        let client = client(&server, Secret::new("marker"));
        let error = client.get_token(&request()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(server.received_requests().await.unwrap().len(), requests, "{error}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
        // The failure is remembered: asking again at once sends nothing.
        let again = client.get_token(&request()).await.unwrap_err();
        assert_eq!(again.kind(), kind);
        assert_eq!(server.received_requests().await.unwrap().len(), requests);
    }
}

#[tokio::test]
async fn unreachable_endpoints_are_transport_errors_without_the_address_query() {
    let authority: Authority = "http://127.0.0.1:9/entra".parse().unwrap();
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("marker"))
        .authority(authority)
        .retry(RetryPolicy::new(2, Duration::from_millis(1), Duration::from_millis(1)))
        .build()
        .unwrap();
    let error = client.get_token(&request()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transport);
    assert!(error.is_retryable());
    assert_eq!(error.to_string(), "the server could not be reached; check its name, the network and the proxy");
}

#[tokio::test]
async fn what_cannot_work_is_refused_without_a_request() {
    let server = answering(success("t")).await;
    let client = client(&server, Secret::new("s"));
    for scopes in ["User.Read", "a/.default b/.default", "a/.default openid"] {
        let error = client.get_token(&TokenRequest::new(scopes.parse().unwrap())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Configuration, "{scopes}");
    }
    assert_eq!(server.received_requests().await.unwrap().len(), 0);
    let empty = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new(""));
    assert_eq!(empty.build().unwrap_err().to_string(), "the client secret is empty");
}

#[tokio::test]
async fn another_tenant_is_another_token() {
    let server = answering(success("t")).await;
    let client = client(&server, Secret::new("s"));
    let other = "44444444-4444-4444-4444-444444444444";
    client.get_token(&request()).await.unwrap();
    client.get_token(&request().with_tenant(other.parse().unwrap())).await.unwrap();
    client.get_token(&request()).await.unwrap();
    let paths: Vec<String> =
        server.received_requests().await.unwrap().iter().map(|r| r.url.path().to_owned()).collect();
    assert_eq!(paths, [TENANT, other].map(|tenant| format!("/entra/{tenant}/oauth2/v2.0/token")));
}
