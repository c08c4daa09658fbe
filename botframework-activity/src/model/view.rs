//! Activities by type: what belongs to each.
//!
//! ```
//! use botframework_activity::{Activity, view::View};
//!
//! fn describe(activity: &Activity) -> Result<String, botframework_activity::ModelError> {
//!     Ok(match activity.view()? {
//!         View::Message(message) => format!("said {:?}", message.text),
//!         View::ConversationUpdate(update) => format!("{} joined", update.members_added.len()),
//!         View::InstallationUpdate(update) if update.is_added() => "installed".to_owned(),
//!         other => format!("nothing to do for {}", other.kind()),
//!     })
//! }
//! # assert_eq!(describe(&Activity::message("hi"))?, "said \"hi\"");
//! # Ok::<(), botframework_activity::ModelError>(())
//! ```

use std::borrow::Cow;

use super::account::ChannelAccount;
use super::activity::{Activity, MessageReaction, SemanticAction, TextHighlight};
use super::attachment::Attachment;
use super::card_action::SuggestedActions;
use super::channel_data::ChannelInfo;
use super::conversation::ConversationReference;
use super::entity::{Mention, StreamInfo};
use super::error::ModelError;
use super::event::CommandValue;
use super::raw::RawJson;
use super::vocabulary::{ActivityAction, ActivityType, EndOfConversationCode, EventName, InvokeName, TeamsEventType};

macro_rules! views {
    ($($(#[$meta:meta])* $variant:ident = $constant:ident;)*) => {
        /// An activity by its type. It borrows: what it does not show is in the activity.
        #[derive(Clone, Debug)]
        #[non_exhaustive]
        #[allow(clippy::large_enum_variant)]
        pub enum View<'a> {
            $( $(#[$meta])* $variant($variant<'a>), )*
            /// A type that this crate does not know. A bot ignores it.
            Other(&'a Activity),
        }

        impl<'a> View<'a> {
            /// The type.
            #[must_use]
            #[inline]
            pub fn kind(&self) -> &ActivityType {
                match self {
                    $( Self::$variant(_) => const { &ActivityType::$constant }, )*
                    Self::Other(activity) => &activity.kind,
                }
            }

            #[inline]
            fn of(activity: &'a Activity) -> Result<Self, ModelError> {
                $(
                    if activity.kind == ActivityType::$constant {
                        return $variant::of(activity).map(Self::$variant);
                    }
                )*
                Ok(Self::Other(activity))
            }
        }
    };
}

views! {
    /// Somebody said something.
    Message = MESSAGE;
    /// The conversation changed: members, the topic, in Teams the team and its channels.
    ConversationUpdate = CONVERSATION_UPDATE;
    /// Reactions were put on a message, or taken off.
    Reactions = MESSAGE_REACTION;
    /// A message was changed.
    MessageUpdate = MESSAGE_UPDATE;
    /// A message was taken back.
    MessageDelete = MESSAGE_DELETE;
    /// The app was installed or removed.
    InstallationUpdate = INSTALLATION_UPDATE;
    /// Something happened.
    Event = EVENT;
    /// A request that waits for an answer.
    Invoke = INVOKE;
    /// The answer to an invoke, inside a turn.
    InvokeResult = INVOKE_RESPONSE;
    /// The conversation has ended.
    EndOfConversation = END_OF_CONVERSATION;
    /// The bot became a contact of a user, or is none any more.
    ContactRelationUpdate = CONTACT_RELATION_UPDATE;
    /// A text that somebody might send.
    Suggestion = SUGGESTION;
    /// A word for people who look for a fault.
    Trace = TRACE;
    /// Somebody is writing, or a piece of a streamed message.
    Typing = TYPING;
    /// A command to a program.
    Command = COMMAND;
    /// The result of a command.
    CommandResult = COMMAND_RESULT;
    /// A conversation is handed over.
    Handoff = HANDOFF;
    /// The user's data are to be deleted.
    DeleteUserData = DELETE_USER_DATA;
}

impl Activity {
    /// What belongs to an activity of its type.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when a part of it is of another shape.
    #[inline]
    pub fn view(&self) -> Result<View<'_>, ModelError> {
        View::of(self)
    }
}

/// Somebody said something.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Message<'a> {
    /// What a person or a model should read: [`Activity::prompt_text`].
    pub text: Cow<'a, str>,
    /// Who is mentioned.
    pub mentions: Vec<Mention>,
    /// Cards, pictures, files.
    pub attachments: &'a [Attachment],
    /// The data of a pressed button.
    pub value: Option<&'a RawJson>,
    /// Offered answers.
    pub suggested_actions: Option<SuggestedActions>,
    /// The programmatic action behind it.
    pub semantic_action: Option<SemanticAction>,
}

impl<'a> Message<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            text: activity.prompt_text(),
            mentions: activity.mentions()?,
            attachments: &activity.attachments,
            value: activity.value.as_ref(),
            suggested_actions: activity.suggested_actions()?,
            semantic_action: activity.semantic_action()?,
        })
    }
}

