//! Ways to do it wrong, one for each promise: whatever a checker is for, here is something that it must catch.
#![allow(dead_code, unreachable_pub)] // not every test uses everything

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use entra_auth::{
    AccessToken, AccessTokenValidator, Authority, Body, Clock, Error, ErrorKind, HttpTransport, KeyError, KeyErrorKind,
    KeyLookup, KeySource, OAuthError, SigningKey, StaticKeys, TenantPolicy, TokenCredential, TokenError, TokenRequest,
    UserAssertion, UserKey,
};
use http::Request;
use lab::{
    Fault,
    world::{self, API, Judge, TENANT, UserSource},
};
use serde_json::Value;
use tokio::time::Instant;

/// How a client for an application's tokens goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    /// Every caller sends a request.
    EachForItself,
    /// Who fetches holds a lock; when it goes away the next one fetches again.
    Locked,
    /// As `Locked`, and a token that should be refreshed is refreshed while its callers wait.
    RefreshesInLine,
    /// A token that should be refreshed is refreshed once for every caller.
    RefreshesForEveryone,
    /// A token is kept for ever.
    KeepsForEver,
    /// Every caller leaves a task behind.
    Leaks,
}

#[derive(Debug)]
struct Naive {
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    manner: Manner,
    tokens: tokio::sync::Mutex<HashMap<String, AccessToken>>,
}

fn naive(
    manner: Manner,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
) -> Result<Arc<dyn TokenCredential>, Fault> {
    Ok(Arc::new(Naive { transport, clock, manner, tokens: tokio::sync::Mutex::default() }))
}

macro_rules! clients {
    ($($name:ident: $manner:ident;)*) => {
        $(pub fn $name(transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>) -> Result<Arc<dyn TokenCredential>, Fault> {
            naive(Manner::$manner, transport, clock)
        })*
    };
}

clients! {
    each_for_itself: EachForItself;
    locked: Locked;
    refreshes_in_line: RefreshesInLine;
    refreshes_for_everyone: RefreshesForEveryone;
    keeps_for_ever: KeepsForEver;
    leaks: Leaks;
}

#[async_trait]
impl TokenCredential for Naive {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        let scope = request.scopes.as_str().to_owned();
        if self.manner == Manner::Leaks {
            tokio::spawn(std::future::pending::<()>());
        }
        if self.manner == Manner::EachForItself {
            return self.fetch(&scope).await;
        }
        let mut tokens = self.tokens.lock().await;
        let kept = tokens.get(&scope).cloned();
        let age = |early: i64| {
            kept.clone().filter(|token| self.clock.now() < token.expires_on() - time::Duration::seconds(early))
        };
        match self.manner {
            Manner::KeepsForEver if kept.is_some() => return Ok(kept.unwrap()),
            Manner::RefreshesForEveryone if kept.is_some() && age(300).is_none() => {
                let _ = self.fetch(&scope).await;
                return Ok(kept.unwrap());
            }
            _ => {
                if let Some(token) = age(300) {
                    return Ok(token);
                }
            }
        }
        let token = self.fetch(&scope).await?;
        tokens.insert(scope, token.clone());
        Ok(token)
    }
}

impl Naive {
    async fn fetch(&self, scope: &str) -> Result<AccessToken, Error> {
        let body = Body::from(format!("grant_type=client_credentials&scope={scope}"));
        let address = format!("https://login.microsoftonline.com/{TENANT}/oauth2/v2.0/token");
        let answer = self.transport.send(Request::post(address).body(body).unwrap()).await?;
        if answer.status() != 200 {
            let mut oauth = OAuthError::default();
            oauth.status = answer.status().as_u16();
            return Err(Error::new(ErrorKind::Transient, "no").with_oauth(oauth));
        }
        let body = answer.into_body().collect(1 << 20).await?;
        let body: Value = serde_json::from_slice(&body).unwrap();
        let life = time::Duration::seconds(body["expires_in"].as_i64().unwrap());
        AccessToken::new(body["access_token"].as_str().unwrap(), self.clock.now() + life)
    }
}

/// How a client for users' tokens goes wrong: something between it and its callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Between {
    /// A cache of its own, by user and scope, that overlooks the tenant.
    OverlooksTenant,
    /// A cache of its own that no sign-out reaches.
    Remembers,
    /// A token that should be refreshed is refreshed while its user waits.
    RefreshesInLine,
}

type ByUser = Arc<Mutex<HashMap<(String, String, String), AccessToken>>>;

struct Wrapped {
    inner: Arc<dyn UserSource>,
    between: Between,
    clock: Arc<dyn Clock>,
    tokens: ByUser,
}

fn wrapped(
    between: Between,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    bytes: usize,
) -> Result<Arc<dyn UserSource>, Fault> {
    let inner = world::user_client(transport, clock.clone(), bytes)?;
    Ok(Arc::new(Wrapped { inner, between, clock, tokens: Arc::default() }))
}

macro_rules! user_clients {
    ($($name:ident: $between:ident;)*) => {
        $(pub fn $name(
            transport: Arc<dyn HttpTransport>,
            clock: Arc<dyn Clock>,
            bytes: usize,
        ) -> Result<Arc<dyn UserSource>, Fault> {
            wrapped(Between::$between, transport, clock, bytes)
        })*
    };
}

user_clients! {
    overlooks_tenant: OverlooksTenant;
    remembers: Remembers;
    users_refresh_in_line: RefreshesInLine;
}

/// No bound for what is kept.
pub fn unbounded(
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    _: usize,
) -> Result<Arc<dyn UserSource>, Fault> {
    world::user_client(transport, clock, usize::MAX)
}

