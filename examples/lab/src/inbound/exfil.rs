//! G18: addresses that others choose, and where tokens go then.
//!
//! Each [`Door`] takes an address from outside: the service URL of an activity, the address of an attachment, the
//! endpoint of a project, an authority, the target of a redirect. What leaves is recorded where it would leave, and
//! judged by rules of this file, which know nothing of the crates.

use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use botframework_activity::{Activity, ChannelAuthenticator, ChannelKeys, ConnectorClient, ServiceUrl};
use entra_auth::{
    Authority, Body, ConfidentialClient, HttpTransport, ReqwestTransport, RetryPolicy, Secret, StaticCredential,
    StaticKeys, TenantPolicy, TokenCredential as _, TransportError, TransportErrorKind,
};
use foundry_client::{CreateResponse, FoundryClient};
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};
use url::{Host, Url};

use super::hostile;
use crate::{
    Fault, Options, Outcome, Setting,
    world::{self, API, EPOCH, Signer, TENANT, WorldClock},
};

/// How many addresses; all there are by default.
pub const URLS: Setting = Setting::new("urls", "1000", "1000");

/// What the seeds of all tokens and secrets of this run have in common.
const CANARY: &str = "canary-of-this-run";
/// How many of the addresses that led astray are printed.
const SHOWN: usize = 10;
/// The least that the corpus holds.
const LEAST: usize = 300;
/// Where redirects start. Nothing listens there: the recorder stands between.
const START: &str = "http://127.0.0.1:9";
const STORE: &str = "https://smba.trafficmanager.net/amer";

/// Something that takes an address from outside.
#[async_trait]
pub trait Door: Send {
    /// Gives it one, and uses what it makes of it.
    async fn offer(&mut self, url: &str);
}

/// Makes a door; whatever leaves by it is written down there.
pub type MakeDoor = fn(Arc<Log>) -> Result<Box<dyn Door>, Fault>;

/// One row of the table.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Which address it is about.
    pub name: &'static str,
    /// An address that must work, so that a door which is simply shut does not pass.
    pub good: &'static str,
    /// Makes it.
    pub make: MakeDoor,
    /// Where requests may go.
    pub allows: fn(&Url) -> bool,
    /// Where tokens may go.
    pub trusts: fn(&Url) -> bool,
}

/// The ways in.
pub const DOORS: &[Row] = &[
    Row { name: "service_url", good: STORE, make: service_url, allows: is_connector, trusts: is_connector },
    Row {
        name: "attachment",
        good: "https://smba.trafficmanager.net/amer/v3/attachments/1/views/original",
        make: attachment,
        allows: |url| is_store(url) || is_file(url),
        trusts: is_store,
    },
    Row {
        name: "project",
        good: "https://account.services.ai.azure.com/api/projects/project",
        make: project,
        allows: |url| is_foundry(url) || is_here(url),
        trusts: |url| is_foundry(url) || is_here(url),
    },
    Row {
        name: "authority",
        good: "https://login.microsoftonline.com",
        make: authority,
        allows: |url| is_authority(url) || is_here(url),
        trusts: |url| is_authority(url) || is_here(url),
    },
    Row { name: "redirect", good: "http://127.0.0.1:9/", make: redirect, allows: is_start, trusts: is_start },
];

/// Measures the crates.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, DOORS)
}