/// The conversation changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConversationUpdate<'a> {
    /// Who joined.
    pub members_added: Vec<ChannelAccount>,
    /// Who left.
    pub members_removed: Vec<ChannelAccount>,
    /// The new topic.
    pub topic_name: Option<&'a str>,
    /// Deprecated: whether the history is disclosed.
    pub history_disclosed: Option<bool>,
    /// What happened in Teams.
    pub event_type: Option<TeamsEventType>,
}

impl<'a> ConversationUpdate<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            members_added: activity.members_added()?,
            members_removed: activity.members_removed()?,
            topic_name: activity.topic_name.as_deref(),
            history_disclosed: activity.history_disclosed,
            event_type: event_type(activity),
        })
    }
}

/// Reactions were put on a message, or taken off.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Reactions<'a> {
    /// The message.
    pub message_id: Option<&'a str>,
    /// New ones.
    pub added: Vec<MessageReaction>,
    /// Those that are gone.
    pub removed: Vec<MessageReaction>,
}

impl<'a> Reactions<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            message_id: activity.reply_to_id.as_deref(),
            added: activity.reactions_added()?,
            removed: activity.reactions_removed()?,
        })
    }
}

/// A message was changed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageUpdate<'a> {
    /// The message.
    pub message_id: Option<&'a str>,
    /// What it says now.
    pub message: Message<'a>,
    /// What happened in Teams: edited, or taken back and restored.
    pub event_type: Option<TeamsEventType>,
}

impl<'a> MessageUpdate<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            message_id: activity.id.as_deref(),
            message: Message::of(activity)?,
            event_type: event_type(activity),
        })
    }
}

/// A message was taken back.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageDelete<'a> {
    /// The message.
    pub message_id: Option<&'a str>,
    /// What happened in Teams.
    pub event_type: Option<TeamsEventType>,
}

impl<'a> MessageDelete<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { message_id: activity.id.as_deref(), event_type: event_type(activity) })
    }
}

/// The app was installed or removed.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InstallationUpdate<'a> {
    /// What happened.
    pub action: Option<&'a ActivityAction>,
    /// The channel that the user chose.
    pub selected_channel: Option<ChannelInfo>,
}

impl<'a> InstallationUpdate<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        let data = activity.teams_data().ok().flatten();
        let selected_channel = data.and_then(|data| data.settings).and_then(|settings| settings.selected_channel);
        Ok(Self { action: activity.action.as_ref(), selected_channel })
    }

    /// Installed, or brought to a new version: conversations can be kept from now on.
    #[must_use]
    #[inline]
    pub fn is_added(&self) -> bool {
        self.action.is_some_and(|action| *action == ActivityAction::ADD || *action == ActivityAction::ADD_UPGRADE)
    }

    /// Removed for good: conversations are to be forgotten. A new version of the app is no removal.
    #[must_use]
    #[inline]
    pub fn is_removed(&self) -> bool {
        self.action == Some(&ActivityAction::REMOVE)
    }
}

/// Something happened.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Event<'a> {
    /// What.
    pub name: Option<EventName>,
    /// The value; read it with [`Activity::event_as`].
    pub value: Option<&'a RawJson>,
    /// What the value is.
    pub value_type: Option<&'a str>,
    /// The conversation that it is about.
    pub relates_to: Option<ConversationReference>,
}

impl<'a> Event<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            name: activity.name.as_deref().map(EventName::from),
            value: activity.value.as_ref(),
            value_type: activity.value_type.as_deref(),
            relates_to: activity.relates_to()?,
        })
    }
}

/// A request that waits for an answer.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Invoke<'a> {
    /// What is asked.
    pub name: Option<InvokeName>,
    /// The value; read it with [`Activity::invoke`].
    pub value: Option<&'a RawJson>,
    /// The conversation that it is about.
    pub relates_to: Option<ConversationReference>,
}

impl<'a> Invoke<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { name: activity.invoke_name(), value: activity.value.as_ref(), relates_to: activity.relates_to()? })
    }
}

/// The answer to an invoke, inside a turn.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InvokeResult<'a> {
    /// The answer, an [`InvokeResponse`](crate::InvokeResponse).
    pub value: Option<&'a RawJson>,
}

