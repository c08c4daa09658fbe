//! What comes from outside and is wrong: answers, clocks, files. Each is a typed error that names cause and fix; nothing
//! panics, nothing becomes an empty token, nothing of what came is shown.

#![cfg(all(feature = "acquire", feature = "validate", feature = "reqwest", feature = "test-util"))]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing, missing_docs)]

#[path = "acquire_certificate_support/mod.rs"]
mod support;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use entra_auth::{
    Authority, AuthorizationAnswer, AuthorizationRequest, Certificate, CertificateFile, ClientAssertion,
    ConfidentialClient, Discovery, Error, ErrorKind, IdTokenValidator, ManagedIdentityCredential, ManagedIdentityId,
    ManualClock, ReqwestTransport, RetryPolicy, Secret, SessionKey, TenantPolicy, TokenCredential, TokenRequest,
    UserAssertion, UserToken, settings::Settings,
};
use serde_json::json;
use support::{CLIENT, Folder, Pair, TENANT, now, request};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// A server on a raw socket that answers everything the same way.
struct Server {
    url: String,
    requests: Arc<AtomicUsize>,
    /// Bytes of answers that the other side took.
    taken: Arc<AtomicUsize>,
}

#[derive(Clone)]
enum Answer {
    /// These bytes, and the end.
    Bytes(Vec<u8>),
    /// This head, and then letters, up to so many.
    Endless(String, usize),
    /// This, and nothing more.
    Silence(String),
}

impl Server {
    async fn start(answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (requests, taken) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let (count, bytes) = (Arc::clone(&requests), Arc::clone(&taken));
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, answer.clone(), Arc::clone(&count), Arc::clone(&bytes)));
            }
        });
        Self { url, requests, taken }
    }
}

async fn serve(mut socket: TcpStream, answer: Answer, requests: Arc<AtomicUsize>, taken: Arc<AtomicUsize>) {
    let mut request = Vec::new();
    let mut chunk = [0; 4096];
    while !complete(&request) {
        match socket.read(&mut chunk).await {
            Ok(read) if read > 0 => request.extend_from_slice(&chunk[..read]),
            _ => return,
        }
    }
    requests.fetch_add(1, Ordering::SeqCst);
    match answer {
        Answer::Bytes(bytes) => {
            let _ = socket.write_all(&bytes).await;
            let _ = socket.shutdown().await;
        }
        Answer::Endless(head, most) => {
            let _ = socket.write_all(head.as_bytes()).await;
            let block = [b'a'; 64 << 10];
            while taken.load(Ordering::SeqCst) < most && socket.write_all(&block).await.is_ok() {
                taken.fetch_add(block.len(), Ordering::SeqCst);
            }
        }
        Answer::Silence(head) => {
            let _ = socket.write_all(head.as_bytes()).await;
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
    }
}

fn complete(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("content-length:")?.trim().parse().ok());
    body.len() >= length.unwrap_or(0)
}

fn http(status: u16, headers: &str, body: impl AsRef<[u8]>) -> Answer {
    let length = body.as_ref().len();
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    Answer::Bytes([head.as_bytes(), body.as_ref()].concat())
}

fn body(text: impl AsRef<[u8]>) -> Answer {
    http(200, "content-type: application/json\r\n", text)
}

/// Every way to ask for a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    ClientCredentials,
    OnBehalfOf,
    LongRunning,
    Code,
    Refresh,
    Device,
    Agent,
    ManagedIdentity,
}

const TOKEN_ENDPOINT: [Way; 6] =
    [Way::ClientCredentials, Way::OnBehalfOf, Way::LongRunning, Way::Code, Way::Refresh, Way::Agent];

impl Way {
    async fn ask(self, url: &str, clock: &ManualClock) -> Result<String, Error> {
        self.ask_within(Duration::from_secs(30), url, clock).await
    }