/// Measures these doors.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, doors: &[Row]) -> Result<Outcome, Fault> {
    let mut urls = hostile::urls();
    let there = urls.len();
    urls.truncate(options.number(&URLS)?);
    world::real()?.block_on(async {
        let (mut leaks, mut secrets, mut requests) = (0, 0, 0);
        let (mut shut, mut astray) = (Vec::new(), Vec::new());
        let mut details = serde_json::Map::new();
        for row in doors {
            let log = Arc::new(Log::default());
            let mut door = (row.make)(Arc::clone(&log))?;
            door.offer(row.good).await;
            let good = log.take();
            if !good.iter().any(|sent| sent.secret && sent.goes(row.trusts)) {
                shut.push(row.name);
            }
            let (mut of_door, mut elsewhere, mut exposed) = (0, 0, 0);
            for url in &urls {
                door.offer(url).await;
                for sent in log.take() {
                    of_door += 1;
                    let (left, exposing) = (!sent.goes(row.allows), sent.secret && !sent.goes(row.trusts));
                    elsewhere += u64::from(left);
                    exposed += u64::from(exposing);
                    if (left || exposing) && astray.len() < SHOWN {
                        astray.push(format!("{}: {url}", row.name));
                    }
                }
            }
            details.insert(
                row.name.into(),
                json!({"requests": of_door, "elsewhere": elsewhere, "credentials_elsewhere": exposed}),
            );
            requests += of_door;
            leaks += elsewhere;
            secrets += exposed;
        }
        Ok(Outcome::new(leaks + secrets, 0)
            .require("no request leaves for a host that is not allowed", leaks == 0)
            .require("no credential leaves for a host that is not trusted", secrets == 0)
            .require("every door opens for a good address", shut.is_empty())
            .require("there are at least 300 addresses", there >= LEAST)
            .note("urls", urls.len())
            .note("doors", doors.len())
            .note("requests_to_allowed_hosts", requests - leaks)
            .note("requests_elsewhere", leaks)
            .note("credentials_elsewhere", secrets)
            .note("astray", astray)
            .note("by_door", Value::Object(details)))
    })
}

/// Connectors of the public cloud.
fn is_connector(url: &Url) -> bool {
    let names = ["smba.trafficmanager.net", "smba.infra.gcc.teams.microsoft.com"];
    is_https(url) && (names.contains(&name(url)) || is_below(url, "botframework.com"))
}

/// The store of the connector that the activity came from.
fn is_store(url: &Url) -> bool {
    is_https(url) && name(url) == "smba.trafficmanager.net" && url.path().starts_with("/amer/v3/attachments/")
}

/// Where users of the public cloud keep files.
fn is_file(url: &Url) -> bool {
    is_https(url) && (is_below(url, "sharepoint.com") || is_below(url, "svc.ms"))
}

/// Hosts of the service, at whatever port: nobody else can listen there.
fn is_foundry(url: &Url) -> bool {
    let services = ["services.ai", "cognitiveservices", "openai"];
    let clouds = ["azure.com", "azure.us", "azure.cn"];
    let domain = |service: &&str| clouds.iter().any(|cloud| is_below(url, &format!("{service}.{cloud}")));
    url.scheme() == "https" && url.username().is_empty() && services.iter().any(domain)
}

fn is_authority(url: &Url) -> bool {
    let names = [
        "login.microsoftonline.com",
        "login.microsoft.com",
        "login.windows.net",
        "login.microsoftonline.us",
        "login.partner.microsoftonline.cn",
    ];
    is_https(url) && (names.contains(&name(url)) || is_below(url, "ciamlogin.com"))
}

/// The start of all redirects, and nothing else on this machine.
fn is_start(url: &Url) -> bool {
    url.as_str().starts_with("http://127.0.0.1:9/")
}

/// This machine, for development.
fn is_here(url: &Url) -> bool {
    let host = match url.host() {
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        None => false,
    };
    host && matches!(url.scheme(), "http" | "https")
}

fn is_https(url: &Url) -> bool {
    url.scheme() == "https" && url.port().is_none() && url.username().is_empty() && url.password().is_none()
}

fn name(url: &Url) -> &str {
    url.host_str().unwrap_or_default().trim_end_matches('.')
}

fn is_below(url: &Url, domain: &str) -> bool {
    name(url).strip_suffix(domain).is_some_and(|rest| rest.len() > 1 && rest.ends_with('.'))
}

/// What has left.
#[derive(Debug, Default)]
pub struct Log(Mutex<Vec<Sent>>);

/// One request.
#[derive(Debug)]
struct Sent {
    /// `None` when the target is none that this file can read.
    url: Option<Url>,
    /// A token or secret of this run was in it.
    secret: bool,
}

impl Sent {
    fn goes(&self, to: fn(&Url) -> bool) -> bool {
        self.url.as_ref().is_some_and(to)
    }
}

