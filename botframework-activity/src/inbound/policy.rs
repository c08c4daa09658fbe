use std::{collections::HashMap, sync::Arc};

use entra_auth::{BuildError, ClientId, TenantId, TenantPolicy};

use super::{ChannelCloud, InboundError, InboundErrorKind, ServiceUrl, service_url::ConnectorHosts};
use crate::{Activity, ModelErrorKind, json_shape};

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

impl Rules {
    /// The activity in a body, within the limits. What is wrong with the bytes is found before what is wrong with what
    /// they say.
    pub(super) fn read(&self, body: &[u8]) -> Result<Activity, InboundError> {
        if body.len() > self.body_limit {
            return Err(InboundErrorKind::BodyTooLarge.into());
        }
        let shape = json_shape(body);
        if shape.depth > self.depth_limit {
            return Err(InboundErrorKind::BodyTooDeep.into());
        }
        if shape.nodes > self.node_limit {
            return Err(InboundErrorKind::BodyTooComplex.into());
        }
        let activity = Activity::from_json(body).map_err(|error| {
            let kind = match error.kind() {
                ModelErrorKind::Malformed => InboundErrorKind::MalformedBody,
                _ => InboundErrorKind::MalformedActivity,
            };
            InboundError::from(kind).with_source(error)
        })?;
        if activity.kind.as_str().is_empty() {
            return Err(InboundErrorKind::MalformedActivity.into());
        }
        Ok(activity)
    }
}

/// The address that the activity itself names; mostly it is the one that was signed, letter by letter.
pub(super) fn named_service_url(activity: &Activity, signed: Option<&ServiceUrl>) -> Result<ServiceUrl, InboundError> {
    let text = activity.service_url.as_deref().filter(|text| !text.is_empty());
    let text = text.ok_or(InboundErrorKind::MissingServiceUrl)?;
    if let Some(signed) = signed.filter(|signed| signed.is_written(text)) {
        return Ok(signed.clone());
    }
    ServiceUrl::parse(text).map_err(|_| InboundErrorKind::ServiceUrlMismatch.into())
}

/// The channel without its sub-channel, which every activity names.
pub(super) fn named_channel(activity: &Activity) -> Result<&str, InboundError> {
    let channel = activity.channel_id.as_ref().map(|channel| channel.base().trim());
    required_id(channel, InboundErrorKind::MissingChannel)
}

/// The conversation, which every activity names, and the other ids, where they are.
pub(super) fn check_ids(activity: &Activity) -> Result<(), InboundError> {
    required_id(activity.conversation_id(), InboundErrorKind::MissingConversation)?;
    optional_id(activity.id.as_deref())?;
    optional_id(activity.from.as_ref().and_then(|from| from.id.as_deref()))?;
    optional_id(activity.recipient.as_ref().and_then(|recipient| recipient.id.as_deref()))
}

/// An id that must be there, is not empty and not longer than any real one.
fn required_id(id: Option<&str>, missing: InboundErrorKind) -> Result<&str, InboundError> {
    let id = id.filter(|id| !id.is_empty()).ok_or(missing)?;
    optional_id(Some(id))?;
    Ok(id)
}

fn optional_id(id: Option<&str>) -> Result<(), InboundError> {
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
