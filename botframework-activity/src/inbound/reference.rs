use std::fmt;

#[cfg(feature = "connector")]
use entra_auth::UserKey;
use entra_auth::{ClientId, Key, Namespace, Partition, TenantId};

use super::{ChannelCloud, ServiceUrl, VerifiedActivity};
use crate::ConversationReference;
#[cfg(feature = "connector")]
use crate::ConversationType;

/// A conversation that the bot may write to: the plain reference, and the proof of where its messages may go.
///
/// Taken from a [`VerifiedActivity`], or restored from a record that was sealed. Teams moves tenants between regions:
/// take a fresh one from every activity of the conversation.
#[derive(Clone)]
pub struct VerifiedReference {
    pub(super) reference: ConversationReference,
    pub(super) service_url: ServiceUrl,
    pub(super) tenant: Option<TenantId>,
    pub(super) app_id: ClientId,
    pub(super) cloud: ChannelCloud,
}

impl VerifiedReference {
    #[inline]
    pub(super) fn of(activity: &VerifiedActivity) -> Self {
        Self {
            reference: activity.activity().conversation_reference(),
            service_url: activity.service_url().clone(),
            tenant: activity.tenant().cloned(),
            app_id: activity.app_id().clone(),
            cloud: activity.cloud(),
        }
    }

    /// The reference as plain data, for addressing a message
    /// ([`Activity::addressed_to`](crate::Activity::addressed_to)).
    #[must_use]
    pub const fn reference(&self) -> &ConversationReference {
        &self.reference
    }

    /// Where messages go.
    #[must_use]
    pub const fn service_url(&self) -> &ServiceUrl {
        &self.service_url
    }

    /// The tenant of the conversation, when one is known.
    #[must_use]
    pub const fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// The app id of the bot.
    #[must_use]
    pub const fn app_id(&self) -> &ClientId {
        &self.app_id
    }

    /// The id of the conversation.
    #[must_use]
    pub fn conversation_id(&self) -> &str {
        self.reference.conversation.as_ref().and_then(|conversation| conversation.id.as_deref()).unwrap_or_default()
    }

    /// The user of a personal chat; `None` in groups and channels, and when tenant or object id are not known.
    #[cfg(feature = "connector")]
    #[inline]
    pub(crate) fn personal_user(&self) -> Option<UserKey> {
        let conversation = self.reference.conversation.as_ref()?;
        let personal = conversation.conversation_type.as_ref() == Some(&ConversationType::PERSONAL);
        let user = self.reference.user.as_ref().filter(|_| personal && conversation.is_group != Some(true))?;
        let object_id = user.object_id()?.parse().ok()?;
        Some(UserKey::assume_verified(self.tenant.clone()?, object_id))
    }

    /// Names the conversation, for maps, queues and locks.
    #[must_use]
    #[inline]
    pub fn conversation_key(&self) -> ConversationKey {
        let channel = self.reference.channel_id.as_ref().map_or("", |channel| channel.base());
        ConversationKey::new(self.cloud, &self.app_id, self.tenant(), channel, self.conversation_id())
    }
}

impl fmt::Debug for VerifiedReference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedReference")
            .field("reference", &self.reference)
            .field("service_url", &self.service_url)
            .field("tenant", &self.tenant)
            .field("app_id", &self.app_id)
            .finish_non_exhaustive()
    }
}

/// Names one conversation across clouds, bots, tenants and channels: two of them never share a key.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ConversationKey {
    parts: [Box<str>; 5],
}

impl ConversationKey {
    #[inline]
    pub(super) fn new(
        cloud: ChannelCloud,
        app_id: &ClientId,
        tenant: Option<&TenantId>,
        channel: &str,
        conversation: &str,
    ) -> Self {
        let channel = channel.to_ascii_lowercase();
        let parts = [cloud.as_str(), app_id.as_str(), tenant.map_or("", TenantId::as_str), &channel, conversation]
            .map(Into::into);
        Self { parts }
    }

    /// The parts: cloud, bot, tenant (may be empty), channel, conversation.
    pub fn parts(&self) -> impl Iterator<Item = &str> {
        self.parts.iter().map(|part| &**part)
    }

    /// The partition of a store that holds what belongs to this conversation.
    #[must_use]
    pub fn partition(&self, namespace: Namespace) -> Partition {
        namespace.partition(self.parts())
    }

    /// The key of a record that belongs to this conversation.
    #[must_use]
    #[inline]
    pub fn key(&self, namespace: Namespace, name: &str) -> Key {
        self.partition(namespace).key([name])
    }
}

/// Shows nothing: the id of a conversation can hold a user's.
impl fmt::Debug for ConversationKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ConversationKey")
    }
}
