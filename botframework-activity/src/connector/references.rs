use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use entra_auth::{ClientId, Key, Namespace, Sealer, Store, StoreError, UserKey, When};

use super::error::{SendAdvice, SendError};
use crate::{
    ActivityAction, ActivityType, ChannelCloud, ChannelPolicy, ConversationKey, RecordError, VerifiedActivity,
    VerifiedReference,
};

/// Where the bot may write without having been asked: the references of its conversations, sealed in a [`Store`].
///
/// A reference is taken when the app is installed or somebody writes, and dropped when the app is removed, when the
/// service says that the bot has no place there any more, or after [`References::lifetime`] without a sign of life.
///
/// ```
/// use botframework_activity::{Activity, ConnectorClient, References, VerifiedActivity};
/// use entra_auth::UserKey;
///
/// // For every activity that comes in:
/// async fn on_activity(references: &References, activity: &VerifiedActivity) {
///     if let Err(error) = references.note(activity).await {
///         eprintln!("the conversation could not be remembered: {error}");
///     }
/// }
///
/// // Later, out of the blue:
/// async fn notify(references: &References, connector: &ConnectorClient, user: &UserKey, text: &str) {
///     let Ok(Some(place)) = references.of_user(user).await else { return };
///     let message = Activity::message(text).addressed_to(place.reference());
///     if let Err(error) = connector.send(place.service_url(), &message).await {
///         let _ = references.after_failure(&place, &error).await;
///     }
/// }
/// ```
#[derive(Clone)]
pub struct References {
    store: Arc<dyn Store>,
    sealer: Arc<Sealer>,
    policy: ChannelPolicy,
    lifetime: Duration,
}

/// What an activity said about the installation of the app.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstallChange {
    /// The app was installed or the bot was added: a good moment for a greeting.
    Installed,
    /// The app was removed, or the bot was: the reference is gone.
    Uninstalled,
    /// Neither.
    None,
}

/// Why references could not be read or written.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReferenceError {
    /// The store failed. Retry when [`StoreError`] says so.
    Store(StoreError),
    /// A reference could not be sealed or opened. The operator.
    Record(RecordError),
}

const CONVERSATIONS: Namespace = Namespace::precious("references");
const USERS: Namespace = Namespace::precious("references-of-users");

impl References {
    /// References in this store, under this seal, judged by the bot's policy whenever they are read.
    #[must_use]
    #[inline]
    pub fn new(store: Arc<dyn Store>, sealer: Arc<Sealer>, policy: ChannelPolicy) -> Self {
        Self { store, sealer, policy, lifetime: Duration::from_secs(90 * 24 * 3600) }
    }

    /// How long a reference is kept after the last activity of its conversation. Default 90 days.
    #[must_use]
    #[inline]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Notes an activity: takes, renews or drops the reference of its conversation. Two writes at most.
    ///
    /// # Errors
    ///
    /// The store failed or the reference could not be sealed. The activity can be handled all the same.
    #[inline]
    pub async fn note(&self, activity: &VerifiedActivity) -> Result<InstallChange, ReferenceError> {
        let change = change_of(activity);
        let reference = activity.reference();
        if change == InstallChange::Uninstalled {
            self.forget(&reference).await?;
        } else {
            for place in self.places(&reference) {
                let sealed = reference.seal(&self.sealer, &place)?;
                let _ = self.store.put(&place, sealed.into(), self.lifetime, When::Always).await?;
            }
        }
        Ok(change)
    }

    /// The reference of a conversation; `None` when there is none, or it is not allowed any more.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[inline]
    pub async fn of_conversation(
        &self,
        conversation: &ConversationKey,
    ) -> Result<Option<VerifiedReference>, ReferenceError> {
        self.read(&place_of(conversation)).await
    }

    /// The personal chat with a user. For the first of the policy's app ids that has one.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[inline]
    pub async fn of_user(&self, user: &UserKey) -> Result<Option<VerifiedReference>, ReferenceError> {
        for app_id in self.policy.app_ids() {
            if let Some(reference) = self.read(&place_of_user(self.policy.cloud(), app_id, user)).await? {
                return Ok(Some(reference));
            }
        }
        Ok(None)
    }

