use std::{collections::HashMap, sync::Arc};

use entra_auth::{BuildError, ClientId, TenantId, TenantPolicy};

use super::{ChannelCloud, InboundError, InboundErrorKind, ServiceUrl, service_url::ConnectorHosts};

/// What a bot accepts: its app ids, its cloud, whose tenants, which connectors, within which limits.
///
/// Made by the builder of a [`ChannelAuthenticator`](crate::ChannelAuthenticator), which applies it to requests.
/// Records that were stored are judged by it again when they are restored, so that a tenant or a host that is taken off
/// the lists also disappears from queues and stored references. A clone is an `Arc` clone.
#[derive(Clone, Debug)]
pub struct ChannelPolicy(pub(super) Arc<Rules>);

#[derive(Debug)]
pub(super) struct Rules {
    pub(super) app_ids: Vec<ClientId>,
    pub(super) tenants: TenantPolicy,
    pub(super) cloud: ChannelCloud,
    pub(super) hosts: ConnectorHosts,
    pub(super) required_endorsements: Vec<String>,
    /// Channel in lower case, and the endorsements that stand in for its own.
    pub(super) endorsements: HashMap<String, Vec<String>>,
    pub(super) body_limit: usize,
    pub(super) depth_limit: usize,
    pub(super) node_limit: usize,
}

/// The longest id that is looked at, in characters.
const MAX_ID: usize = 1024;

impl ChannelPolicy {
    /// The bot's app ids.
    #[must_use]
    pub fn app_ids(&self) -> &[ClientId] {
        &self.0.app_ids
    }

    /// The bot's cloud.
    #[must_use]
    pub fn cloud(&self) -> ChannelCloud {
        self.0.cloud
    }

    /// Whose users may talk to the bot.
    #[must_use]
    pub fn tenants(&self) -> &TenantPolicy {
        &self.0.tenants
    }

    /// The largest body in bytes.
    #[must_use]
    pub fn body_limit(&self) -> usize {
        self.0.body_limit
    }

    pub(crate) fn allows_host(&self, url: &ServiceUrl) -> bool {
        self.0.hosts.allows(url)
    }

    /// Judges a record that was accepted earlier.
    pub(super) fn still_allows(
        &self,
        app_id: &ClientId,
        cloud: ChannelCloud,
        tenant: Option<&TenantId>,
        url: &ServiceUrl,
    ) -> bool {
        self.0.app_ids.contains(app_id)
            && self.0.cloud == cloud
            && self.0.allows_tenant(tenant)
            && self.allows_host(url)
    }
}

impl Rules {
    /// Only a policy that lets everyone in also takes requests that name no tenant.
    pub(super) fn allows_tenant(&self, tenant: Option<&TenantId>) -> bool {
        match tenant {
            Some(tenant) => self.tenants.allows(tenant),
            None => self.tenants == TenantPolicy::Any,
        }
    }

    /// Whether a key with these endorsements may speak for a channel. The channel comes without its sub-channel.
    pub(super) fn endorsed(&self, channel: &str, endorsements: &[String]) -> bool {
        let has = |name: &str| endorsements.iter().any(|endorsement| endorsement.eq_ignore_ascii_case(name));
        let stand_ins = self.endorsements.get(&channel.to_ascii_lowercase());
        let for_channel = has(channel) || stand_ins.is_some_and(|names| names.iter().any(|name| has(name)));
        for_channel && self.required_endorsements.iter().all(|name| has(name))
    }
}

/// An id that must be there, is not empty and not longer than any real one.
pub(super) fn required_id(id: Option<&str>, missing: InboundErrorKind) -> Result<&str, InboundError> {
    let id = id.filter(|id| !id.is_empty()).ok_or(missing)?;
    optional_id(Some(id))?;
    Ok(id)
}

pub(super) fn optional_id(id: Option<&str>) -> Result<(), InboundError> {
    match id {
        Some(id) if id.chars().count() > MAX_ID => Err(InboundErrorKind::IdTooLong.into()),
        _ => Ok(()),
    }
}

/// A policy that can ever let someone in. Activities carry tenants as GUIDs.
pub(super) fn check_tenants(tenants: &TenantPolicy) -> Result<(), BuildError> {
    let guids = match tenants {
        TenantPolicy::Single(tenant) => tenant.is_guid(),
        TenantPolicy::Allow(tenants) if tenants.is_empty() => {
            return Err(BuildError::new("the tenant policy allows nobody: its list is empty"));
        }
        TenantPolicy::Allow(tenants) => tenants.iter().all(TenantId::is_guid),
        _ => true,
    };
    if guids {
        Ok(())
    } else {
        Err(BuildError::new("the tenant policy names a domain; activities carry GUIDs, so give the tenant's GUID"))
    }
}