impl Log {
    fn write(&self, target: &str, secret: bool) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Sent { url: Url::parse(target).ok(), secret });
    }

    fn take(&self) -> Vec<Sent> {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

fn carries(headers: &HeaderMap, body: &[u8]) -> bool {
    let has = |bytes: &[u8]| bytes.windows(CANARY.len()).any(|part| part == CANARY.as_bytes());
    headers.values().any(|value| has(value.as_bytes())) || has(body)
}

/// A transport that writes down what it is given and answers so that nothing is repeated.
#[derive(Debug)]
pub struct Recorder(pub Arc<Log>);

#[async_trait]
impl HttpTransport for Recorder {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (parts, body) = request.into_parts();
        let body = body.collect(1 << 20).await?;
        self.0.write(&parts.uri.to_string(), carries(&parts.headers, &body));
        let answer =
            Response::builder().status(StatusCode::BAD_REQUEST).header(header::CONTENT_TYPE, "application/json");
        let body = json!({"error": "invalid_client", "error_description": "AADSTS7000215"}).to_string();
        answer.body(Body::from(body)).map_err(|_| TransportErrorKind::Other.into())
    }
}

fn token() -> Result<Arc<StaticCredential>, Fault> {
    Ok(Arc::new(StaticCredential::new(format!("{CANARY}.token"))?))
}

fn connector(transport: Arc<dyn HttpTransport>) -> Result<ConnectorClient, Fault> {
    Ok(ConnectorClient::builder(transport, token()?).retry(RetryPolicy::never()).build()?)
}

fn client(transport: Arc<dyn HttpTransport>, authority: Authority) -> Result<ConfidentialClient, Fault> {
    let secret = Secret::new(format!("{CANARY}.secret"));
    let builder = ConfidentialClient::builder(TENANT.parse()?, API.parse()?, secret);
    Ok(builder.authority(authority).transport(transport).retry(RetryPolicy::never()).build()?)
}

fn foundry(transport: Arc<dyn HttpTransport>, endpoint: &str) -> Result<FoundryClient, Fault> {
    let builder = FoundryClient::builder(endpoint).credential(token()?).transport(transport);
    Ok(builder.retry(RetryPolicy::never()).build()?)
}

fn message(service_url: &str, attachments: &Value) -> Value {
    json!({
        "type": "message", "id": "1", "channelId": "msteams", "serviceUrl": service_url, "text": "hello",
        "from": {"id": "29:1"}, "recipient": {"id": "28:bot"}, "attachments": attachments,
        "conversation": {"id": "a:1", "tenantId": TENANT}, "channelData": {"tenant": {"id": TENANT}},
    })
}

/// The channel itself signs the address: whoever gets it to do so, or a stolen key, gets no further.
struct Channel {
    signer: Signer,
    authenticator: ChannelAuthenticator,
    connector: ConnectorClient,
}

impl Channel {
    fn new(log: Arc<Log>) -> Result<Self, Fault> {
        let signer = Signer::new("channel-1")?;
        let keys = StaticKeys::from_jwks(&signer.channel_jwks())?;
        let policy = TenantPolicy::Single(TENANT.parse()?);
        let authenticator = ChannelAuthenticator::builder(API.parse()?, policy, ChannelKeys::source(Arc::new(keys)))
            .clock(Arc::new(WorldClock::new()))
            .build()?;
        Ok(Self { signer, authenticator, connector: connector(Arc::new(Recorder(log)))? })
    }

    /// Answers a message with this address, when it gets in, and fetches what it brings.
    async fn receive(&self, signed: &str, activity: &Value) -> Result<(), Fault> {
        let claims = json!({
            "serviceurl": signed, "nbf": EPOCH - 60, "exp": EPOCH + 3540, "iss": "https://api.botframework.com",
            "aud": API,
        });
        let token = HeaderValue::try_from(format!("Bearer {}", self.signer.sign(&claims)?))?;
        let token = self.authenticator.authenticate(&HeaderMap::from_iter([(header::AUTHORIZATION, token)])).await?;
        let verified = token.open(activity.to_string().as_bytes())?;
        for attachment in &verified.attachments {
            let _ = self.connector.download(verified.service_url(), attachment).await;
        }
        if verified.attachments.is_empty() {
            let answer = Activity::message("hello").reply_to(&verified);
            let _ = self.connector.reply(verified.service_url(), &answer).await;
            let _ = self.connector.delete(verified.service_url(), "a:1", "1").await;
        }
        Ok(())
    }
}

