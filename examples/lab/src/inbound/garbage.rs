//! G4: requests that anybody can send, none of which needs a key to be refused.

use std::{
    hint::black_box,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use botframework_activity::{ChannelAuthenticator, ChannelKeys};
use bytes::Bytes;
use entra_auth::{
    Body, Clock, HttpTransport, JwksClient, KeyError, KeyLookup, KeySource, SigningKey, TenantPolicy, TransportError,
};
use http::{HeaderMap, HeaderValue, Request, Response, header::AUTHORIZATION};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::runtime::Builder;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, API, EPOCH, Signer, TENANT, WorldClock, median},
};

/// How many requests.
pub const REQUESTS: Setting = Setting::new("n", "5000000", "16000");

const MIB: usize = 1 << 20;
const GROWTH: usize = 4 * MIB;
/// Refusing may cost so many times what decoding and parsing of the header costs.
const RATIO: f64 = 1.5;
/// Requests are made and refused in groups of so many: making them is not measured, and they are as near to the processor
/// as a request is that has just been read.
const GROUP: usize = 40;
const ISSUER: &str = "https://api.botframework.com";

/// Judges requests by their headers.
#[async_trait]
pub trait Gate: Send + Sync {
    /// How many of these requests it lets in.
    async fn let_in(&self, requests: &[HeaderMap]) -> usize;
}

/// Makes what judges requests, with the keys of the channel and the clock.
pub type MakeGate = fn(Arc<dyn KeySource>, Arc<dyn Clock>) -> Result<Arc<dyn Gate>, Fault>;

#[async_trait]
impl Gate for ChannelAuthenticator {
    async fn let_in(&self, requests: &[HeaderMap]) -> usize {
        let mut count = 0;
        for headers in requests {
            count += usize::from(self.authenticate(headers).await.is_ok());
        }
        count
    }
}

/// The authenticator of the crate with its defaults.
///
/// # Errors
///
/// Never, unless the crate changed.
pub fn authenticator(keys: Arc<dyn KeySource>, clock: Arc<dyn Clock>) -> Result<Arc<dyn Gate>, Fault> {
    let policy = TenantPolicy::Single(TENANT.parse()?);
    Ok(Arc::new(ChannelAuthenticator::builder(API.parse()?, policy, ChannelKeys::source(keys)).clock(clock).build()?))
}

/// Measures the authenticator of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, authenticator)
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeGate) -> Result<Outcome, Fault> {
    let requests = options.number(&REQUESTS)?;
    Builder::new_current_thread().enable_all().build()?.block_on(async {
        let signer = Signer::new("channel-1")?;
        let clock: Arc<dyn Clock> = Arc::new(WorldClock::new());
        let metadata = Arc::new(Metadata::new(&signer));
        let client = JwksClient::builder("https://login.botframework.com/v1/.well-known/openidconfiguration".parse()?)
            .transport(metadata.clone())
            .clock(Arc::clone(&clock))
            .expected_issuer(ISSUER)
            .build()?;
        let keys = Arc::new(Counted { keys: client, lookups: AtomicU64::new(0) });
        let gate = make(keys.clone(), clock)?;
        let mut garbage = Garbage { random: Random::new(options.seed), good: claims() };
        let mut found = Found::default();
        // What is set up once is no growth.
        for depth in [Depth::Form, Depth::Header, Depth::Claims].repeat(10) {
            found.group(&*gate, &mut garbage, depth).await;
        }
        found = Found::default();
        let start = world::resident();
        let mut peak = start;
        while found.requests < requests {
            for _ in 0..25 {
                for depth in [Depth::Form, Depth::Header, Depth::Header, Depth::Claims] {
                    found.group(&*gate, &mut garbage, depth).await;
                }
            }
            peak = peak.max(world::resident());
        }
        let growth = peak.saturating_sub(start);
        let (lookups, outbound) = (keys.lookups.load(Ordering::Relaxed), metadata.requests.load(Ordering::Relaxed));
        // The same gate opens for the channel itself, and asks for its keys only then.
        let good = gate.let_in(&[bearer(&signer.sign(&claims())?)?]).await;
        let fetched = metadata.requests.load(Ordering::Relaxed) - outbound;
        let [form, header, both] = [&mut found.form, &mut found.header, &mut found.claims].map(|times| median(times));
        let shape = found.spent.as_secs_f64() / found.shaped.max(1) as f64;
        Ok(Outcome::new(round(form.max(header)), RATIO)
            .require("no outbound request", outbound == 0)
            .require("no key is looked up, so no signature is checked", lookups == 0)
            .require("nothing is let in", found.let_in == 0)
            .require("memory grows by at most 4 MiB", growth <= GROWTH)
            .require("what is refused for its form costs at most 1.5x decoding and parsing a header", form <= RATIO)
            .require("what is refused for its header costs at most 1.5x decoding and parsing it", header <= RATIO)
            .require("a good token is let in", good == 1 && fetched > 0)
            .note("requests", found.requests)
            .note("outbound_requests", outbound)
            .note("key_lookups", lookups)
            .note("growth_kib", growth >> 10)
            .note("form_ratio", round(form))
            .note("header_ratio", round(header))
            .note("claims_ratio", round(both))
            .note("bad_shape_per_second", (1.0 / shape.max(1e-12)) as u64))
    })
}