#[async_trait]
impl UserSource for Wrapped {
    fn on_behalf_of(&self, assertion: UserAssertion) -> Arc<dyn TokenCredential> {
        let user = assertion.user_key();
        let (tenant, object) = (user.tenant().as_str().to_owned(), user.object_id().as_str().to_owned());
        let who = match self.between {
            Between::OverlooksTenant => (String::new(), object),
            Between::Remembers | Between::RefreshesInLine => (tenant, object),
        };
        let ends = assertion.expires_on().unix_timestamp().to_string();
        Arc::new(Person {
            inner: self.inner.on_behalf_of(assertion),
            who: (who.0, who.1, ends),
            between: self.between,
            clock: self.clock.clone(),
            tokens: self.tokens.clone(),
        })
    }

    async fn forget(&self, user: &UserKey) -> Result<(), Error> {
        if self.between == Between::OverlooksTenant {
            self.tokens.lock().unwrap().clear();
        }
        self.inner.forget(user).await
    }
}

#[derive(Debug)]
struct Person {
    inner: Arc<dyn TokenCredential>,
    who: (String, String, String),
    between: Between,
    clock: Arc<dyn Clock>,
    tokens: ByUser,
}

#[async_trait]
impl TokenCredential for Person {
    async fn get_token(&self, request: &TokenRequest) -> Result<AccessToken, Error> {
        if self.between == Between::RefreshesInLine {
            let token = self.inner.get_token(request).await?;
            if self.clock.now() < token.expires_on() - time::Duration::seconds(300) {
                return Ok(token);
            }
            return self.inner.get_token(&request.clone().with_rejected(token)).await;
        }
        let key = (self.who.0.clone(), self.who.1.clone(), request.scopes.as_str().to_owned());
        let kept = self.tokens.lock().unwrap().get(&key).cloned();
        match kept {
            Some(token) if request.rejected.is_none() => Ok(token),
            _ => {
                let token = self.inner.get_token(request).await?;
                self.tokens.lock().unwrap().insert(key, token.clone());
                Ok(token)
            }
        }
    }
}

/// How keys go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Keeps {
    /// Asks for every key that is not known.
    AsksAlways,
    /// Asks once and never again.
    AsksOnce,
    /// Learns keys and never lets one go.
    LetsNoneGo,
    /// After an hour it asks again while the caller waits.
    RefreshesInLine,
}

#[derive(Debug)]
struct Keys {
    transport: Arc<dyn HttpTransport>,
    keeps: Keeps,
    sets: Mutex<Vec<StaticKeys>>,
    asked: Mutex<Option<Instant>>,
}

fn judge_with(keeps: Keeps, transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>) -> Result<Arc<dyn Judge>, Fault> {
    let keys = Keys { transport, keeps, sets: Mutex::default(), asked: Mutex::default() };
    let policy = TenantPolicy::Single(TENANT.parse()?);
    let validator = AccessTokenValidator::builder(Authority::default(), [API], policy).keys(Arc::new(keys));
    Ok(Arc::new(validator.clock(clock).remember(0).build()?))
}

macro_rules! judges {
    ($($name:ident: $keeps:ident;)*) => {
        $(pub fn $name(transport: Arc<dyn HttpTransport>, clock: Arc<dyn Clock>) -> Result<Arc<dyn Judge>, Fault> {
            judge_with(Keeps::$keeps, transport, clock)
        })*
    };
}

judges! {
    asks_always: AsksAlways;
    asks_once: AsksOnce;
    lets_none_go: LetsNoneGo;
    keys_refresh_in_line: RefreshesInLine;
}

#[async_trait]
impl KeySource for Keys {
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        let asked = *self.asked.lock().unwrap();
        let old = asked.is_none_or(|at| at.elapsed() > Duration::from_secs(3600));
        if asked.is_none() || (self.keeps == Keeps::RefreshesInLine && old) {
            self.ask().await;
        }
        if let Some(key) = self.find(lookup).await {
            return Ok(key);
        }
        let recently = asked.is_some_and(|at| at.elapsed() < Duration::from_secs(300));
        if self.keeps == Keeps::AsksAlways || (self.keeps == Keeps::LetsNoneGo && !recently) {
            self.ask().await;
        }
        self.find(lookup).await.ok_or_else(|| KeyErrorKind::Unknown.into())
    }

    fn revision(&self) -> u64 {
        0
    }
}

impl Keys {
    async fn find(&self, lookup: KeyLookup<'_>) -> Option<Arc<SigningKey>> {
        let sets = self.sets.lock().unwrap().clone();
        for set in sets {
            if let Ok(key) = set.key(lookup).await {
                return Some(key);
            }
        }
        None
    }

    async fn ask(&self) {
        *self.asked.lock().unwrap() = Some(Instant::now());
        let address = format!("https://login.microsoftonline.com/{TENANT}/discovery/v2.0/keys");
        let request = Request::get(address).body(Body::empty()).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), self.transport.send(request)).await;
        let Ok(Ok(answer)) = answer else { return };
        let body: Bytes = answer.into_body().collect(1 << 20).await.unwrap();
        if let Ok(keys) = StaticKeys::from_jwks(&body) {
            let mut sets = self.sets.lock().unwrap();
            if self.keeps != Keeps::LetsNoneGo {
                sets.clear();
            }
            sets.push(keys);
        }
    }
}

/// Lets everyone in.
struct Doorless;

#[async_trait]
impl Judge for Doorless {
    async fn judge(&self, _: &str) -> Result<(), TokenError> {
        Ok(())
    }
}

pub fn lets_everyone_in(_: Arc<dyn HttpTransport>, _: Arc<dyn Clock>) -> Result<Arc<dyn Judge>, Fault> {
    Ok(Arc::new(Doorless))
}