struct ServiceUrlDoor(Channel);

fn service_url(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    Ok(Box::new(ServiceUrlDoor(Channel::new(log)?)))
}

#[async_trait]
impl Door for ServiceUrlDoor {
    async fn offer(&mut self, url: &str) {
        let activity = message(url, &json!([]));
        let _ = self.0.receive(url, &activity).await;
        let _ = self.0.receive(STORE, &activity).await;
    }
}

struct AttachmentDoor(Channel);

fn attachment(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    Ok(Box::new(AttachmentDoor(Channel::new(log)?)))
}

#[async_trait]
impl Door for AttachmentDoor {
    async fn offer(&mut self, url: &str) {
        let kind = "application/vnd.microsoft.teams.file.download.info";
        let attachments = json!([
            {"contentType": "image/png", "contentUrl": url},
            {"contentType": kind, "content": {"downloadUrl": url, "uniqueId": "1", "fileType": "txt"}},
        ]);
        let _ = self.0.receive(STORE, &message(STORE, &attachments)).await;
    }
}

struct ProjectDoor(Arc<Recorder>);

fn project(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    Ok(Box::new(ProjectDoor(Arc::new(Recorder(log)))))
}

#[async_trait]
impl Door for ProjectDoor {
    async fn offer(&mut self, url: &str) {
        for url in [url.to_owned(), format!("{}/api/projects/project", url.trim_end_matches('/'))] {
            if let Ok(client) = foundry(self.0.clone(), &url) {
                let _ = client.responses().create(CreateResponse::new().text("hello")).await;
            }
        }
    }
}

struct AuthorityDoor(Arc<Recorder>);

fn authority(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    Ok(Box::new(AuthorityDoor(Arc::new(Recorder(log)))))
}

#[async_trait]
impl Door for AuthorityDoor {
    async fn offer(&mut self, url: &str) {
        let made = url.parse().map_err(Fault::from).and_then(|authority| client(self.0.clone(), authority));
        if let (Ok(client), Ok(request)) = (made, world::request("https://graph.microsoft.com/.default")) {
            let _ = client.get_token(&request).await;
        }
    }
}

/// Makes a transport that sends everything through the proxy which the builder names.
pub type MakeTransport = fn(reqwest::ClientBuilder) -> Result<Arc<dyn HttpTransport>, Fault>;

/// The clients over a real transport, which a proxy leads astray.
struct RedirectDoor {
    target: Arc<Mutex<HeaderValue>>,
    at: ServiceUrl,
    connector: ConnectorClient,
    foundry: FoundryClient,
    transport: Arc<dyn HttpTransport>,
    proxy: JoinHandle<()>,
}

fn redirect(log: Arc<Log>) -> Result<Box<dyn Door>, Fault> {
    redirected(log, |builder| Ok(Arc::new(ReqwestTransport::from_builder(builder)?)))
}

/// The door of redirects, over the transport that `make` makes.
///
/// # Errors
///
/// When the proxy cannot be started.
pub fn redirected(log: Arc<Log>, make: MakeTransport) -> Result<Box<dyn Door>, Fault> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    let address = listener.local_addr()?;
    let target = Arc::new(Mutex::new(HeaderValue::from_static(START)));
    let proxy = tokio::spawn(lead_astray(TcpListener::from_std(listener)?, log, Arc::clone(&target)));
    let transport = make(reqwest::Client::builder().proxy(reqwest::Proxy::all(format!("http://{address}"))?))?;
    Ok(Box::new(RedirectDoor {
        target,
        at: ServiceUrl::loopback_dev(START)?,
        connector: connector(Arc::clone(&transport))?,
        foundry: foundry(Arc::clone(&transport), &format!("{START}/api/projects/project"))?,
        transport,
        proxy,
    }))
}