fn round(ratio: f64) -> f64 {
    (ratio * 100.0).round() / 100.0
}

/// How far a request gets before it is refused.
#[derive(Clone, Copy, Debug)]
enum Depth {
    /// It carries no token, or nothing in the form of one.
    Form,
    /// The token's header says enough.
    Header,
    /// Its claims do.
    Claims,
}

#[derive(Default)]
struct Found {
    requests: usize,
    let_in: usize,
    /// The ratio of each group to the reference.
    form: Vec<f64>,
    header: Vec<f64>,
    claims: Vec<f64>,
    /// What all groups but those with claims took, and how many requests they had.
    spent: Duration,
    shaped: usize,
}

impl Found {
    async fn group(&mut self, gate: &dyn Gate, garbage: &mut Garbage, depth: Depth) {
        let group: Vec<HeaderMap> = (0..GROUP).map(|_| garbage.request(depth)).collect();
        // The reference for whatever has no header at all is the header of those that have one.
        let tokens: Vec<String> = (0..GROUP)
            .map(|_| garbage.token(if matches!(depth, Depth::Form) { Depth::Header } else { depth }))
            .collect();
        let start = world::thread_cpu();
        let let_in = gate.let_in(&group).await;
        let spent = world::thread_cpu().saturating_sub(start);
        let start = world::thread_cpu();
        for token in &tokens {
            black_box(reference(token, matches!(depth, Depth::Claims)));
        }
        let ratio = spent.as_secs_f64() / world::thread_cpu().saturating_sub(start).as_secs_f64().max(1e-9);
        self.requests += group.len();
        self.let_in += let_in;
        match depth {
            Depth::Form => self.form.push(ratio),
            Depth::Header => self.header.push(ratio),
            Depth::Claims => return self.claims.push(ratio),
        }
        self.spent += spent;
        self.shaped += group.len();
    }
}

/// What every library does that reads a token: decode the header and parse it, with the members of RFC 7515 section 4.1;
/// then the same with the claims.
fn reference(token: &str, claims: bool) -> usize {
    #[derive(Deserialize, Default, PartialEq)]
    struct Head {
        alg: Option<String>,
        kid: Option<String>,
        typ: Option<String>,
        cty: Option<String>,
        jku: Option<String>,
        jwk: Option<Value>,
        x5u: Option<String>,
        x5c: Option<Vec<String>>,
        x5t: Option<String>,
        #[serde(rename = "x5t#S256")]
        x5t_s256: Option<String>,
        crit: Option<Vec<String>>,
    }
    #[derive(Deserialize)]
    struct Said {
        iss: Option<String>,
        aud: Option<String>,
        serviceurl: Option<String>,
        exp: Option<f64>,
        nbf: Option<f64>,
    }

    let mut parts = token.split('.');
    let mut decoded = || parts.next().and_then(|part| URL_SAFE_NO_PAD.decode(part).ok());
    let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
    let Some(header) = decoded() else { return 0 };
    let Ok(head) = serde_json::from_slice::<Head>(&header) else { return 0 };
    let mut sum = length(&head.alg) + length(&head.kid) + length(&head.typ) + usize::from(head != Head::default());
    if claims && let Some(payload) = decoded() {
        let Ok(said) = serde_json::from_slice::<Said>(&payload) else { return sum };
        sum += length(&said.iss) + length(&said.aud) + length(&said.serviceurl);
        sum += usize::from(said.exp > said.nbf);
    }
    sum
}

/// The claims of a good token.
fn claims() -> Value {
    json!({
        "serviceurl": "https://smba.trafficmanager.net/amer/11111111-1111-1111-1111-111111111111", "nbf": EPOCH - 60,
        "exp": EPOCH + 3540, "iss": ISSUER, "aud": API,
    })
}

fn bearer(token: &str) -> Result<HeaderMap, Fault> {
    Ok(HeaderMap::from_iter([(AUTHORIZATION, HeaderValue::try_from(format!("Bearer {token}"))?)]))
}

/// Makes requests that are refused without any key.
struct Garbage {
    random: Random,
    good: Value,
}

