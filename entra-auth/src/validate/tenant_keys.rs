use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use tokio::time::Instant;

use super::TenantPolicy;
use crate::{
    Authority, BuildError, Clock, HttpTransport, JwksClient, KeyError, KeyErrorKind, KeyLookup, KeySource, SigningKey,
    SystemClock, TenantId,
    transport::{self, NO_KEY_TRANSPORT},
};

/// The keys of the tenants that a policy lets in.
///
/// With a policy of named tenants each tenant has metadata and keys of its own, fetched when its first token comes; at
/// most 1,000 are kept, the one unused for longest makes room, and that at most 10 times a minute. With an open policy
/// the tenant-independent metadata serve everyone (`organizations`, or `common` when personal accounts may come). Either
/// way a token with an invented tenant causes no request.
///
/// See <https://learn.microsoft.com/entra/identity-platform/signing-key-rollover>.
pub struct TenantKeys {
    authority: Authority,
    policy: TenantPolicy,
    transport: Arc<dyn HttpTransport>,
    clock: Arc<dyn Clock>,
    capacity: usize,
    /// The keys for everyone, under an open policy.
    shared: Option<JwksClient>,
    tenants: Mutex<Tenants>,
}

#[derive(Default)]
struct Tenants {
    clients: HashMap<TenantId, (JwksClient, Instant)>,
    /// What the revisions of tenants that made room add up to.
    evicted: u64,
    /// When tenants made room, for the last minute.
    evictions: Vec<Instant>,
}

const CAPACITY: usize = 1000;
const EVICTIONS_PER_MINUTE: usize = 10;
const MINUTE: Duration = Duration::from_secs(60);

impl TenantKeys {
    /// Starts a key source for that cloud and policy.
    #[inline]
    pub fn builder(authority: Authority, policy: TenantPolicy) -> TenantKeysBuilder {
        TenantKeysBuilder { authority, policy, transport: None, clock: Arc::new(SystemClock), capacity: CAPACITY }
    }

    /// The tenant that an issuer stands for, if it is one of this cloud's issuers.
    #[inline]
    fn tenant(&self, issuer: &str) -> Option<TenantId> {
        let tenant =
            issuer.split('/').find_map(|segment| segment.parse::<TenantId>().ok().filter(TenantId::is_guid))?;
        // Which of the two forms, and for which version, is the validator's business; here only the tenant counts.
        self.policy.allows(&tenant).then_some(tenant)
    }

    #[inline]
    fn client(&self, tenant: &TenantId) -> Result<JwksClient, KeyError> {
        let now = Instant::now();
        let mut tenants = self.lock();
        if let Some((client, used)) = tenants.clients.get_mut(tenant) {
            *used = now;
            return Ok(client.clone());
        }
        if tenants.clients.len() >= self.capacity {
            tenants.make_room(now)?;
        }
        let url = self.authority.openid_configuration(tenant);
        let client = JwksClient::builder(url)
            .transport(Arc::clone(&self.transport))
            .clock(Arc::clone(&self.clock))
            .expected_issuer(self.authority.issuer_v2(tenant))
            .build()
            .map_err(|error| KeyError::new(KeyErrorKind::Malformed, error))?;
        tenants.clients.insert(tenant.clone(), (client.clone(), now));
        Ok(client)
    }

    #[inline]
    fn lock(&self) -> MutexGuard<'_, Tenants> {
        self.tenants.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tenants {
    /// Drops the tenant that was not used for longest; not too often, or a few tokens in turn would make a fetch each.
    #[inline]
    fn make_room(&mut self, now: Instant) -> Result<(), KeyError> {
        self.evictions.retain(|at| now.duration_since(*at) < MINUTE);
        if self.evictions.len() >= EVICTIONS_PER_MINUTE {
            return Err(KeyErrorKind::Gated.into());
        }
        let oldest = self.clients.iter().min_by_key(|(_, (_, used))| *used).map(|(tenant, _)| tenant.clone());
        if let Some((client, _)) = oldest.and_then(|tenant| self.clients.remove(&tenant)) {
            self.evictions.push(now);
            self.evicted += client.revision() + 1;
        }
        Ok(())
    }
}

#[async_trait]
impl KeySource for TenantKeys {
    #[inline]
    async fn key(&self, lookup: KeyLookup<'_>) -> Result<Arc<SigningKey>, KeyError> {
        let tenant = self.tenant(lookup.issuer).ok_or(KeyErrorKind::Unknown)?;
        let client = match &self.shared {
            Some(shared) => shared.clone(),
            None => self.client(&tenant)?,
        };
        client.key(lookup).await
    }

    #[inline]
    fn revision(&self) -> u64 {
        if let Some(shared) = &self.shared {
            return shared.revision();
        }
        let tenants = self.lock();
        tenants.evicted + tenants.clients.values().map(|(client, _)| client.revision()).sum::<u64>()
    }
}

impl fmt::Debug for TenantKeys {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKeys")
            .field("authority", &self.authority)
            .field("policy", &self.policy)
            .field("loaded", &self.lock().clients.len())
            .finish_non_exhaustive()
    }
}

/// Settings of [`TenantKeys`].
#[must_use]
pub struct TenantKeysBuilder {
    authority: Authority,
    policy: TenantPolicy,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    capacity: usize,
}

impl TenantKeysBuilder {
    /// How documents are fetched. Default: `ReqwestTransport`, with feature `reqwest`.
    #[inline]
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// The clock that dates in answers are read by. Default [`SystemClock`].
    #[inline]
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// How many tenants' keys are kept. Default 1,000; at least 1.
    #[inline]
    pub fn capacity(mut self, tenants: usize) -> Self {
        self.capacity = tenants.max(1);
        self
    }

    /// The key source. It fetches nothing yet.
    ///
    /// # Errors
    ///
    /// With a tenant policy that can let nobody in, or without a transport when feature `reqwest` is off. The developer.
    #[inline]
    pub fn build(self) -> Result<TenantKeys, BuildError> {
        self.policy.check()?;
        let transport = transport::or_built_in(self.transport, NO_KEY_TRANSPORT)?;
        let shared_name = match self.policy {
            TenantPolicy::AnyOrganization => Some("organizations"),
            TenantPolicy::Any => Some("common"),
            TenantPolicy::Single(_) | TenantPolicy::Allow(_) => None,
        };
        let shared = shared_name.map(|name| {
            let mut url = self.authority.url().clone();
            if let Ok(mut path) = url.path_segments_mut() {
                path.pop_if_empty().extend([name, "v2.0", ".well-known", "openid-configuration"]);
            }
            JwksClient::builder(url).transport(Arc::clone(&transport)).clock(Arc::clone(&self.clock)).build()
        });
        Ok(TenantKeys {
            authority: self.authority,
            policy: self.policy,
            transport,
            clock: self.clock,
            capacity: self.capacity,
            shared: shared.transpose()?,
            tenants: Mutex::default(),
        })
    }
}

impl fmt::Debug for TenantKeysBuilder {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TenantKeysBuilder")
            .field("authority", &self.authority)
            .field("policy", &self.policy)
            .finish_non_exhaustive()
    }
}
