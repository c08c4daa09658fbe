//! The public handle: start, ask, disturb, stop, start again.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use axum::Router;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

use crate::channel::Teams;
use crate::constants::{self, User};
use crate::entra::{Certificates, Consent, Renewal};
use crate::faults::Fault;
use crate::journal::Recorded;
use crate::keys::Signer;
use crate::state::{Options, Shared, lock};
use crate::tls::Tls;
use crate::wire::{Connection, Cut, Door};
use crate::{server, tokens};

/// A Microsoft cloud on loopback, running in this process.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> std::io::Result<()> {
/// let sandbox = m365_sandbox::Sandbox::builder().start().await?;
/// for (name, value) in sandbox.settings() {
///     println!("{name}={value}");
/// }
/// sandbox.stop().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Sandbox {
    world: RwLock<World>,
    port: u16,
    tls: Option<Tls>,
    options: Options,
    running: Mutex<Option<Running>>,
}

#[derive(Debug, Clone)]
struct World {
    shared: Arc<Shared>,
    router: Router,
}

#[derive(Debug)]
struct Running {
    /// The accept loops, which hold the ports, and the server.
    tasks: Vec<JoinHandle<()>>,
    connections: Cut,
}

/// What a restart keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Restart {
    /// Keys, conversations, tokens, consent, faults, the request log: all stay.
    Kept,
    /// A new world with new keys. Ids and secrets of the constants are the same.
    Fresh,
}

/// Options of a sandbox that has not started yet. Made by [`Sandbox::builder`].
#[derive(Debug, Clone, Default)]
#[must_use]
pub struct Builder {
    port: u16,
    tls: bool,
    options: Options,
}

impl Builder {
    /// A fixed port. Default: 0, a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }

    /// Speaks TLS at `https://localhost`, by a CA made at start: [`Sandbox::ca_file`]. Default: plain http.
    pub fn tls(mut self, tls: bool) -> Self {
        self.tls = tls;
        self
    }

    /// Where the bot listens: `http://127.0.0.1:3978/api/messages`. It can also be told later.
    pub fn bot_endpoint(mut self, url: &str) -> Self {
        self.options.bot_endpoint = Some(url.to_owned());
        self
    }

    /// The bot is a user-assigned managed identity of the machine, `UserAssignedMSI`, and no registration: the metadata
    /// service has tokens for it, and the sign-in has a registration of its own, [`constants::AUTH_APP_ID`].
    /// Default: the bot is a registration with a secret.
    pub fn bot_as_managed_identity(mut self) -> Self {
        self.options.bot_is_identity = true;
        self
    }

    /// Lifetime of app-only tokens. Default 3600 s.
    pub fn app_token_ttl(mut self, ttl: Duration) -> Self {
        self.options.app_token_ttl = ttl;
        self
    }

    /// Lifetime of user tokens. Default 3600 s.
    pub fn user_token_ttl(mut self, ttl: Duration) -> Self {
        self.options.user_token_ttl = ttl;
        self
    }

    /// Lifetime of channel tokens. Default 3600 s.
    pub fn channel_token_ttl(mut self, ttl: Duration) -> Self {
        self.options.channel_token_ttl = ttl;
        self
    }

    /// Adds `refresh_in` to token answers. Default: absent, as with tokens of an hour.
    pub fn refresh_in(mut self, after: Duration) -> Self {
        self.options.refresh_in = Some(after);
        self
    }

    /// Starts the sandbox on loopback.
    ///
    /// # Errors
    /// The port is taken, keys could not be made, or the CA file could not be written. Choose another port or free
    /// the one; retrying alone does not help.
    pub async fn start(self) -> io::Result<Sandbox> {
        let tls = if self.tls { Some(Tls::generate()?) } else { None };
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        let port = listener.local_addr()?.port();
        let ca = tls.as_ref().map(|tls| tls.ca_pem().to_owned());
        let world = World::new(base_url(port, tls.is_some()), self.options.clone(), ca).await?;
        let sandbox =
            Sandbox { world: RwLock::new(world), port, tls, options: self.options, running: Mutex::new(None) };
        sandbox.serve(listener).await?;
        Ok(sandbox)
    }
}

impl Sandbox {
    /// Options for a new sandbox.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Scheme, host and port without a final slash.
    pub fn base_url(&self) -> String {
        self.shared().base_url().to_owned()
    }