#[async_trait]
impl Door for RedirectDoor {
    async fn offer(&mut self, url: &str) {
        // Bytes above ASCII go as they are: that is what a hostile server would send.
        let Ok(target) = HeaderValue::from_bytes(url.as_bytes()) else { return };
        *self.target.lock().unwrap_or_else(PoisonError::into_inner) = target;
        let _ = self.connector.delete(&self.at, "a:1", "1").await;
        let _ = self.connector.attachment_view(&self.at, "1", "original").await;
        let _ = self.foundry.responses().create(CreateResponse::new().text("hello")).await;
        // A client of its own each time: what it has learnt from one answer is not used for the next.
        let client = START.parse().map_err(Fault::from).and_then(|at| client(Arc::clone(&self.transport), at));
        if let (Ok(client), Ok(request)) = (client, world::request("https://graph.microsoft.com/.default")) {
            let _ = client.get_token(&request).await;
        }
    }
}

impl Drop for RedirectDoor {
    fn drop(&mut self) {
        self.proxy.abort();
    }
}

/// Writes down every request and answers those to the start with a redirect; tunnels are not opened.
async fn lead_astray(listener: TcpListener, log: Arc<Log>, target: Arc<Mutex<HeaderValue>>) {
    let mut count = 0_usize;
    while let Ok((stream, _)) = listener.accept().await {
        let (log, target) = (Arc::clone(&log), Arc::clone(&target));
        count += 1;
        let first = count;
        tokio::spawn(async move {
            let served = std::sync::atomic::AtomicUsize::new(first);
            let service = service_fn(|request: Request<Incoming>| {
                let (log, target) = (Arc::clone(&log), Arc::clone(&target));
                let turn = served.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                async move { answer(request, &log, &target, turn).await }
            });
            // A client that goes away is its own affair.
            let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
        });
    }
}

async fn answer(
    request: Request<Incoming>,
    log: &Log,
    target: &Mutex<HeaderValue>,
    turn: usize,
) -> Result<Response<Full<bytes::Bytes>>, hyper::Error> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let asked = match parts.method {
        // A tunnel is asked for by host and port alone.
        http::Method::CONNECT => format!("https://{}/", parts.uri),
        _ => parts.uri.to_string(),
    };
    log.write(&asked, carries(&parts.headers, &body));
    let mut answer = Response::new(Full::default());
    if Url::parse(&asked).is_ok_and(|url| is_start(&url)) {
        let statuses = [301, 302, 303, 307, 308].map(|status| StatusCode::from_u16(status).unwrap_or_default());
        *answer.status_mut() = statuses.get(turn % statuses.len()).copied().unwrap_or_default();
        let target = target.lock().unwrap_or_else(PoisonError::into_inner).clone();
        answer.headers_mut().insert(header::LOCATION, target);
    } else {
        *answer.status_mut() = StatusCode::FORBIDDEN;
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rules_of_the_judge() {
        let judge = |rule: fn(&Url) -> bool, url: &str| rule(&Url::parse(url).unwrap());
        assert!(judge(is_connector, "https://smba.trafficmanager.net/amer"));
        assert!(judge(is_connector, "https://webchat.botframework.com/"));
        for bad in [
            "https://evil.trafficmanager.net/",
            "https://smba.trafficmanager.net.evil.example/",
            "https://evilbotframework.com/",
            "https://botframework.com/",
            "http://smba.trafficmanager.net/",
            "https://smba.trafficmanager.net:8443/",
            "https://a@smba.trafficmanager.net/",
        ] {
            assert!(!judge(is_connector, bad), "{bad}");
        }
        assert!(
            judge(is_file, "https://contoso.sharepoint.com/a") && !judge(is_store, "https://contoso.sharepoint.com/a")
        );
        assert!(judge(is_foundry, "https://a.openai.azure.us/") && !judge(is_foundry, "https://openai.azure.us/"));
        assert!(judge(is_authority, "https://login.microsoft.com/") && judge(is_here, "http://[::1]:5/"));
        assert!(!judge(is_here, "http://[::ffff:127.0.0.1]/") && !judge(is_here, "http://localhost.evil.example/"));
        assert!(judge(is_start, "http://127.0.0.1:9/x") && !judge(is_start, "http://127.0.0.1:90/x"));
    }

    #[test]
    fn the_corpus_is_as_large_as_the_goal_wants() {
        assert!(hostile::urls().len() >= LEAST, "{}", hostile::urls().len());
    }
}