    async fn ask_within(self, limit: Duration, url: &str, clock: &ManualClock) -> Result<String, Error> {
        let authority: Authority = url.parse().unwrap();
        let client =
            ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("marker"))
                .authority(authority.clone())
                .clock(Arc::new(clock.clone()))
                .retry(RetryPolicy::new(1, Duration::from_millis(1), Duration::from_millis(1)))
                .timeouts(limit, limit)
                .build()
                .unwrap();
        let id_tokens = || {
            IdTokenValidator::builder(authority.clone(), CLIENT.parse().unwrap(), TenantPolicy::Any)
                .clock(Arc::new(clock.clone()))
                .build()
                .unwrap()
        };
        let scopes = "api://resource/Read".parse().unwrap();
        match self {
            Self::ClientCredentials => client.get_token(&request(1)).await.map(|token| token.expose().to_owned()),
            Self::OnBehalfOf => {
                let token = client.on_behalf_of(assertion()).get_token(&TokenRequest::new(scopes)).await?;
                Ok(token.expose().to_owned())
            }
            Self::LongRunning => {
                let key = SessionKey::random().unwrap();
                client.start_long_running(&assertion(), &key, &scopes).await.map(|_| String::new())
            }
            Self::Code => {
                let users = client.users(id_tokens());
                let sign_in = AuthorizationRequest::new("https://app.example/in".parse().unwrap(), scopes);
                let (url, session) = users.sign_in(sign_in).unwrap();
                let state = url.query_pairs().find(|(name, _)| name == "state").unwrap().1.into_owned();
                let answer = AuthorizationAnswer::parse(&format!("code=c&state={state}")).unwrap();
                users.redeem(session, answer).await.map(|signed_in| signed_in.token.expose().to_owned())
            }
            Self::Refresh => {
                let users = client.users(id_tokens());
                users.adopt(Secret::new("r"), &scopes).await.map(|signed_in| signed_in.token.expose().to_owned())
            }
            Self::Device => {
                client.users(id_tokens()).device_code(&scopes).await.map(|code| code.user_code().to_owned())
            }
            Self::Agent => {
                let agent = client.agent("33333333-3333-3333-3333-333333333333".parse().unwrap());
                agent.get_token(&request(1)).await.map(|token| token.expose().to_owned())
            }
            Self::ManagedIdentity => {
                let endpoint = format!("{url}/token");
                let settings = Settings::from_lookup(|name: &str| match name {
                    "IDENTITY_ENDPOINT" => Some(endpoint.clone()),
                    "IDENTITY_HEADER" => Some("marker".to_owned()),
                    _ => None,
                });
                let identity = ManagedIdentityCredential::builder(ManagedIdentityId::SystemAssigned)
                    .settings(&settings)
                    .clock(Arc::new(clock.clone()))
                    .build()
                    .unwrap();
                identity.get_token(&request(1)).await.map(|token| token.expose().to_owned())
            }
        }
    }
}

fn assertion() -> UserAssertion {
    let seconds = now().unix_timestamp();
    let claims = json!({
        "aud": CLIENT, "iss": "https://login.microsoftonline.com/x/v2.0", "exp": seconds + 3600, "iat": seconds,
        "tid": TENANT, "oid": "44444444-4444-4444-4444-444444444444", "sub": "s", "ver": "2.0", "scp": "a",
    });
    UserToken::trusted(&claims, "h.p.marker").unwrap().assertion_for(&CLIENT.parse().unwrap(), &[CLIENT]).unwrap()
}

fn clock() -> ManualClock {
    ManualClock::at(now())
}

