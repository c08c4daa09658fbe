use super::object::wire_object;
use super::raw::RawJson;
use super::vocabulary::ActionType;

wire_object! {
    /// A button of a card, or a suggested answer:
    /// [`CardAction`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#cardaction-object).
    pub struct CardAction {
        /// What the button does.
        pub kind: ActionType = "type" [ActionType::IM_BACK];
        /// Its label.
        pub title: Option<String> = "title";
        /// The URL of its picture.
        pub image: Option<String> = "image";
        /// The picture in words.
        pub image_alt_text: Option<String> = "imageAltText";
        /// The text sent for `messageBack`.
        pub text: Option<String> = "text";
        /// The text shown for `messageBack`.
        pub display_text: Option<String> = "displayText";
        /// What the button carries: a string or any JSON.
        pub value: Option<RawJson> = "value";
        /// The channel's own data.
        pub channel_data: Option<RawJson> = "channelData";
    }
}

/// Making buttons.
///
/// ```
/// use botframework_activity::CardAction;
///
/// let button = CardAction::message_back("Yes", "the user said yes").with_value(serde_json::json!({ "answer": 1 }));
/// assert_eq!(
///     serde_json::to_string(&button)?,
///     r#"{"type":"messageBack","title":"Yes","text":"the user said yes","displayText":"Yes","value":{"answer":1}}"#
/// );
/// # Ok::<(), serde_json::Error>(())
/// ```
impl CardAction {
    /// A button of this kind with this label.
    #[inline]
    pub fn new(kind: ActionType, title: impl Into<String>) -> Self {
        Self { kind, title: Some(title.into()), ..Self::default() }
    }

    /// Says the label in the user's name.
    #[inline]
    pub fn im_back(title: impl Into<String>) -> Self {
        let title = title.into();
        Self::new(ActionType::IM_BACK, title.clone()).with_value(title)
    }

    /// Opens a page.
    #[inline]
    pub fn open_url(title: impl Into<String>, url: impl Into<String>) -> Self {
        Self::new(ActionType::OPEN_URL, title).with_value(url.into())
    }

    /// Sends the bot a text that the chat shows as the label.
    #[inline]
    pub fn message_back(title: impl Into<String>, text: impl Into<String>) -> Self {
        let title = title.into();
        Self {
            text: Some(text.into()),
            display_text: Some(title.clone()),
            ..Self::new(ActionType::MESSAGE_BACK, title)
        }
    }

    /// Sends the bot an invoke.
    #[inline]
    pub fn invoke(title: impl Into<String>, value: impl Into<RawJson>) -> Self {
        Self::new(ActionType::INVOKE, title).with_value(value)
    }

    /// Sets what the button carries: a text, or any JSON.
    #[must_use]
    #[inline]
    pub fn with_value(mut self, value: impl Into<RawJson>) -> Self {
        self.value = Some(value.into());
        self
    }

    /// Sets the picture.
    #[must_use]
    #[inline]
    pub fn with_image(mut self, url: impl Into<String>) -> Self {
        self.image = Some(url.into());
        self
    }
}

impl SuggestedActions {
    /// These answers, for everybody.
    ///
    /// ```
    /// use botframework_activity::{Activity, CardAction, SuggestedActions};
    ///
    /// let answers = SuggestedActions::new([CardAction::im_back("Yes"), CardAction::im_back("No")]);
    /// let message = Activity::message("Shall I?").with_suggested_actions(&answers)?;
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    #[inline]
    pub fn new(actions: impl IntoIterator<Item = CardAction>) -> Self {
        Self { actions: actions.into_iter().collect(), ..Self::default() }
    }

    /// Offers them to this account only.
    #[must_use]
    #[inline]
    pub fn only_for(mut self, id: impl Into<String>) -> Self {
        self.to.push(id.into());
        self
    }
}

wire_object! {
    /// Answers offered to the user. Teams shows them in personal chats only.
    pub struct SuggestedActions {
        /// Ids of the accounts they are for; empty means everybody.
        pub to: Vec<String> = "to";
        /// The answers.
        pub actions: Vec<CardAction> = "actions";
    }
}
