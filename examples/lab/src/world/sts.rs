use std::{
    borrow::Cow,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use entra_auth::{AccessToken, Body, HttpTransport, TransportError, TransportErrorKind};
use http::{Request, Response};
use tokio::{sync::watch, time::Instant};

use super::EPOCH;
use crate::Random;

/// A token endpoint. Its tokens say for whom they are, so that whoever gets somebody else's is found out.
#[derive(Debug)]
pub struct Sts {
    start: Instant,
    state: Mutex<State>,
    serial: AtomicU64,
    gate: watch::Sender<bool>,
    token_bytes: usize,
}

#[derive(Debug)]
struct State {
    behaviour: Behaviour,
    random: Random,
    /// When requests came; the first ones, so that a million leave no trace in memory.
    times: Vec<Duration>,
    answered: Option<Instant>,
}

const TIMES: usize = 10_000;

/// What it does with requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    /// Answers with a token after this time.
    After(Duration),
    /// Answers with a token after a random time up to this.
    Within(Duration),
    /// Answers with a token once [`Sts::open`] was called.
    Held,
    /// Answers with this status and no body.
    Status(u16),
    /// The connection is refused.
    Refuses,
    /// Takes the request and never answers.
    Hangs,
}

impl Behaviour {
    /// Answers with a token at once.
    pub const AT_ONCE: Self = Self::After(Duration::ZERO);
}

/// How long a token lives unless its scope says otherwise (`…/life-5400`), in seconds.
const LIFE: i64 = 3599;

impl Sts {
    /// An endpoint with tokens of at least this many bytes. Make it inside the runtime whose time it follows.
    #[must_use]
    pub fn new(behaviour: Behaviour, token_bytes: usize, random: Random) -> Self {
        let state = State { behaviour, random, times: Vec::new(), answered: None };
        let serial = AtomicU64::new(0);
        Self { start: Instant::now(), state: Mutex::new(state), serial, gate: watch::Sender::new(false), token_bytes }
    }

    /// From now on it does this.
    pub fn set(&self, behaviour: Behaviour) {
        self.lock().behaviour = behaviour;
    }

    /// Answers what [`Behaviour::Held`] holds back.
    pub fn open(&self) {
        self.gate.send_replace(true);
    }

    /// How many requests came.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.serial.load(Ordering::SeqCst)
    }

    /// How many requests came in the first so many seconds; right as long as it is less than 10,000.
    #[must_use]
    pub fn requests_within(&self, time: Duration) -> usize {
        self.lock().times.iter().filter(|at| **at <= time).count()
    }

    /// When it last answered with a token.
    #[must_use]
    pub fn answered(&self) -> Option<Instant> {
        self.lock().answered
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn arrive(&self) -> (u64, Behaviour) {
        let mut state = self.lock();
        if state.times.len() < TIMES {
            let now = self.start.elapsed();
            state.times.push(now);
        }
        let behaviour = match state.behaviour {
            Behaviour::Within(most) => {
                let micros = state.random.below(u64::try_from(most.as_micros()).unwrap_or(u64::MAX) + 1);
                Behaviour::After(Duration::from_micros(micros))
            }
            other => other,
        };
        (self.serial.fetch_add(1, Ordering::SeqCst) + 1, behaviour)
    }

    fn token(&self, serial: u64, request: &Request<Body>) -> Result<Response<Body>, TransportError> {
        let tenant = request.uri().path().split('/').nth(1).unwrap_or_default().to_owned();
        let form = request.body().as_bytes().cloned().unwrap_or_default();
        let form: Vec<(Cow<'_, str>, Cow<'_, str>)> = url::form_urlencoded::parse(&form).collect();
        let field = |name: &str| form.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value);
        let scope = field("scope").replace(' ', ",");
        let life = scope
            .rsplit_once("life-")
            .map(|(_, life)| life.split_once('/').map_or(life, |(life, _)| life))
            .and_then(|life| life.parse().ok())
            .unwrap_or(LIFE);
        let ends = EPOCH + i64::try_from(self.start.elapsed().as_secs()).unwrap_or(0) + life;
        let owner = match field("assertion") {
            "" => "app",
            assertion => assertion.trim_end_matches('.'),
        };
        let mut token = format!("{serial}|{ends}|{tenant}|{owner}|{scope}|");
        token.extend(std::iter::repeat_n('x', self.token_bytes.saturating_sub(token.len())));
        self.lock().answered = Some(Instant::now());
        let body = format!(r#"{{"token_type":"Bearer","expires_in":{life},"access_token":"{token}"}}"#);
        Ok(Response::new(Body::from(body)))
    }
}

#[async_trait]
impl HttpTransport for Sts {
    async fn send(&self, request: Request<Body>) -> Result<Response<Body>, TransportError> {
        let (serial, behaviour) = self.arrive();
        match behaviour {
            Behaviour::After(time) | Behaviour::Within(time) => {
                if !time.is_zero() {
                    tokio::time::sleep(time).await;
                }
                self.token(serial, &request)
            }
            Behaviour::Held => {
                let _ = self.gate.subscribe().wait_for(|open| *open).await;
                self.token(serial, &request)
            }
            Behaviour::Status(status) => {
                let answer = Response::builder().status(status).body(Body::empty());
                answer.map_err(|_| TransportErrorKind::Other.into())
            }
            Behaviour::Refuses => Err(TransportErrorKind::NotSent.into()),
            Behaviour::Hangs => std::future::pending().await,
        }
    }
}

/// What a token of [`Sts`] says of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Issued {
    /// The number of the request that brought it.
    pub serial: u64,
    /// When it really ends, in seconds since 1970.
    pub ends: i64,
    /// The tenant that it was asked from.
    pub tenant: String,
    /// The assertion that it was exchanged for; `app` for an application's own.
    pub owner: String,
    /// Its scope.
    pub scope: String,
}

impl Issued {
    /// Reads a token; `None` when it is no token of [`Sts`].
    #[must_use]
    pub fn read(token: &AccessToken) -> Option<Self> {
        let mut parts = token.expose().split('|');
        let mut next = || parts.next();
        Some(Self {
            serial: next()?.parse().ok()?,
            ends: next()?.parse().ok()?,
            tenant: next()?.to_owned(),
            owner: next()?.to_owned(),
            scope: next()?.to_owned(),
        })
    }
}
