use std::{fmt, ops::Deref, sync::Arc};

use entra_auth::{ClientId, TenantId, UserKey};

use super::{ChannelCloud, ConversationKey, ServiceUrl, VerifiedReference};
use crate::Activity;

/// An activity that the channel has proven to be its own, with what is known about where it came from.
///
/// It has two doors: [`ChannelToken::open`](crate::ChannelToken::open) for requests, and [`VerifiedActivity::restore`]
/// for records that were sealed. It reads like the [`Activity`] it holds. A clone is an `Arc` clone.
///
/// What anybody can write is none:
///
/// ```compile_fail,E0308
/// # use botframework_activity::{Activity, VerifiedActivity};
/// let activity = Activity::message("hello");
/// let verified: VerifiedActivity = VerifiedActivity::from(activity);
/// ```
///
/// ```
/// # use botframework_activity::VerifiedActivity;
/// # fn example(activity: VerifiedActivity) {
/// let verified: VerifiedActivity = VerifiedActivity::from(activity);
/// # }
/// ```
#[derive(Clone)]
pub struct VerifiedActivity(Arc<Facts>);

pub(super) struct Facts {
    pub(super) activity: Activity,
    pub(super) service_url: ServiceUrl,
    pub(super) tenant: Option<TenantId>,
    pub(super) app_id: ClientId,
    pub(super) cloud: ChannelCloud,
    /// How long the request's body or the record was, in bytes.
    pub(super) size: usize,
}

impl VerifiedActivity {
    pub(super) fn new(facts: Facts) -> Self {
        Self(Arc::new(facts))
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.0
    }

    /// How much memory it takes, by the bytes it was read from.
    #[cfg(feature = "turns")]
    pub(crate) fn size(&self) -> usize {
        self.0.size
    }

    /// The activity.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        &self.0.activity
    }

    /// Where answers go.
    #[must_use]
    pub fn service_url(&self) -> &ServiceUrl {
        &self.0.service_url
    }

    /// The tenant that service URL, conversation and channel data agree on; `None` when they name none.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        self.0.tenant.as_ref()
    }

    /// The app id of the bot that was addressed.
    #[must_use]
    pub fn app_id(&self) -> &ClientId {
        &self.0.app_id
    }

    /// The cloud it came from.
    #[must_use]
    pub fn cloud(&self) -> ChannelCloud {
        self.0.cloud
    }

    /// The channel without its sub-channel: `msteams` for `msteams:COPILOT`.
    #[must_use]
    pub fn channel(&self) -> &str {
        self.0.activity.channel_id.as_ref().map_or("", |channel| channel.base())
    }

    /// The user who wrote it, as the key for everything that belongs to a user.
    ///
    /// `None` when the channel names no tenant or no object id, or places the user in another tenant than the
    /// conversation. The channel has signed where the request came from, not what is in it: before anything is done in
    /// the user's name, compare this with the user token.
    #[must_use]
    #[inline]
    pub fn user_key(&self) -> Option<UserKey> {
        let tenant = self.tenant()?;
        let from = self.0.activity.from.as_ref()?;
        if from.tenant_id.as_deref().is_some_and(|of_user| !of_user.eq_ignore_ascii_case(tenant.as_str())) {
            return None;
        }
        let object_id = from.object_id()?.parse().ok()?;
        Some(UserKey::assume_verified(tenant.clone(), object_id))
    }

    /// Names the conversation, for maps, queues and locks.
    #[must_use]
    #[inline]
    pub fn conversation_key(&self) -> ConversationKey {
        let conversation = self.0.activity.conversation_id().unwrap_or_default();
        ConversationKey::new(self.0.cloud, &self.0.app_id, self.tenant(), self.channel(), conversation)
    }

    /// What is needed to write to this conversation later.
    #[must_use]
    pub fn reference(&self) -> VerifiedReference {
        VerifiedReference::of(self)
    }
}

impl Deref for VerifiedActivity {
    type Target = Activity;

    fn deref(&self) -> &Activity {
        &self.0.activity
    }
}

impl AsRef<Activity> for VerifiedActivity {
    fn as_ref(&self) -> &Activity {
        &self.0.activity
    }
}

impl fmt::Debug for VerifiedActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("VerifiedActivity")
            .field("activity", &self.0.activity)
            .field("service_url", &self.0.service_url)
            .field("tenant", &self.0.tenant)
            .field("app_id", &self.0.app_id)
            .field("size", &self.0.size)
            .finish_non_exhaustive()
    }
}

/// An activity of a tenant that is not allowed, otherwise verified.
///
/// It can be answered, and that is all: no queue and no handler takes it.
#[derive(Clone)]
pub struct ForeignActivity(VerifiedActivity);

impl ForeignActivity {
    pub(super) const fn new(activity: VerifiedActivity) -> Self {
        Self(activity)
    }

    /// The activity.
    #[must_use]
    pub fn activity(&self) -> &Activity {
        self.0.activity()
    }

    /// The tenant it came from, when one is named.
    #[must_use]
    pub fn tenant(&self) -> Option<&TenantId> {
        self.0.tenant()
    }

    /// Where a polite refusal goes.
    #[must_use]
    pub fn reference(&self) -> VerifiedReference {
        self.0.reference()
    }
}

impl fmt::Debug for ForeignActivity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ForeignActivity").field("tenant", &self.0.tenant()).finish_non_exhaustive()
    }
}