/// The error is of that kind, says that, and shows nothing of what came or was sent.
fn judge(row: &str, way: Way, result: Result<String, Error>, kind: ErrorKind, expected: &str) {
    let error = result.map(|token| panic!("{row}, {way:?}: a token: {token:?}")).unwrap_err();
    assert_eq!(error.kind(), kind, "{row}, {way:?}: {error}");
    assert!(error.to_string().contains(expected), "{row}, {way:?}: {error}");
    let shown = format!("{error} {error:?} {error:#?}");
    assert!(!shown.contains("marker"), "{row}, {way:?}: {shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_are_no_token() {
    let good = |name: &str, value: &str| {
        let members = [("token_type", "\"Bearer\""), ("expires_in", "3599"), ("access_token", "\"marker\"")];
        let members: Vec<String> = members
            .iter()
            .map(|(known, text)| format!("\"{known}\":{}", if *known == name { value } else { text }))
            .filter(|member| !member.ends_with(':'))
            .collect();
        body(format!("{{{}}}", members.join(",")))
    };
    let nothing = "answered with something that is no token; look for a proxy";
    for (row, answer, expected) in [
        ("empty", body(""), nothing),
        ("no content", http(204, "", ""), nothing),
        ("white space", body(" \r\n "), nothing),
        ("HTML", http(200, "content-type: text/html\r\n", "<html>marker</html>"), nothing),
        ("HTML that claims to be JSON", body("<html>marker</html>"), nothing),
        ("a text", body("\"marker\""), nothing),
        ("null", body("null"), nothing),
        ("a list", body("[{\"access_token\":\"marker\"}]"), nothing),
        ("an empty object", body("{}"), nothing),
        ("half of it", body(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"mar"#), nothing),
        ("two of them", body(r#"{"a":1}{"a":1}"#), nothing),
        ("no UTF-8", body(b"{\"access_token\":\"\xff\xfe\"}"), nothing),
        ("deep", body("[".repeat(50_000)), nothing),
        ("deep inside", body(format!("{{\"x\":{}", "{\"x\":".repeat(10_000))), nothing),
        ("an error of status 200", body(r#"{"error":"invalid_client","error_description":"marker"}"#), nothing),
        ("no access_token", good("access_token", ""), nothing),
        ("access_token null", good("access_token", "null"), nothing),
        ("access_token a number", good("access_token", "5"), nothing),
        ("access_token a list", good("access_token", "[\"marker\"]"), nothing),
        (
            "access_token empty",
            good("access_token", "\"\""),
            "the access token is empty or holds impossible characters",
        ),
        ("access_token a space", good("access_token", "\" \""), "is empty or holds impossible characters"),
        ("access_token with a header", good("access_token", "\"marker\\r\\nx: y\""), "impossible characters; look for"),
        ("access_token of other letters", good("access_token", "\"märker\""), "impossible characters"),
        ("a bound token", good("token_type", "\"pop\""), "no bearer token; bound tokens are not supported"),
    ] {
        let server = Server::start(answer).await;
        for way in TOKEN_ENDPOINT.into_iter().chain([Way::ManagedIdentity]) {
            judge(row, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, expected);
        }
    }
    // The token endpoint must say these; platforms may say them in another way.
    for (row, answer) in [("no token_type", good("token_type", "")), ("token_type null", good("token_type", "null"))] {
        let server = Server::start(answer).await;
        for way in TOKEN_ENDPOINT {
            judge(row, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, nothing);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn lifetimes_that_cannot_be() {
    let impossible = "impossible lifetime; look for a proxy";
    let nothing = "something that is no token; look for a proxy";
    for (value, expected) in [
        ("-1", impossible),
        ("-3599", impossible),
        ("\"-3599\"", impossible),
        ("0", impossible),
        ("9223372036854775807", impossible),
        ("-9223372036854775808", impossible),
        ("1e300", nothing),
        ("\"soon\"", nothing),
        ("\"\"", nothing),
        ("null", nothing),
        ("{}", nothing),
    ] {
        let text = format!(r#"{{"token_type":"Bearer","access_token":"marker","expires_in":{value}}}"#);
        let server = Server::start(body(text)).await;
        for way in TOKEN_ENDPOINT {
            judge(value, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, expected);
        }
        let said = match value {
            "9223372036854775807" | "-9223372036854775808" => "no end, or has ended; check this machine's clock",
            _ => "check this machine's clock",
        };
        let way = Way::ManagedIdentity;
        judge(value, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, said);
    }
    for member in ["", r#","expires_on":"1799999999""#, r#","expires_on":"yesterday""#, r#","expires_on":[]"#] {
        let server = Server::start(body(format!(r#"{{"access_token":"marker"{member}}}"#))).await;
        let way = Way::ManagedIdentity;
        judge(member, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, "check this machine's clock");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_content_counts_and_not_its_label() {
    let text = r#"{"token_type":"bearer","expires_in":"3599","access_token":"t","expires_on":"1800003599"}"#;
    for label in
        ["", "content-type: text/html\r\n", "content-type: text/plain; charset=utf-16\r\n", "content-type: \u{1}\r\n"]
    {
        let server = Server::start(http(200, label, text)).await;
        for way in [Way::ClientCredentials, Way::OnBehalfOf, Way::ManagedIdentity] {
            match way.ask(&server.url, &clock()).await {
                Ok(token) => assert_eq!(token, "t", "{way:?}"),
                // A header that cannot be one ends the exchange, as a broken connection does.
                Err(error) => assert_eq!((error.kind(), label), (ErrorKind::Transport, "content-type: \u{1}\r\n")),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_of_somebody_else() {
    let proxy = "something other than Entra's JSON; look for a proxy in between";
    let redirect = "a redirect, which is never followed";
    let elsewhere = Server::start(body(r#"{"token_type":"Bearer","expires_in":3599,"access_token":"stolen"}"#)).await;
    let location = format!("location: {}/token\r\n", elsewhere.url);
    for (row, answer, expected) in [
        ("300", http(300, &location, ""), redirect),
        ("301", http(301, &location, ""), redirect),
        ("302", http(302, &location, "<html>marker</html>"), redirect),
        ("303", http(303, &location, ""), redirect),
        ("307", http(307, &location, ""), redirect),
        ("308", http(308, &location, ""), redirect),
        ("400", http(400, "", "<html>marker</html>"), proxy),
        ("401", http(401, "", ""), proxy),
        ("403", http(403, "", "marker"), proxy),
        ("404", http(404, "", "[]"), proxy),
        ("407", http(407, "proxy-authenticate: Basic\r\n", "<html>marker</html>"), proxy),
        ("418", http(418, "", r#"{"error":{"message":"marker"}}"#), proxy),
    ] {
        let server = Server::start(answer).await;
        for way in TOKEN_ENDPOINT.into_iter().chain([Way::Device]) {
            judge(row, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, expected);
        }
        assert_eq!(server.requests.load(Ordering::SeqCst), TOKEN_ENDPOINT.len() + 1, "{row}: nothing is sent twice");
        if row.starts_with('3') {
            let way = Way::ManagedIdentity;
            judge(row, way, way.ask(&server.url, &clock()).await, ErrorKind::Protocol, expected);
        }
    }
    assert_eq!(elsewhere.requests.load(Ordering::SeqCst), 0, "what holds a secret was sent elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_megabytes_are_not_read() {
    const MOST: usize = 100 << 20;
    let length = format!("HTTP/1.1 200 OK\r\ncontent-length: {MOST}\r\n\r\n");
    let chunked = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nFFFFFFF\r\n".to_owned();
    let until_closed = "HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n".to_owned();
    let refused = "HTTP/1.1 400 Bad Request\r\nconnection: close\r\n\r\n".to_owned();
    for head in [length, chunked, until_closed, refused] {
        for way in TOKEN_ENDPOINT.into_iter().chain([Way::Device, Way::ManagedIdentity]) {
            let server = Server::start(Answer::Endless(head.clone(), MOST)).await;
            let result = way.ask(&server.url, &clock()).await;
            judge(&head, way, result, ErrorKind::Protocol, "larger than any real one; look for a proxy");
            // What lies in the buffers of two sockets is not read by anybody.
            let taken = server.taken.load(Ordering::SeqCst);
            assert!(taken < 20 << 20, "{way:?} took {taken} bytes");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_that_break() {
    let cut = Answer::Bytes(b"HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\n{\"access_token\":\"marker".to_vec());
    for (row, answer, expected) in [
        ("closed at once", Answer::Bytes(Vec::new()), "check the network and the proxy"),
        ("cut off", cut, "check the network and the proxy"),
        ("no HTTP", Answer::Bytes(b"SSH-2.0-marker\r\n".to_vec()), "check"),
        ("no answer", Answer::Silence(String::new()), "did not answer in time; check the network and the proxy"),
        (
            "half an answer",
            Answer::Silence("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n{".into()),
            "did not answer in time; check the network and the proxy",
        ),
    ] {
        let clock = clock();
        // What stays silent is waited for; what answers must do so in time.
        let limit = Duration::from_secs(if matches!(answer, Answer::Silence(_)) { 1 } else { 30 });
        let server = Server::start(answer).await;
        let ways = [Way::ClientCredentials, Way::OnBehalfOf, Way::Code, Way::Refresh];
        let results = futures_util::future::join_all(ways.map(|way| way.ask_within(limit, &server.url, &clock))).await;
        for (way, result) in ways.into_iter().zip(results) {
            judge(row, way, result, ErrorKind::Transport, expected);
        }
    }
}

#[tokio::test]
async fn discovery_documents_that_are_none() {
    let html = || body("<html>marker</html>");
    for (answer, kind) in [
        (body(""), ErrorKind::Protocol),
        (html(), ErrorKind::Protocol),
        (body("{}"), ErrorKind::Protocol),
        (body("[".repeat(100_000)), ErrorKind::Protocol),
        (http(302, "location: http://127.0.0.1:9/\r\n", ""), ErrorKind::Protocol),
        (Answer::Endless("HTTP/1.1 200 OK\r\n\r\n".into(), 100 << 20), ErrorKind::Protocol),
    ] {
        let server = Server::start(answer).await;
        let discovery = Discovery::new(Arc::new(ReqwestTransport::new().unwrap()));
        let authority = server.url.parse().unwrap();
        let error = discovery.openid_configuration(&authority, &TENANT.parse().unwrap()).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(!format!("{error} {error:?}").contains("marker"));
    }
}

const MINUTES: [i64; 2] = [10, -10];

/// A clock that is ten minutes off, or jumps by ten minutes, costs a request at most.
#[tokio::test]
async fn clocks_that_jump() {
    let text = r#"{"token_type":"Bearer","expires_in":3599,"access_token":"t"}"#;
    for minutes in MINUTES {
        let server = Server::start(body(text)).await;
        let clock = clock();
        let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), Secret::new("s"))
            .authority(server.url.parse().unwrap())
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
        let first = client.get_token(&request(1)).await.unwrap();
        clock.step(time::Duration::minutes(minutes));
        let second = client.get_token(&request(1)).await.unwrap();
        // Ahead when it was stored, the clock has put the token's end too late: it is not believed.
        let requests = if minutes < 0 { 2 } else { 1 };
        assert_eq!(server.requests.load(Ordering::SeqCst), requests, "{minutes}");
        assert!(second.expires_on() <= entra_auth::Clock::now(&clock) + time::Duration::seconds(3599));
        assert_eq!((first.expose(), second.expose()), ("t", "t"));
        // A correction by seconds, as time servers make it, costs nothing.
        clock.step(time::Duration::seconds(-5));
        client.get_token(&request(1)).await.unwrap();
        assert_eq!(server.requests.load(Ordering::SeqCst), requests, "{minutes}");
    }
}

#[tokio::test]
async fn clocks_that_jump_under_a_managed_identity() {
    // The platform names the end by its own clock, and the life.
    let text = r#"{"token_type":"Bearer","expires_in":"3599","expires_on":"1800003599","access_token":"t"}"#;
    for minutes in MINUTES {
        let server = Server::start(body(text)).await;
        let clock = clock();
        clock.step(time::Duration::minutes(minutes));
        for _ in 0..2 {
            assert_eq!(Way::ManagedIdentity.ask(&server.url, &clock).await.unwrap(), "t");
            clock.step(time::Duration::minutes(-minutes));
        }
    }
}

/// An assertion that this machine's clock calls over is not sent; one that will be over soon gives no long token.
#[tokio::test]
async fn clocks_that_jump_under_an_assertion() {
    let server = Server::start(body(r#"{"token_type":"Bearer","expires_in":7199,"access_token":"t"}"#)).await;
    let clock = clock();
    clock.step(time::Duration::minutes(70));
    let result = Way::OnBehalfOf.ask(&server.url, &clock).await;
    judge("ahead", Way::OnBehalfOf, result, ErrorKind::Reauthenticate, "has ended; get a new user token");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
    clock.step(time::Duration::minutes(-80));
    assert_eq!(Way::OnBehalfOf.ask(&server.url, &clock).await.unwrap(), "t");
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/certificates/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Cause, and what to do about it.
#[test]
fn files_that_cannot_be_used() {
    let (pair, other, folder) = (Pair::new(), Pair::new(), Folder::new());
    let ec = rcgen::KeyPair::generate().unwrap().serialize_pem();
    for (path, cause, fix) in [
        (folder.path("missing.pem"), "missing.pem does not exist", "check path and mount"),
        (folder.path(""), "is no regular file", "name the file itself"),
        (folder.write("empty.pem", ""), "empty.pem is empty", "write it again"),
        (folder.write("large.pem", vec![b'x'; 300 << 10]), "larger than 262144 bytes", "right file"),
        (folder.write("cert.pem", &pair.certificate_pem), "no private key", "expected a section 'PRIVATE KEY'"),
        (folder.write("key.pem", &pair.key_pem), "no certificate", "append the section 'CERTIFICATE'"),
        (folder.write("text.pem", "marker"), "no private key", "expected a section"),
        (folder.write("bin.pem", [0xff; 64]), "no private key", "expected a section"),
        (folder.write("bot.pfx", [0x30, 0x82, 0, 1, 0]), "not PEM but DER", "openssl pkcs12 -in"),
        (folder.write("ec.pem", format!("{ec}{}", pair.certificate_pem)), "no RSA key", "Entra takes RSA certificates"),
        (
            folder.write("two.pem", format!("{}{}", pair.key_pem, other.certificate_pem)),
            "no certificate belongs to the private key",
            "put the certificate that was issued for this key",
        ),
        (folder.write("cut.pem", &pair.pem()[..pair.pem().len() - 60]), "no valid PEM", "export it again"),
        (fixture("rsa1024.pem").into(), "fewer than 2048 bits", "openssl req"),
        (fixture("encrypted.pem").into(), "is encrypted", "Certificate::from_encrypted_pem"),
        (fixture("encrypted-old.pem").into(), "is encrypted", "decrypt it with"),
    ] {
        let error = CertificateFile::open(&path).unwrap_err();
        assert!(error.to_string().contains(cause) && error.to_string().contains(fix), "{error}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
    let assertion = ClientAssertion::from_file(folder.write("secret", "marker")).unwrap_err().to_string();
    assert!(assertion.contains("holds no JWT; it must be the projected token itself"), "{assertion}");
}

#[cfg(feature = "pfx")]
#[test]
fn passwords_that_do_not_open() {
    for (name, password, cause, fix) in [
        ("modern.pfx", "marker", "does not open the PKCS#12 archive", "check that it belongs to this very file"),
        ("legacy.pfx", "marker", "does not open the PKCS#12 archive", "check that it belongs to this very file"),
        ("modern.pfx", "", "does not open the PKCS#12 archive", "check that it belongs to this very file"),
        ("encrypted.pem", "marker", "does not open the private key", "check that it belongs to this very file"),
        ("encrypted-old.pem", "correct", "an old form", "openssl pkcs8 -topk8"),
        ("nokey.pfx", "correct", "holds no private key", "export it again"),
        ("rsa1024.pfx", "correct", "fewer than 2048 bits", "make a new certificate"),
        ("certificate.pem", "correct", "no private key", "expected a section"),
    ] {
        let error = CertificateFile::open_protected(fixture(name), Secret::new(password)).unwrap_err();
        assert!(error.to_string().contains(cause) && error.to_string().contains(fix), "{name}: {error}");
        assert!(!format!("{error} {error:?}").contains("marker"), "{error:?}");
    }
}

/// Mode bits do not bind the super-user, so this needs another one.
#[cfg(unix)]
#[test]
fn files_of_somebody_else() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = Folder::new();
    let path = folder.write("bot.pem", Pair::new().pem());
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    if std::fs::read(&path).is_ok() {
        println!("skipped: this user may read everything");
        return;
    }
    for error in [CertificateFile::open(&path).unwrap_err(), ClientAssertion::from_file(&path).unwrap_err()] {
        assert!(error.to_string().contains("may not be read by this process; check owner and mode"), "{error}");
    }
}

#[tokio::test]
async fn a_certificate_that_has_ended() {
    let server = Server::start(body("{}")).await;
    let certificate = Certificate::from_pem(Pair::ending(2026).pem().as_bytes()).unwrap();
    let client = ConfidentialClient::builder(TENANT.parse().unwrap(), CLIENT.parse().unwrap(), certificate)
        .authority(server.url.parse().unwrap())
        .clock(Arc::new(clock()))
        .build()
        .unwrap();
    let error = client.get_token(&request(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ClientCredential);
    let text = error.to_string();
    assert!(text.contains("ended on 2026-01-01") && text.contains("register its successor"), "{text}");
    assert_eq!(server.requests.load(Ordering::SeqCst), 0);
}