    /// The environment a bot needs to live in this cloud, by the names of the family's settings table.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        settings_of(&self.shared())
    }

    /// The file with the CA certificate, PEM; `None` on plain http.
    pub fn ca_file(&self) -> Option<&Path> {
        self.tls.as_ref().map(Tls::ca_file)
    }

    /// The Teams user.
    pub fn teams(&self) -> Teams {
        Teams::new(self.shared())
    }

    /// Tells the sandbox where the bot listens.
    pub fn set_bot_endpoint(&self, url: &str) {
        self.shared().set_bot_endpoint(url);
    }

    /// How many requests fitted the pattern `[METHOD ]/path`, `{…}` for one segment, a final `**` for the rest.
    pub fn requests(&self, route_pattern: &str) -> u64 {
        self.shared().journal.count(route_pattern)
    }

    /// The requests that fitted, oldest first. The newest 20,000 of all are kept.
    pub fn log(&self, route_pattern: &str) -> Vec<Recorded> {
        self.shared().journal.entries(route_pattern)
    }

    /// Empties log and counters.
    pub fn clear_log(&self) {
        self.shared().journal.clear();
    }

    /// Scripts a fault.
    pub fn fault(&self, fault: Fault) {
        self.shared().faults.add(fault);
    }

    /// Ends all faults.
    pub fn clear_faults(&self) {
        self.shared().faults.clear();
    }

    /// New signing keys for Entra and the channel; the old ones stay published.
    ///
    /// # Errors
    /// Key generation failed; a retry may help.
    pub async fn rotate_keys(&self) -> io::Result<()> {
        self.rotate(false).await
    }

    /// New signing keys; the old ones disappear from the documents.
    ///
    /// # Errors
    /// Key generation failed; a retry may help.
    pub async fn replace_keys(&self) -> io::Result<()> {
        self.rotate(true).await
    }

    async fn rotate(&self, retire: bool) -> io::Result<()> {
        let shared = self.shared();
        tokio::task::spawn_blocking(move || shared.keys.rotate(retire)).await.map_err(io::Error::other)?
    }

    /// Records consent.
    pub fn grant_consent(&self, consent: &Consent) {
        self.shared().directory().grant(consent);
    }

    /// Takes consent back; an administrator's takes everyone's with it.
    pub fn revoke_consent(&self, consent: &Consent) {
        self.shared().directory().revoke(consent);
    }

    /// Makes On-Behalf-Of for a user fail with AADSTS50076 and a claims challenge, or work again.
    pub fn require_mfa(&self, user: &User, required: bool) {
        self.shared().directory().require_mfa(user.oid, required);
    }

    /// Private key and certificate, PEM, that [`constants::CERT_APP_ID`] and the bot may sign assertions with.
    pub fn certificate_pem(&self) -> String {
        self.shared().directory().certificate_pem().to_owned()
    }

    /// Registers the first certificate of a PEM text with an app.
    ///
    /// # Errors
    /// `InvalidInput`: no such app, or no certificate in the text.
    pub fn register_certificate(&self, app: &str, pem: &str) -> io::Result<()> {
        let registered = self.shared().directory().register_certificate(app, pem);
        registered.map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))
    }

    /// Takes the first certificate of a PEM text out of an app's registration. Whether it was there.
    ///
    /// # Errors
    /// `InvalidInput`: no such app, or no certificate in the text.
    pub fn unregister_certificate(&self, app: &str, pem: &str) -> io::Result<bool> {
        let gone = self.shared().directory().unregister_certificate(app, pem);
        gone.map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))
    }

    /// A new version of the vault's certificate, with a new key. The certificate, PEM. Old versions go on signing, and no
    /// registration learns of the new one by itself.
    ///
    /// # Errors
    /// Key generation failed; a retry may help.
    pub async fn renew_vault_certificate(&self, renewal: Renewal) -> io::Result<String> {
        let shared = self.shared();
        let renew = move || shared.extension::<Certificates>().renew(&shared, renewal);
        tokio::task::spawn_blocking(renew).await.map_err(io::Error::other)?
    }

    /// The vault signs with the newest version of its certificate's key alone.
    pub fn disable_old_vault_keys(&self) {
        let shared = self.shared();
        shared.extension::<Certificates>().disable_old(&shared);
    }

    /// Registers one more redirect URI of an app. The ones of the constants are there already.
    ///
    /// # Errors
    /// `InvalidInput`: no such app.
    pub fn register_redirect_uri(&self, app: &str, uri: &str) -> io::Result<()> {
        let registered = self.shared().directory().register_redirect_uri(app, uri);
        registered.map_err(|reason| io::Error::new(io::ErrorKind::InvalidInput, reason))
    }

    /// Moves the sandbox's clock by seconds, also backwards. New tokens and all checks follow it.
    pub fn advance_clock(&self, seconds: i64) {
        self.shared().clock.advance(seconds);
    }

    /// A channel token as Teams sends it, for this audience and service URL.
    pub fn channel_token(&self, audience: &str, service_url: &str) -> String {
        tokens::channel_token(&self.shared(), audience, service_url)
    }

    /// What Teams puts into `signin/tokenExchange` for this user.
    pub fn sso_token(&self, user: &User) -> String {
        tokens::sso_token(&self.shared(), user)
    }

    /// Signs any claims, so that a test can send a token that is wrong in one place only. `header` members replace
    /// or extend `typ`, `alg` and `kid`; null removes one. The algorithm stays RS256, whatever the header says.
    pub fn sign(&self, signer: Signer, header: &Value, claims: &Value) -> String {
        self.shared().keys.sign_with(signer, header, claims)
    }

    /// The service URL of a tenant, with final slash.
    pub fn service_url(&self, tenant: &str) -> String {
        self.shared().service_url(constants::REGION, tenant)
    }

    /// Closes the port and cuts every connection. Does nothing when it is stopped already.
    pub async fn stop(&self) {
        let running = lock(&self.running).take();
        if let Some(running) = running {
            running.connections.now();
            for task in running.tasks {
                task.abort();
                let _ = task.await; // a port is closed when its task is gone
            }
        }
    }

    /// Stops if needed and starts again on the same port. [`Sandbox::teams`] handles of a world that is not kept
    /// stay with the old world: get a new one.
    ///
    /// # Errors
    /// As [`Builder::start`].
    pub async fn restart(&self, restart: Restart) -> io::Result<()> {
        self.stop().await;
        if restart == Restart::Fresh {
            let old = self.shared();
            let mut options = self.options.clone();
            options.bot_endpoint = old.bot_endpoint();
            let ca = self.tls.as_ref().map(|tls| tls.ca_pem().to_owned());
            let world = World::new(old.base_url().to_owned(), options, ca).await?;
            *self.world.write().unwrap_or_else(PoisonError::into_inner) = world;
        }
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, self.port)).await?;
        self.serve(listener).await
    }

    async fn serve(&self, listener: TcpListener) -> io::Result<()> {
        let mut listeners = vec![listener];
        if self.tls.is_some() {
            // `localhost` may mean ::1 first; without IPv6 the IPv4 listener serves alone.
            listeners.extend(TcpListener::bind((Ipv6Addr::LOCALHOST, self.port)).await.ok());
        }
        let acceptor: Option<TlsAcceptor> = self.tls.as_ref().map(Tls::acceptor);
        let connections = Cut::new();
        let (door, mut tasks) = Door::open(listeners, acceptor.as_ref(), &connections)?;
        let router = self.world().router.into_make_service_with_connect_info::<Connection>();
        tasks.push(tokio::spawn(async move {
            // Accept errors are retried inside; nothing else ends the loop.
            let _ = axum::serve(door, router).await;
        }));
        *lock(&self.running) = Some(Running { tasks, connections });
        Ok(())
    }

    fn world(&self) -> World {
        self.world.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn shared(&self) -> Arc<Shared> {
        self.world().shared
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        if let Some(running) = lock(&self.running).take() {
            running.connections.now();
            running.tasks.iter().for_each(JoinHandle::abort);
        }
    }
}

