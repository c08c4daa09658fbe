//! The clients, made from the settings.

use std::{fmt, sync::Arc, time::Instant};

use async_trait::async_trait;
use botframework_activity::{ChannelAuthenticator, ChannelKeys, ConnectorClient, RedisTurnQueue};
use entra_auth::{
    Body, BuildError, ClientId, ConfidentialClient, HttpTransport, MemoryStore, RedisStore, ReqwestTransport,
    SealedStore, Sealer, Store, TokenCredential, TransportError,
};
use foundry_client::FoundryClient;

use crate::{
    agent::Agent,
    bot::Bot,
    files,
    identity::Identity,
    profile::{Parts, Profiles},
    questions::Questions,
    settings::Config,
};

/// State that outlives this process.
#[derive(Clone)]
pub(crate) struct Shared {
    pub(crate) store: SealedStore<RedisStore>,
    pub(crate) queue: RedisTurnQueue,
    pub(crate) sealer: Sealer,
}

/// Builds everything. Nothing is sent yet.
pub(crate) fn build(config: &Config) -> Result<Bot, BuildError> {
    let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new()?);
    let shared = shared(config)?;
    // One for all app tokens: the connector's and Foundry's are entries of one cache, both of the resource tenant.
    let (entra, credential): (_, Arc<dyn TokenCredential>) = match &config.identity {
        Identity::Managed(identity) => (None, Arc::new(identity.clone())),
        Identity::Registration(_) | Identity::Vault(_) | Identity::Federated(_) => {
            let client = registration(config, &config.app_id, &transport, shared.as_ref())?;
            (Some(client.clone()), Arc::new(client))
        }
    };

    let keys = ChannelKeys::fetched(Arc::clone(&transport));
    let mut authenticator = ChannelAuthenticator::builder(config.app_id.clone(), config.tenants.clone(), keys);
    if let Some(url) = &config.metadata_url {
        authenticator = authenticator.metadata_url(url.clone());
    }
    for host in &config.connector_hosts {
        authenticator = authenticator.connector_host(host);
    }
    let authenticator = authenticator.build()?;

    let watched = Arc::new(Watched(Arc::clone(&transport)));
    let mut connector = ConnectorClient::builder(watched, Arc::clone(&credential)).max_download(files::LARGEST);
    for host in &config.connector_hosts {
        connector = connector.allow_downloads_from(host);
    }
    let connector = connector.build()?;
    let foundry = FoundryClient::builder(&config.foundry_endpoint)
        .credential(Arc::clone(&credential))
        .transport(Arc::clone(&transport))
        .build()?;
    let conversations: Arc<dyn Store> = match &shared {
        Some(shared) => Arc::new(shared.store.clone()),
        None => Arc::new(MemoryStore::default()),
    };
    let questions = Questions::new(Arc::clone(&conversations));
    let agent = Agent::new(foundry, config.agent.clone(), conversations);
    let profiles = match &config.sso {
        None => None,
        Some(sso) => {
            let client = match entra.filter(|_| sso.app_id == config.app_id) {
                Some(client) => client,
                None => registration(config, &sso.app_id, &transport, shared.as_ref())?,
            };
            let parts = Parts {
                bot: credential,
                client,
                authority: config.authority.clone(),
                tenants: config.tenants.clone(),
                transport,
                connector: connector.clone(),
                policy: authenticator.policy().clone(),
                shared: shared.clone(),
            };
            Some(Profiles::new(sso, parts)?)
        }
    };
    Ok(Bot::start(config, authenticator, connector, (agent, questions), profiles, shared))
}

/// The client of an app registration, which the bot's credential may speak for.
fn registration(
    config: &Config,
    app_id: &ClientId,
    transport: &Arc<dyn HttpTransport>,
    shared: Option<&Shared>,
) -> Result<ConfidentialClient, BuildError> {
    let credential = config.identity.credential(&config.authority)?;
    let mut client = ConfidentialClient::builder(config.tenant.clone(), app_id.clone(), credential)
        .authority(config.authority.clone())
        .transport(Arc::clone(transport));
    if let Some(shared) = shared {
        client = client.second_level(shared.store.clone());
    }
    client.build()
}

/// The Redis of the settings. Nothing is sent yet.
fn shared(config: &Config) -> Result<Option<Shared>, BuildError> {
    let Some(settings) = &config.shared else { return Ok(None) };
    // For rediss://. An error means that there is one already, which is as good.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let application = format!("broker-{}", config.app_id);
    let named = |error: BuildError| BuildError::new(format!("REDIS_URL: {error}"));
    let store = RedisStore::builder(settings.redis.clone()).application(&application).build().map_err(named)?;
    let queue = RedisTurnQueue::builder(settings.redis.clone(), settings.sealer.clone())
        .application(application)
        .lease(settings.lease)
        .build()
        .map_err(named)?;
    let sealer = settings.sealer.clone();
    Ok(Some(Shared { store: SealedStore::new(store, sealer.clone()), queue, sealer }))
}

/// Says what the connector answered, as a hop line.
struct Watched(Arc<dyn HttpTransport>);

#[async_trait]
impl HttpTransport for Watched {
    async fn send(&self, request: http::Request<Body>) -> Result<http::Response<Body>, TransportError> {
        let verb = match request.method().as_str() {
            "GET" => "file fetched",
            "PUT" => "answer put in place of the placeholder",
            "DELETE" => "message deleted",
            _ => "reply delivered",
        };
        let started = Instant::now();
        let result = self.0.send(request).await;
        let ms = started.elapsed().as_secs_f64() * 1000.0;
        match &result {
            Ok(response) if response.status().is_success() => {
                tracing::info!(target: "hop", "{verb}: {} after {ms:.1} ms", response.status().as_u16());
            }
            Ok(response) => {
                tracing::info!(target: "hop", "the connector refused: {} after {ms:.1} ms", response.status().as_u16());
            }
            Err(error) => tracing::info!(target: "hop", "the connector was not reached: {error}"),
        }
        result
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
