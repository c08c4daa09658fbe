//! A token service, a connector and an Entra in one place, and a bot that answers only those who are signed in.

use std::{
    collections::{HashMap, VecDeque},
    sync::{
        Arc, LazyLock, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use aws_lc_rs::{
    rand::SystemRandom,
    rsa::{KeyPair, KeySize},
    signature::{KeyPair as _, RSA_PKCS1_SHA256},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use botframework_activity::{
    Accepted, Activity, ChannelCloud, ConnectorClient, End, HandlerError, InvokeResponse, Lease, MemoryTurnQueue,
    NewTurn, Outcome, QueueError, QueueErrorKind, Received, Turn, TurnQueue, TurnRunner,
};
use bytes::Bytes;
use entra_auth::{
    AccessTokenValidator, Authority, ConfidentialClient, HttpTransport, Key, ManualClock, MemoryStore, Partition, Put,
    Record, ReqwestTransport, RetryPolicy, Secret, StaticCredential, StaticKeys, Store, StoreError, StoreErrorKind,
    TenantPolicy, When,
};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::time::{Instant, sleep};
use tracing_subscriber::fmt::MakeWriter;
use wiremock::{Mock, MockServer, Request, ResponseTemplate, matchers::any};

use crate::{
    Access, Connection, SignIn, SignInBuilder, TokenServiceClient,
    test_support::{ADA, BOT, TENANT, invoke, message, policy, sealer, verified},
};

pub(super) const NOW: i64 = 1_795_340_000;
pub(super) const BOB: &str = "0b0b0b0b-0000-4000-8000-0000000000b0";
/// Entra connection with tokens for the bot's own registration.
pub(super) const SSO: &str = "sso";
/// Third party.
pub(super) const JIRA: &str = "jira";

static KEY: LazyLock<KeyPair> = LazyLock::new(|| KeyPair::generate(KeySize::Rsa2048).unwrap());

/// What all tests have logged. One subscriber for the process: those of single threads miss what is cached by others.
static LOG: LazyLock<Captured> = LazyLock::new(|| {
    let captured = Captured::default();
    tracing_subscriber::fmt()
        .with_env_filter("teams_sso=trace,botframework_activity=trace,entra_auth=trace")
        .with_span_events(tracing_subscriber::fmt::format::FmtSpan::FULL)
        .with_ansi(false)
        .without_time()
        .with_writer(captured.clone())
        .init();
    captured
});

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Captured {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

pub(super) fn captured_log() -> String {
    String::from_utf8(LOG.0.lock().unwrap().clone()).unwrap()
}

/// What the other side knows and does.
#[derive(Default)]
pub(super) struct Script {
    /// User and connection, and the token.
    pub(super) signed_in: HashMap<(String, String), String>,
    /// User, connection and code, and the token.
    pub(super) codes: HashMap<(String, String, String), String>,
    /// What an exchange makes of it for the user; the good token when absent.
    pub(super) issues: Option<String>,
    /// Answers to the next exchanges, before good ones.
    pub(super) exchanges: VecDeque<ResponseTemplate>,
    /// Answers to the next codes, by connection.
    pub(super) redeems: VecDeque<(String, ResponseTemplate)>,
    /// Answers to the next cards.
    pub(super) cards: VecDeque<ResponseTemplate>,
    /// How long an exchange takes.
    pub(super) slow: Duration,
    /// Every request: method, path, query, body.
    pub(super) log: Vec<(String, String, HashMap<String, String>, Value)>,
}

pub(super) struct World {
    pub(super) server: MockServer,
    pub(super) script: Arc<Mutex<Script>>,
    pub(super) clock: ManualClock,
    pub(super) sign_in: SignIn,
    pub(super) runner: TurnRunner,
    pub(super) store: Arc<Flaky<MemoryStore>>,
    pub(super) queue: Arc<Flaky<MemoryTurnQueue>>,
    messages: AtomicUsize,
}

pub(super) async fn world() -> World {
    world_with(|builder| builder).await
}

pub(super) async fn world_with(change: impl FnOnce(SignInBuilder) -> SignInBuilder) -> World {
    LazyLock::force(&LOG);
    let server = MockServer::start().await;
    let script = Arc::new(Mutex::new(Script::default()));
    let answers = {
        let (script, base) = (Arc::clone(&script), server.uri());
        move |request: &Request| script.lock().unwrap().answer(request, &base)
    };
    Mock::given(any()).respond_with(answers).mount(&server).await;

    let clock = ManualClock::at(OffsetDateTime::from_unix_timestamp(NOW).unwrap());
    let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new().unwrap());
    let bot = Arc::new(StaticCredential::new("marker-bot-token").unwrap());
    let tokens = TokenServiceClient::builder(ChannelCloud::Public, bot.clone(), Arc::clone(&transport))
        .base_url(server.uri().parse().unwrap())
        .retry(RetryPolicy::new(2, Duration::from_millis(1), Duration::from_millis(1)))
        .clock(Arc::new(clock.clone()))
        .build()
        .unwrap();
    let connector = ConnectorClient::builder(Arc::clone(&transport), bot).build().unwrap();

    let authority: Authority = format!("{}/entra", server.uri()).parse().unwrap();
    let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
    // PKCS #1: the two integers are the last members, the exponent has three bytes.
    let der = KEY.public_key().as_ref();
    let e_at = der.len() - 3;
    let (n, e) = (encode(&der[e_at - 2 - 256..e_at - 2]), encode(&der[e_at..]));
    let keys = json!({"keys": [{"kty": "RSA", "use": "sig", "kid": "k", "n": n, "e": e}]});
    let validator =
        AccessTokenValidator::builder(authority.clone(), [BOT], TenantPolicy::Single(TENANT.parse().unwrap()))
            .keys(Arc::new(StaticKeys::from_jwks(keys.to_string().as_bytes()).unwrap()))
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();
    let client =
        ConfidentialClient::builder(TENANT.parse().unwrap(), BOT.parse().unwrap(), Secret::new("marker-secret"))
            .authority(authority)
            .transport(transport)
            .clock(Arc::new(clock.clone()))
            .build()
            .unwrap();

    let store = Arc::new(Flaky::new(MemoryStore::default()));
    let queue = Arc::new(Flaky::new(MemoryTurnQueue::default()));
    let builder = SignIn::builder(tokens, connector.clone(), policy())
        .connection(Connection::on_behalf_of(SSO, validator, client, ["api://bot"]))
        .connection(Connection::opaque(JIRA))
        .durable(Arc::clone(&store) as Arc<dyn Store>, sealer())
        .clock(Arc::new(clock.clone()));
    let sign_in = change(builder).build().unwrap();

    let handler = {
        let sign_in = sign_in.clone();
        move |turn: Turn| answer(sign_in.clone(), turn)
    };
    let queue_port = Arc::clone(&queue) as Arc<dyn TurnQueue>;
    let runner = TurnRunner::durable(queue_port, sealer(), policy(), connector)
        .start(handler, |notice, _| (notice.as_str() == "failed").then(|| Activity::message("sorry")));
    sign_in.attach(&runner);
    World { server, script, clock, sign_in, runner, store, queue, messages: AtomicUsize::new(0) }
}

/// Messages that begin with a connection's name need that connection; all others the first.
async fn answer(sign_in: SignIn, turn: Turn) -> Result<Outcome, HandlerError> {
    let text = turn.activity().text.clone().unwrap_or_default();
    let connection = if text.starts_with(JIRA) { JIRA } else { SSO };
    match sign_in.token(&turn, connection).await? {
        Access::Ready(_) => Ok(Outcome::answer(Activity::message(format!("answer to {text}")))),
        Access::Parked => Ok(Outcome::Parked),
    }
}

impl World {
    pub(super) fn script(&self) -> MutexGuard<'_, Script> {
        self.script.lock().unwrap()
    }

    pub(super) fn service_url(&self) -> String {
        format!("{}/emea/", self.server.uri())
    }

    /// Ada writes.
    pub(super) async fn says(&self, text: &str) {
        self.receives(self.message(text)).await;
    }

    pub(super) fn message(&self, text: &str) -> Value {
        let number = self.messages.fetch_add(1, Ordering::SeqCst);
        message(&self.service_url(), &format!("m-{number}"), text)
    }

    pub(super) async fn receives(&self, activity: Value) {
        let received = self.runner.accept(&verified(&self.service_url(), &activity)).await.unwrap();
        assert!(matches!(received, Received::Queued), "{received:?}");
        self.idle().await;
    }

    /// Waits until no turn is left.
    pub(super) async fn idle(&self) {
        let started = Instant::now();
        while !self.queue.inner.is_empty() {
            assert!(started.elapsed() < Duration::from_secs(20), "a turn does not end");
            sleep(Duration::from_millis(5)).await;
        }
    }

    pub(super) async fn invokes(&self, name: &str, value: Value) -> InvokeResponse {
        let response = self.invokes_as(name, value, |_| ()).await;
        self.idle().await;
        response
    }

    pub(super) async fn invokes_as(&self, name: &str, value: Value, edit: impl FnOnce(&mut Value)) -> InvokeResponse {
        let mut activity = invoke(&self.service_url(), name, &value);
        edit(&mut activity);
        self.sign_in.invoke(&verified(&self.service_url(), &activity)).await.unwrap()
    }

    pub(super) async fn exchanges(&self, id: &str) -> InvokeResponse {
        let value = json!({"id": id, "connectionName": SSO, "token": "marker-sso-token"});
        self.invokes("signin/tokenExchange", value).await
    }

    pub(super) async fn verifies(&self, state: &str) -> InvokeResponse {
        self.invokes("signin/verifyState", json!({"state": state})).await
    }

    pub(super) async fn fails(&self, code: &str) -> InvokeResponse {
        self.invokes("signin/failure", json!({"code": code, "message": "marker-message"})).await
    }

    /// Lets Ada be signed in without any flow.
    pub(super) fn knows_ada(&self) {
        let token = self.token(ADA);
        self.script().signed_in.insert(("29:ada".into(), SSO.into()), token);
    }

    /// A good token of this user for the bot's registration.
    pub(super) fn token(&self, user: &str) -> String {
        token(&self.server.uri(), &json!({"oid": user}))
    }

    /// What reached the chat, in order: texts, and cards as their JSON.
    pub(super) fn posted(&self) -> Vec<Value> {
        let script = self.script();
        script.log.iter().filter(|(_, path, ..)| path.starts_with("/emea/")).map(|(.., body)| body.clone()).collect()
    }

    pub(super) fn texts(&self) -> Vec<String> {
        self.posted().iter().filter_map(|activity| activity["text"].as_str().map(str::to_owned)).collect()
    }

    /// The contents of the OAuth cards that reached the chat.
    pub(super) fn cards(&self) -> Vec<Value> {
        let is_card = |attachment: &Value| attachment["contentType"] == "application/vnd.microsoft.card.oauth";
        let posted = self.posted();
        let attachments = posted.iter().filter_map(|activity| activity["attachments"][0].as_object().cloned());
        attachments.map(Value::Object).filter(is_card).map(|card| card["content"].clone()).collect()
    }

    pub(super) fn count(&self, path: &str) -> usize {
        self.script().log.iter().filter(|(_, of_request, ..)| of_request.ends_with(path)).count()
    }
}

/// A token that Entra signed, with these claims over the good ones.
pub(super) fn token(base: &str, claims: &Value) -> String {
    let mut all = json!({
        "aud": BOT, "iss": format!("{base}/entra/{TENANT}/v2.0"), "iat": NOW, "nbf": NOW, "exp": NOW + 7200,
        "tid": TENANT, "oid": ADA, "sub": "marker-subject", "ver": "2.0", "scp": "access_as_user",
        "azp": BOT, "azpacr": "0", "name": "Ada Lovelace"
    });
    for (name, value) in claims.as_object().unwrap() {
        all[name] = value.clone();
    }
    let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    let signed = format!("{}.{}", part(&json!({"alg": "RS256", "typ": "JWT", "kid": "k"})), part(&all));
    let mut signature = vec![0; KEY.public_modulus_len()];
    KEY.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), signed.as_bytes(), &mut signature).unwrap();
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

pub(super) fn consent_required() -> ResponseTemplate {
    let body = json!({"error": {"code": "ServiceError", "message": "Consent Required"}});
    ResponseTemplate::new(400).set_body_json(body)
}

impl Script {
    fn answer(&mut self, request: &Request, base: &str) -> ResponseTemplate {
        let query: HashMap<String, String> = request.url.query_pairs().into_owned().collect();
        let path = request.url.path().to_owned();
        let body: Value = serde_json::from_slice(&request.body)
            .unwrap_or_else(|_| String::from_utf8_lossy(&request.body).into_owned().into());
        let is_card = body["attachments"].is_array();
        self.log.push((request.method.to_string(), path.clone(), query.clone(), body));
        let number = self.log.len();
        let text = |name: &str| query.get(name).cloned().unwrap_or_default();
        let (user, connection) = (text("userId"), text("connectionName"));
        let found = |token: Option<&String>| match token {
            Some(token) => ResponseTemplate::new(200).set_body_json(json!({"token": token})),
            None => ResponseTemplate::new(404),
        };
        match path.as_str() {
            "/api/usertoken/GetToken" if query.contains_key("code") => {
                if let Some(at) = self.redeems.iter().position(|(of, _)| *of == connection) {
                    return self.redeems.remove(at).unwrap().1;
                }
                let token = self.codes.remove(&(user.clone(), connection.clone(), text("code")));
                if let Some(token) = &token {
                    self.signed_in.insert((user, connection), token.clone());
                }
                found(token.as_ref())
            }
            "/api/usertoken/GetToken" => found(self.signed_in.get(&(user, connection))),
            "/api/usertoken/exchange" => {
                if let Some(answer) = self.exchanges.pop_front() {
                    return answer.set_delay(self.slow);
                }
                let good = || token(base, &json!({"oid": if user == "29:bob" { BOB } else { ADA }}));
                let token = self.issues.clone().unwrap_or_else(good);
                self.signed_in.insert((user, connection), token.clone());
                found(Some(&token)).set_delay(self.slow)
            }
            "/api/usertoken/SignOut" => {
                self.signed_in.remove(&(user, connection));
                ResponseTemplate::new(200)
            }
            "/api/botsignin/GetSignInResource" => ResponseTemplate::new(200).set_body_json(json!({
                "signInLink": format!("{base}/api/oauth/signin?signin=marker-link"),
                "tokenExchangeResource": {"id": format!("g-{number}"), "providerId": "p-1", "uri": "api://bot"}
            })),
            path if path.starts_with("/emea/") => {
                let rejected = if is_card { self.cards.pop_front() } else { None };
                rejected
                    .unwrap_or_else(|| ResponseTemplate::new(201).set_body_json(json!({"id": format!("s-{number}")})))
            }
            path if path.ends_with("/oauth2/v2.0/token") => ResponseTemplate::new(200).set_body_json(json!({
                "token_type": "Bearer", "expires_in": 3599, "access_token": "marker-graph-token"
            })),
            _ => ResponseTemplate::new(501),
        }
    }
}

/// A port that breaks at a chosen call, before or after it has acted.
#[derive(Debug)]
pub(super) struct Flaky<T> {
    pub(super) inner: T,
    /// Calls until it breaks; `usize::MAX` for never.
    left: AtomicUsize,
    after: std::sync::atomic::AtomicBool,
}

impl<T> Flaky<T> {
    fn new(inner: T) -> Self {
        Self { inner, left: AtomicUsize::new(usize::MAX), after: false.into() }
    }

    /// Breaks once, at the call with this number from now.
    pub(super) fn breaks_at(&self, call: usize, after: bool) {
        self.after.store(after, Ordering::SeqCst);
        self.left.store(call, Ordering::SeqCst);
    }

    /// Breaks no more; whether it broke.
    pub(super) fn heals(&self) -> bool {
        self.left.swap(usize::MAX, Ordering::SeqCst) == usize::MAX
    }

    /// Whether this call breaks.
    fn breaks(&self) -> bool {
        let left = self.left.load(Ordering::SeqCst);
        if left == usize::MAX {
            return false;
        }
        self.left.store(left.checked_sub(1).unwrap_or(usize::MAX), Ordering::SeqCst);
        left == 0
    }

    async fn call<R, E>(&self, error: E, call: impl Future<Output = Result<R, E>>) -> Result<R, E> {
        match self.breaks() {
            false => call.await,
            true if self.after.load(Ordering::SeqCst) => {
                let _ = call.await;
                Err(error)
            }
            true => Err(error),
        }
    }
}

#[async_trait]
impl Store for Flaky<MemoryStore> {
    async fn get(&self, key: &Key) -> Result<Option<Record>, StoreError> {
        self.call(StoreErrorKind::Timeout.into(), self.inner.get(key)).await
    }

    async fn put(&self, key: &Key, value: Bytes, ttl: Duration, when: When<'_>) -> Result<Put, StoreError> {
        self.call(StoreErrorKind::Timeout.into(), self.inner.put(key, value, ttl, when)).await
    }

    async fn remove(&self, key: &Key, when: When<'_>) -> Result<bool, StoreError> {
        self.call(StoreErrorKind::Timeout.into(), self.inner.remove(key, when)).await
    }

    async fn remove_partition(&self, partition: &Partition) -> Result<(), StoreError> {
        self.call(StoreErrorKind::Timeout.into(), self.inner.remove_partition(partition)).await
    }
}

#[async_trait]
impl TurnQueue for Flaky<MemoryTurnQueue> {
    async fn accept(&self, turn: NewTurn) -> Result<Accepted, QueueError> {
        self.call(QueueErrorKind::Timeout.into(), self.inner.accept(turn)).await
    }

    async fn lease(&self, wait: Duration) -> Result<Option<Lease>, QueueError> {
        self.inner.lease(wait).await
    }

    async fn checkpoint(&self, lease: &Lease, progress: Option<Bytes>) -> Result<(), QueueError> {
        self.inner.checkpoint(lease, progress).await
    }

    async fn finish(&self, lease: Lease, end: End) -> Result<(), QueueError> {
        self.inner.finish(lease, end).await
    }
}