impl World {
    async fn new(base: String, options: Options, ca: Option<String>) -> io::Result<Self> {
        let shared =
            tokio::task::spawn_blocking(move || Shared::new(base, options, ca)).await.map_err(io::Error::other)??;
        let shared = Arc::new(shared);
        let router = server::router(&shared);
        Ok(Self { shared, router })
    }
}

fn base_url(port: u16, tls: bool) -> String {
    if tls { format!("https://localhost:{port}") } else { format!("http://127.0.0.1:{port}") }
}

/// See [`Sandbox::settings`].
pub(crate) fn settings_of(shared: &Shared) -> Vec<(&'static str, String)> {
    let base = shared.base_url();
    let host = if base.starts_with("https:") { "localhost" } else { "127.0.0.1" };
    let text = str::to_owned;
    let proof = match shared.options.bot_is_identity {
        true => ("AZURE_POD_IDENTITY_AUTHORITY_HOST", text(base)),
        false => ("BOT_APP_PASSWORD", text(constants::BOT_APP_SECRET)),
    };
    vec![
        ("AZURE_TENANT_ID", text(constants::RESOURCE_TENANT)),
        ("AZURE_AUTHORITY_HOST", shared.authority()),
        ("BOT_APP_ID", text(constants::BOT_APP_ID)),
        proof,
        ("BOT_OPENID_METADATA_URL", format!("{base}/botframework/v1/.well-known/openidconfiguration")),
        ("BOT_TOKEN_SERVICE_URL", format!("{base}/tokenservice")),
        ("GRAPH_BASE_URL", format!("{base}/graph")),
        ("BOT_CONNECTOR_HOSTS", text(host)),
        ("BOT_SSO_APP_ID", text(shared.sso_app_id())),
        ("BOT_SSO_RESOURCE", text(constants::SSO_RESOURCE)),
        ("OAUTH_CONNECTION_NAME", text(constants::SERVICE_CONNECTION)),
        ("ALLOWED_TENANT_IDS", text(constants::HOME_TENANT)),
        ("FOUNDRY_PROJECT_ENDPOINT", format!("{base}/foundry/api/projects/{}", constants::FOUNDRY_PROJECT)),
        ("FOUNDRY_AGENT_NAME", text(constants::FOUNDRY_AGENT)),
    ]
}

/// Where the CA file of a sandbox with TLS goes.
pub(crate) fn ca_path(port_or_id: &str) -> PathBuf {
    std::env::temp_dir().join(format!("m365-sandbox-ca-{port_or_id}.pem"))
}
