use super::task::{CacheInfo, Task, TaskContext};
use crate::model::activity::Activity;
use crate::model::attachment::Attachment;
use crate::model::card_action::SuggestedActions;
use crate::model::error::ModelError;
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::timestamp::Timestamp;
use crate::model::vocabulary::{AttachmentLayout, ContentType};
use crate::model::words::vocabulary;

wire_object! {
    /// The user searches.
    pub struct Query {
        /// The command of the manifest.
        pub command_id: Option<String> = "commandId" show;
        /// What is searched for; read one with [`Query::parameter`].
        pub parameters: Vec<QueryParameter> = "parameters";
        /// Which page.
        pub query_options: Option<QueryOptions> = "queryOptions";
        /// The code of a sign-in, when the answer before asked for one.
        pub state: Option<String> = "state";
    }
}

impl Query {
    /// The text of the parameter with this name. Teams sends `initialRun` with `true` when the user has entered nothing
    /// yet.
    #[must_use]
    #[inline]
    pub fn parameter(&self, name: &str) -> Option<String> {
        let parameter = self.parameters.iter().find(|parameter| parameter.name.as_deref() == Some(name))?;
        parameter.value.as_ref()?.parse().ok()
    }
}

wire_object! {
    /// One parameter of a search.
    pub struct QueryParameter {
        /// The name, as in the manifest.
        pub name: Option<String> = "name" show;
        /// The value: any JSON, mostly text.
        pub value: Option<RawJson> = "value";
    }
}

wire_object! {
    /// Which page of results.
    pub struct QueryOptions {
        /// How many to leave out.
        pub skip: Option<i64> = "skip";
        /// How many to return.
        pub count: Option<i64> = "count";
    }
}

wire_object! {
    /// Somebody pasted a link.
    pub struct LinkQuery {
        /// The link.
        pub url: Option<String> = "url";
        /// The code of a sign-in, when the answer before asked for one.
        pub state: Option<String> = "state";
    }
}

wire_object! {
    /// The user changed the settings.
    pub struct SettingRequest {
        /// What the settings page returned.
        pub state: Option<String> = "state";
    }
}

vocabulary! {
    /// Where an action command was called: `commandContext`.
    pub struct ComposeContext {
        MESSAGE = "message",
        COMPOSE = "compose",
        COMMAND_BOX = "commandbox",
    }
}

wire_object! {
    /// An action command opens its dialog, or was sent.
    pub struct ComposeActionRequest {
        /// The command of the manifest.
        pub command_id: Option<String> = "commandId" show;
        /// Where it was called.
        pub command_context: Option<ComposeContext> = "commandContext";
        /// What the user did with the preview: `edit` or `send`.
        pub bot_message_preview_action: Option<String> = "botMessagePreviewAction" show;
        /// The preview.
        pub bot_activity_preview: Vec<Activity> = "botActivityPreview";
        /// The message the command was called on.
        pub message_payload: Option<MessagePayload> = "messagePayload";
        /// The inputs of the dialog: any JSON.
        pub data: Option<RawJson> = "data";
        /// Where the user is.
        pub context: Option<TaskContext> = "context";
        /// The code of a sign-in, when the answer before asked for one.
        pub state: Option<String> = "state";
    }
}

wire_object! {
    /// The message an action command was called on.
    pub struct MessagePayload {
        /// Its id.
        pub id: Option<String> = "id" show;
        /// The message it answers.
        pub reply_to_id: Option<String> = "replyToId" show;
        /// Always `message`.
        pub message_type: Option<String> = "messageType" show;
        /// When it was written.
        pub created_date_time: Option<Timestamp> = "createdDateTime";
        /// When it was changed.
        pub last_modified_date_time: Option<Timestamp> = "lastModifiedDateTime";
        /// Whether it is gone.
        pub deleted: Option<bool> = "deleted";
        /// The subject.
        pub subject: Option<String> = "subject";
        /// The summary.
        pub summary: Option<String> = "summary";
        /// How urgent it is.
        pub importance: Option<String> = "importance" show;
        /// The language, BCP 47.
        pub locale: Option<String> = "locale" show;
        /// A link to it.
        pub link_to_message: Option<String> = "linkToMessage";
        /// Who wrote it, in its own bytes.
        pub from: Option<RawJson> = "from";
        /// What it says.
        pub body: Option<PayloadBody> = "body";
        /// How its attachments are laid out.
        pub attachment_layout: Option<AttachmentLayout> = "attachmentLayout";
        /// Its attachments, in their own bytes.
        pub attachments: Vec<RawJson> = "attachments";
        /// Its mentions, in their own bytes.
        pub mentions: Vec<RawJson> = "mentions";
        /// Its reactions, in their own bytes.
        pub reactions: Vec<RawJson> = "reactions";
    }
}

wire_object! {
    /// What a message says.
    pub struct PayloadBody {
        /// `html` or `text`.
        pub content_type: Option<String> = "contentType" show;
        /// The text. HTML that a user wrote: never shown as it is.
        pub content: Option<String> = "content";
    }
}