    /// Drops the reference of a conversation, and that of its user.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[inline]
    pub async fn forget(&self, reference: &VerifiedReference) -> Result<(), ReferenceError> {
        for place in self.places(reference) {
            self.store.remove(&place, When::Always).await?;
        }
        Ok(())
    }

    /// Drops the reference when the failure of a send means that the bot has no place in the conversation: it is not
    /// installed, it was blocked, or the conversation is gone. `true` when it was dropped.
    ///
    /// # Errors
    ///
    /// The store failed.
    #[inline]
    pub async fn after_failure(
        &self,
        reference: &VerifiedReference,
        error: &SendError,
    ) -> Result<bool, ReferenceError> {
        let gone =
            matches!(error.advice(), SendAdvice::WaitForInstall | SendAdvice::WaitForUser | SendAdvice::DropReference);
        if gone {
            self.forget(reference).await?;
        }
        Ok(gone)
    }

    /// Where the reference is kept: under its conversation, and under its user when it is their personal chat.
    #[inline]
    fn places(&self, reference: &VerifiedReference) -> Vec<Key> {
        let mut places = vec![place_of(&reference.conversation_key())];
        if let Some(user) = reference.personal_user() {
            places.push(place_of_user(self.policy.cloud(), reference.app_id(), &user));
        }
        places
    }

    #[inline]
    async fn read(&self, place: &Key) -> Result<Option<VerifiedReference>, ReferenceError> {
        let Some(record) = self.store.get(place).await? else {
            return Ok(None);
        };
        match VerifiedReference::restore(&record.value, &self.sealer, place, &self.policy) {
            Ok(reference) => Ok(Some(reference)),
            Err(error) => {
                tracing::warn!(kind = ?error.kind(), "a stored conversation reference is of no use");
                Ok(None)
            }
        }
    }
}

impl fmt::Debug for References {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("References").field("lifetime", &self.lifetime).finish_non_exhaustive()
    }
}

impl From<StoreError> for ReferenceError {
    #[inline]
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<RecordError> for ReferenceError {
    #[inline]
    fn from(error: RecordError) -> Self {
        Self::Record(error)
    }
}

impl fmt::Display for ReferenceError {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Store(_) => "the store of conversation references failed",
            Self::Record(_) => "a conversation reference could not be sealed",
        })
    }
}

impl StdError for ReferenceError {
    #[inline]
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Store(error) => Some(error),
            Self::Record(error) => Some(error),
        }
    }
}

#[inline]
fn place_of(conversation: &ConversationKey) -> Key {
    conversation.key(CONVERSATIONS, "reference")
}

#[inline]
fn place_of_user(cloud: ChannelCloud, app_id: &ClientId, user: &UserKey) -> Key {
    let parts = [cloud.as_str(), app_id.as_str(), user.tenant().as_str(), user.object_id().as_str()];
    USERS.partition(parts).key(["personal"])
}

/// What the activity says about the app: an installation update, or the bot itself among those who came or went.
#[inline]
fn change_of(activity: &VerifiedActivity) -> InstallChange {
    let bot = activity.recipient.as_ref().and_then(|bot| bot.id.as_deref());
    let names_bot =
        |members: Vec<crate::ChannelAccount>| members.iter().any(|m| m.id.is_some() && m.id.as_deref() == bot);
    if activity.kind == ActivityType::INSTALLATION_UPDATE {
        let is = |action: &ActivityAction| activity.action.as_ref() == Some(action);
        return if is(&ActivityAction::REMOVE) {
            InstallChange::Uninstalled
        } else if is(&ActivityAction::ADD) {
            InstallChange::Installed
        } else {
            // An upgrade removes the old version and adds the new one, in any order: the bot stays.
            InstallChange::None
        };
    }
    if activity.kind == ActivityType::CONVERSATION_UPDATE {
        if activity.members_removed().is_ok_and(names_bot) {
            return InstallChange::Uninstalled;
        }
        if activity.members_added().is_ok_and(names_bot) {
            return InstallChange::Installed;
        }
    }
    InstallChange::None
}
