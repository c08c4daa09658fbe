//! What all parts of the sandbox share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::clock::Clock;
use crate::constants::{self, User};
use crate::entra::Directory;
use crate::faults::Faults;
use crate::journal::Journal;
use crate::keys::Keys;

/// Choices made at start.
#[derive(Debug, Clone)]
pub(crate) struct Options {
    /// Lifetime of app-only tokens, and what `expires_in` says.
    pub(crate) app_token_ttl: Duration,
    /// Lifetime of user tokens.
    pub(crate) user_token_ttl: Duration,
    /// Lifetime of channel tokens.
    pub(crate) channel_token_ttl: Duration,
    /// `refresh_in` of token answers; absent when `None`.
    pub(crate) refresh_in: Option<Duration>,
    /// Where the Teams user and the signing front post activities.
    pub(crate) bot_endpoint: Option<String>,
    /// Whether the bot is a managed identity of the machine instead of a registration.
    pub(crate) bot_is_identity: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            app_token_ttl: Duration::from_secs(3600),
            user_token_ttl: Duration::from_secs(3600),
            channel_token_ttl: Duration::from_secs(3600),
            refresh_in: None,
            bot_endpoint: None,
            bot_is_identity: false,
        }
    }
}

/// State of one sandbox. The parts hold it as `Arc<Shared>`.
pub(crate) struct Shared {
    /// The clock that mints and judges.
    pub(crate) clock: Clock,
    /// Signing keys.
    pub(crate) keys: Keys,
    /// Choices made at start.
    pub(crate) options: Options,
    /// Every request received.
    pub(crate) journal: Journal,
    /// Scripted faults.
    pub(crate) faults: Faults,
    directory: Mutex<Directory>,
    base: String,
    bot_endpoint: Mutex<Option<String>>,
    trusted_ca: Option<String>,
    extensions: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    /// A fresh world at this base address. Makes RSA keys: call it on a blocking thread.
    pub(crate) fn new(base: String, options: Options, trusted_ca: Option<String>) -> io::Result<Self> {
        Ok(Self {
            clock: Clock::default(),
            keys: Keys::generate()?,
            journal: Journal::default(),
            faults: Faults::default(),
            directory: Mutex::new(Directory::new(options.bot_is_identity)?),
            bot_endpoint: Mutex::new(options.bot_endpoint.clone()),
            options,
            base,
            trusted_ca,
            extensions: Mutex::default(),
        })
    }

    /// Scheme, host and port without a final slash: `http://127.0.0.1:4000`.
    pub(crate) fn base_url(&self) -> &str {
        &self.base
    }

    /// `{base}/entra`: what goes into `AZURE_AUTHORITY_HOST`.
    pub(crate) fn authority(&self) -> String {
        format!("{}/entra", self.base)
    }

    /// The service URL of a tenant, with the final slash Teams sends.
    pub(crate) fn service_url(&self, region: &str, tenant: &str) -> String {
        format!("{}/connector/{region}/{tenant}/", self.base)
    }

    /// Where the bot listens, if it was told.
    pub(crate) fn bot_endpoint(&self) -> Option<String> {
        lock(&self.bot_endpoint).clone()
    }

    /// Tells the sandbox where the bot listens.
    pub(crate) fn set_bot_endpoint(&self, url: &str) {
        *lock(&self.bot_endpoint) = Some(url.to_owned());
    }

    /// The single-sign-on registration, which is also the client of the OAuth connections: the bot's own, where it has one.
    pub(crate) fn sso_app_id(&self) -> &'static str {
        if self.options.bot_is_identity { constants::AUTH_APP_ID } else { constants::SSO_APP_ID }
    }

    /// PEM of the sandbox's CA when it speaks TLS: an outgoing client that calls the sandbox needs it.
    pub(crate) fn trusted_ca(&self) -> Option<&str> {
        self.trusted_ca.as_deref()
    }

    /// Registrations, consent, certificates. Never hold it across an await.
    pub(crate) fn directory(&self) -> MutexGuard<'_, Directory> {
        lock(&self.directory)
    }

    /// Records what the consent page of the single-sign-on registration grants when this user accepts it:
    /// every permission of every OAuth connection.
    pub(crate) fn accept_consent(&self, user: &User) {
        let mut directory = self.directory();
        for resource in [constants::GRAPH_RESOURCE, constants::SERVICE_APP_ID, self.sso_app_id()] {
            directory.grant(&crate::Consent::of_user(user.oid, self.sso_app_id(), resource));
        }
    }

    /// A part's own state, made on first use and kept as long as this world.
    pub(crate) fn extension<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let slot = lock(&self.extensions).entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone();
        slot.downcast::<T>().unwrap_or_default()
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Shared").field("base", &self.base).finish_non_exhaustive()
    }
}

/// A lock that a panic elsewhere cannot take away.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A random version 4 UUID.
pub(crate) fn uuid() -> String {
    let mut bytes = [0_u8; 16];
    // Without randomness the id is all zero; every caller only needs a well-formed one then.
    let _ = aws_lc_rs::rand::fill(&mut bytes);
    let value = (u128::from_be_bytes(bytes) & !(0xf << 76) & !(0x3 << 62)) | (0x4 << 76) | (0x2 << 62);
    let hex = format!("{value:032x}");
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or_default().to_owned();
    format!("{}-{}-{}-{}-{}", part(0, 8), part(8, 12), part(12, 16), part(16, 20), part(20, 32))
}