wire_object! {
    /// The answer of a message extension: results, a sign-in, settings, a preview or a dialog.
    ///
    /// ```
    /// use botframework_activity::{card::{AdaptiveCard, HeroCard}, invoke::{ComposeAnswer, ExtensionAttachment}};
    ///
    /// let full = AdaptiveCard::new().element("Report 7 is open.");
    /// let preview = HeroCard::new().title("Report 7");
    /// let answer = ComposeAnswer::results([ExtensionAttachment::new(&full)?.preview(&preview)?]);
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    pub struct ComposeAnswer {
        /// Results and the like.
        pub compose_extension: Option<ComposeBody> = "composeExtension";
        /// A dialog.
        pub task: Option<Task> = "task";
        /// How long Teams may keep the answer.
        pub cache_info: Option<CacheInfo> = "cacheInfo";
    }
}

impl ComposeAnswer {
    /// These results, as a list.
    #[inline]
    pub fn results(attachments: impl IntoIterator<Item = ExtensionAttachment>) -> Self {
        Self::of(ComposeBody {
            attachment_layout: Some(AttachmentLayout::LIST),
            attachments: attachments.into_iter().collect(),
            ..ComposeBody::of(ComposeResultType::RESULT)
        })
    }

    /// A text.
    #[inline]
    pub fn message(text: impl Into<String>) -> Self {
        Self::of(ComposeBody { text: Some(text.into()), ..ComposeBody::of(ComposeResultType::MESSAGE) })
    }

    /// The user signs in: [`CardAction::open_url`](crate::CardAction::open_url) leads to the page.
    #[must_use]
    #[inline]
    pub fn auth(actions: SuggestedActions) -> Self {
        Self::of(ComposeBody { suggested_actions: Some(actions), ..ComposeBody::of(ComposeResultType::AUTH) })
    }

    /// The settings page: [`CardAction::open_url`](crate::CardAction::open_url) leads to it.
    #[must_use]
    #[inline]
    pub fn config(actions: SuggestedActions) -> Self {
        Self::of(ComposeBody { suggested_actions: Some(actions), ..ComposeBody::of(ComposeResultType::CONFIG) })
    }

    /// A preview of the message that the bot would send.
    #[must_use]
    #[inline]
    pub fn preview(activity: Activity) -> Self {
        Self::of(ComposeBody {
            activity_preview: Some(Box::new(activity)),
            ..ComposeBody::of(ComposeResultType::BOT_MESSAGE_PREVIEW)
        })
    }

    /// A dialog, or what ends it.
    #[must_use]
    #[inline]
    pub fn task(answer: super::TaskAnswer) -> Self {
        Self { task: answer.task, cache_info: answer.cache_info, ..Self::default() }
    }

    #[inline]
    fn of(body: ComposeBody) -> Self {
        Self { compose_extension: Some(body), ..Self::default() }
    }
}

vocabulary! {
    /// What a message extension answers with: `type`.
    pub struct ComposeResultType {
        RESULT = "result",
        AUTH = "auth",
        CONFIG = "config",
        MESSAGE = "message",
        BOT_MESSAGE_PREVIEW = "botMessagePreview",
        SILENT_AUTH = "silentAuth",
    }
}

wire_object! {
    /// Results and the like of a message extension.
    pub struct ComposeBody {
        /// What it is.
        pub kind: Option<ComposeResultType> = "type";
        /// How the results are laid out.
        pub attachment_layout: Option<AttachmentLayout> = "attachmentLayout";
        /// The results.
        pub attachments: Vec<ExtensionAttachment> = "attachments";
        /// Buttons: a sign-in, settings.
        pub suggested_actions: Option<SuggestedActions> = "suggestedActions";
        /// A text.
        pub text: Option<String> = "text";
        /// A preview of the message that the bot would send.
        pub activity_preview: Option<Box<Activity>> = "activityPreview";
    }
}

impl ComposeBody {
    #[inline]
    fn of(kind: ComposeResultType) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }
}

wire_object! {
    /// One result: the card that is inserted, and the one in the list.
    pub struct ExtensionAttachment {
        /// What `content` is.
        pub content_type: Option<ContentType> = "contentType";
        /// Where the content is.
        pub content_url: Option<String> = "contentUrl";
        /// The card that is inserted: any JSON.
        pub content: Option<RawJson> = "content";
        /// The name.
        pub name: Option<String> = "name";
        /// Where a small picture of it is.
        pub thumbnail_url: Option<String> = "thumbnailUrl";
        /// The card in the list.
        pub preview: Option<Attachment> = "preview";
    }
}

impl ExtensionAttachment {
    /// A result with this card.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn new<T: crate::card::Card>(card: &T) -> Result<Self, ModelError> {
        let attachment = card.to_attachment()?;
        Ok(Self { content_type: attachment.content_type, content: attachment.content, ..Self::default() })
    }

    /// Sets the card in the list.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON.
    #[inline]
    pub fn preview<T: crate::card::Card>(mut self, card: &T) -> Result<Self, ModelError> {
        self.preview = Some(card.to_attachment()?);
        Ok(self)
    }
}
