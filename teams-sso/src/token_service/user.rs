use std::fmt;

use botframework_activity::VerifiedActivity;
use entra_auth::{ClientId, UserKey};

/// The user who wrote a verified activity, as the token service knows them: per bot, channel and channel account.
///
/// There is no other constructor, so that no token is ever asked for in the name of somebody who did not write:
///
/// ```compile_fail
/// # use teams_sso::ChannelUser;
/// let somebody = ChannelUser { id: "29:somebody".into() };
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct ChannelUser {
    id: Box<str>,
    channel: Box<str>,
    bot: ClientId,
    key: UserKey,
}

/// The activity names no user of a directory: no account, no tenant or no object id. Users of channels without Entra
/// accounts cannot be told apart well enough to be given tokens. Who can fix it: nobody; tell the user to use Teams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the activity names no user of a directory")]
pub struct NoUser;

impl ChannelUser {
    /// The user who wrote `activity`.
    ///
    /// # Errors
    ///
    /// [`NoUser`] when it names none with tenant and object id.
    pub fn of(activity: &VerifiedActivity) -> Result<Self, NoUser> {
        let id = activity.from.as_ref().and_then(|from| from.id.as_deref()).filter(|id| !id.is_empty());
        let channel = activity.channel().to_ascii_lowercase();
        match (id, activity.user_key()) {
            (Some(id), Some(key)) if !channel.is_empty() => {
                Ok(Self { id: id.into(), channel: channel.into(), bot: activity.app_id().clone(), key })
            }
            _ => Err(NoUser),
        }
    }

    /// The account in the channel (`29:…` in Teams): what the token service calls `userId`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The base channel, `msteams` also for Copilot. With a product behind it the service shows a code page that leads
    /// nowhere.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.channel
    }

    /// The bot.
    #[must_use]
    pub const fn bot(&self) -> &ClientId {
        &self.bot
    }

    /// Tenant and object id.
    #[must_use]
    pub const fn key(&self) -> &UserKey {
        &self.key
    }
}

/// Shows the channel only.
impl fmt::Debug for ChannelUser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelUser").field("channel", &self.channel).finish_non_exhaustive()
    }
}