impl Garbage {
    fn request(&mut self, depth: Depth) -> HeaderMap {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert("host", HeaderValue::from_static("bot.example.com"));
        headers.insert("content-type", HeaderValue::from_static("application/json; charset=utf-8"));
        let mut put = |text: String| {
            if let Ok(value) = HeaderValue::try_from(text) {
                headers.append(AUTHORIZATION, value);
            }
        };
        let token = self.token(depth);
        if !matches!(depth, Depth::Form) {
            put(format!("Bearer {token}"));
            return headers;
        }
        match self.random.below(8) {
            0 => {}
            1 => {
                put(format!("Bearer {token}"));
                put(format!("Bearer {token}"));
            }
            2 => put(format!("Basic {token}")),
            3 => put("Bearer".into()),
            4 => put(format!("Bearer {token} {token}")),
            5 => put(format!("Bearer {}", "A".repeat(17 << 10))),
            6 => put(format!("Bearer {}", token.replace('.', "-"))),
            _ => put(format!("Bearer {token}.{token}")),
        }
        headers
    }

    /// Three parts, the last one as long as a signature.
    fn token(&mut self, depth: Depth) -> String {
        let header = match depth {
            Depth::Claims => json!({"typ": "JWT", "alg": "RS256", "kid": self.kid()}).to_string(),
            Depth::Form | Depth::Header => self.header(),
        };
        let payload = match depth {
            Depth::Claims => self.payload(),
            Depth::Form | Depth::Header => self.good.to_string(),
        };
        format!(
            "{}.{}.{}",
            URL_SAFE_NO_PAD.encode(header),
            URL_SAFE_NO_PAD.encode(payload),
            URL_SAFE_NO_PAD.encode(self.random.bytes(256))
        )
    }

    fn kid(&mut self) -> String {
        format!("{:016x}{:016x}", self.random.next(), self.random.next())
    }

    fn header(&mut self) -> String {
        let kid = self.kid();
        match self.random.below(9) {
            0 => json!({"typ": "JWT", "alg": "none", "kid": kid}).to_string(),
            1 => json!({"typ": "JWT", "alg": "HS256", "kid": kid}).to_string(),
            2 => json!({"typ": "JWT", "alg": "rs256", "kid": kid}).to_string(),
            3 => json!({"typ": "JWT", "alg": "RS256", "kid": kid, "crit": ["b64"]}).to_string(),
            4 => json!({"typ": "dpop+jwt", "alg": "RS256", "kid": kid}).to_string(),
            5 => json!({"typ": "JWT", "alg": "RS256", "x5t": kid}).to_string(),
            6 => json!({"typ": "JWT", "alg": "RS256", "kid": kid, "nonce": kid}).to_string(),
            7 => format!(r#"{{"typ":"JWT","alg":"RS256","alg":"none","kid":"{kid}"}}"#),
            _ => format!(r#"["typ","JWT","alg","RS256","kid","{kid}"]"#),
        }
    }

    fn payload(&mut self) -> String {
        let mut claims = self.good.clone();
        let mut set = |name: &str, value: Value| {
            if let Some(claims) = claims.as_object_mut() {
                claims.insert(name.into(), value);
            }
        };
        match self.random.below(7) {
            0 => set("iss", "https://sts.windows.net/11111111-1111-1111-1111-111111111111/".into()),
            1 => set("aud", "ffffffff-0000-0000-0000-00000000000f".into()),
            2 => set("exp", (EPOCH - 3600).into()),
            3 => set("nbf", (EPOCH + 3600).into()),
            4 => set("exp", "soon".into()),
            5 => set("iss", json!([ISSUER])),
            _ => return claims.to_string().replacen('{', r#"{"aud":"x","#, 1),
        }
        claims.to_string()
    }
}

/// The channel's metadata, which counts who asks.
#[derive(Debug)]
struct Metadata {
    keys: Bytes,
    requests: AtomicU64,
}

impl Metadata {
    fn new(signer: &Signer) -> Self {
        Self { keys: signer.channel_jwks().into(), requests: AtomicU64::new(0) }
    }
}

#[async_trait]
impl HttpTransport for Metadata {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let document = json!({"issuer": ISSUER, "jwks_uri": "https://login.botframework.com/v1/.well-known/keys"});
        let body = match request.uri().path().ends_with("/keys") {
            true => self.keys.clone(),
            false => document.to_string().into(),
        };
        Ok(Response::new(Body::from(body)))
    }
}

/// Counts who looks for keys: nobody checks a signature without one.
#[derive(Debug)]
struct Counted<K> {
    keys: K,
    lookups: AtomicU64,
}

#[async_trait]
impl<K: KeySource> KeySource for Counted<K> {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        self.lookups.fetch_add(1, Ordering::Relaxed);
        self.keys.key(lookup).await
    }

    fn revision(&self) -> u64 {
        self.keys.revision()
    }
}