impl<'a> InvokeResult<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { value: activity.value.as_ref() })
    }
}

/// The conversation has ended.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndOfConversation<'a> {
    /// Why.
    pub code: Option<&'a EndOfConversationCode>,
    /// A text for people.
    pub text: Option<&'a str>,
    /// What came out: any JSON.
    pub value: Option<&'a RawJson>,
}

impl<'a> EndOfConversation<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { code: activity.code.as_ref(), text: activity.text.as_deref(), value: activity.value.as_ref() })
    }
}

/// The bot became a contact of a user, or is none any more.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContactRelationUpdate<'a> {
    /// What happened.
    pub action: Option<&'a ActivityAction>,
}

impl<'a> ContactRelationUpdate<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { action: activity.action.as_ref() })
    }
}

/// A text that somebody might send.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Suggestion<'a> {
    /// The message it is about.
    pub message_id: Option<&'a str>,
    /// The text.
    pub text: Option<&'a str>,
    /// Places in the text of that message.
    pub highlights: Vec<TextHighlight>,
}

impl<'a> Suggestion<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            message_id: activity.reply_to_id.as_deref(),
            text: activity.text.as_deref(),
            highlights: activity.text_highlights()?,
        })
    }
}

/// A word for people who look for a fault.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Trace<'a> {
    /// The name.
    pub name: Option<&'a str>,
    /// A word for people.
    pub label: Option<&'a str>,
    /// What the value is.
    pub value_type: Option<&'a str>,
    /// The value: any JSON.
    pub value: Option<&'a RawJson>,
    /// The conversation that it is about.
    pub relates_to: Option<ConversationReference>,
}

impl<'a> Trace<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self {
            name: activity.name.as_deref(),
            label: activity.label.as_deref(),
            value_type: activity.value_type.as_deref(),
            value: activity.value.as_ref(),
            relates_to: activity.relates_to()?,
        })
    }
}

/// Somebody is writing, or a piece of a streamed message.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Typing<'a> {
    /// The text of the piece.
    pub text: Option<&'a str>,
    /// Which piece of which stream.
    pub stream: Option<StreamInfo>,
}

impl<'a> Typing<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { text: activity.text.as_deref(), stream: activity.entity()? })
    }
}

/// A command to a program.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Command<'a> {
    /// Which one.
    pub name: Option<&'a str>,
    /// Its id and data.
    pub value: Option<CommandValue>,
}

impl<'a> Command<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { name: activity.name.as_deref(), value: activity.value()? })
    }
}

/// The result of a command.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct CommandResult<'a> {
    /// Of which one.
    pub name: Option<&'a str>,
    /// Its id, and data or an error.
    pub value: Option<CommandValue>,
}

impl<'a> CommandResult<'a> {
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { name: activity.name.as_deref(), value: activity.value()? })
    }
}

/// A conversation is handed over. It has no members of its own.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Handoff<'a> {
    /// The activity.
    pub activity: &'a Activity,
}

impl<'a> Handoff<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { activity })
    }
}

/// The user's data are to be deleted.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct DeleteUserData<'a> {
    /// Whose.
    pub user: Option<&'a ChannelAccount>,
}

impl<'a> DeleteUserData<'a> {
    #[allow(clippy::unnecessary_wraps)] // as its siblings
    #[inline]
    fn of(activity: &'a Activity) -> Result<Self, ModelError> {
        Ok(Self { user: activity.from.as_ref() })
    }
}

#[inline]
fn event_type(activity: &Activity) -> Option<TeamsEventType> {
    activity.teams_data().ok()??.event_type
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_has_a_view() {
        for kind in ActivityType::KNOWN {
            let activity = Activity::new((*kind).into());
            let view = activity.view().unwrap();
            assert!(!matches!(view, View::Other(_)), "{kind}");
            assert_eq!(view.kind(), kind);
        }
        assert!(matches!(Activity::new("new".into()).view().unwrap(), View::Other(_)));
    }

    #[test]
    fn a_new_version_is_no_removal() {
        let mut activity = Activity::new(ActivityType::INSTALLATION_UPDATE);
        for (action, added, removed) in [
            ("add", true, false),
            ("add-upgrade", true, false),
            ("remove", false, true),
            ("remove-upgrade", false, false),
        ] {
            activity.action = Some(action.into());
            let View::InstallationUpdate(update) = activity.view().unwrap() else { panic!("another view") };
            assert_eq!((update.is_added(), update.is_removed()), (added, removed), "{action}");
        }
    }
}
