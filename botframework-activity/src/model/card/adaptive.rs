use super::action::{Action, Execute};
use super::element::Element;
use super::words::{ContainerStyle, ElementKind, VerticalAlignment};
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::scalar::Scalar;
use crate::model::tagged::setters;

wire_object! {
    /// A card of texts, pictures, inputs and actions:
    /// [Adaptive Cards](https://adaptivecards.microsoft.com/?topic=AdaptiveCard).
    ///
    /// [`AdaptiveCard::new`] makes one of version 1.5, which every Teams client shows.
    pub struct AdaptiveCard {
        /// Always `AdaptiveCard`.
        pub kind: ElementKind = "type" [ElementKind::ADAPTIVE_CARD];
        /// The schema.
        pub schema: Option<String> = "$schema" show;
        /// The version, `1.5` for one.
        pub version: Option<Scalar> = "version";
        /// What the card shows.
        pub body: Vec<Element> = "body";
        /// The buttons at the end.
        pub actions: Vec<Action> = "actions";
        /// What a click on the card does.
        pub select_action: Option<Action> = "selectAction";
        /// How the card is brought up to date for each of its readers.
        pub refresh: Option<Refresh> = "refresh";
        /// What to show where the card cannot be.
        pub fallback_text: Option<String> = "fallbackText";
        /// The picture behind it: an address or an object.
        pub background_image: Option<RawJson> = "backgroundImage";
        /// The least height, `80px` for one.
        pub min_height: Option<Scalar> = "minHeight";
        /// Whether it runs from right to left.
        pub rtl: Option<bool> = "rtl";
        /// What to say aloud.
        pub speak: Option<String> = "speak";
        /// The language, ISO 639-1.
        pub lang: Option<String> = "lang" show;
        /// Where the content stands.
        pub vertical_content_alignment: Option<VerticalAlignment> = "verticalContentAlignment";
        /// How the card looks.
        pub style: Option<ContainerStyle> = "style";
        /// How the user signs in.
        pub authentication: Option<RawJson> = "authentication";
        /// What only Teams knows: full width, mentions.
        pub msteams: Option<TeamsCardOptions> = "msteams";
        /// What a template adds: any JSON.
        pub metadata: Option<RawJson> = "metadata";
    }
}

impl AdaptiveCard {
    /// An empty card of version 1.5.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self {
            schema: Some("http://adaptivecards.io/schemas/adaptive-card.json".into()),
            version: Some("1.5".into()),
            ..Self::default()
        }
    }

    /// Adds an element.
    #[must_use]
    #[inline]
    pub fn element(mut self, element: impl Into<Element>) -> Self {
        self.body.push(element.into());
        self
    }

    /// Adds a button at the end.
    #[must_use]
    #[inline]
    pub fn action(mut self, action: impl Into<Action>) -> Self {
        self.actions.push(action.into());
        self
    }

    /// Lets Teams show the card as wide as the chat.
    #[must_use]
    #[inline]
    pub fn full_width(mut self) -> Self {
        self.msteams.get_or_insert_default().width = Some("Full".into());
        self
    }

    /// Names somebody: adds the entity to which `<at>name</at>` in a text of the card refers. `id` is the user's id in
    /// the channel, its Entra object id or its user principal name.
    #[must_use]
    #[inline]
    pub fn mention(mut self, id: impl Into<String>, name: impl Into<String>) -> Self {
        let name = name.into();
        let entity = serde_json::json!({
            "type": "mention", "text": format!("<at>{name}</at>"), "mentioned": { "id": id.into(), "name": name }
        });
        self.msteams.get_or_insert_default().entities.push(RawJson::from(entity));
        self
    }
}

setters! { AdaptiveCard {
    /// Sets the version.
    version(Scalar) => version;
    /// Sets what a click on the card does.
    select_action(Action) => select_action;
    /// Sets how the card is brought up to date.
    refresh(Refresh) => refresh;
    /// Sets what to show where the card cannot be.
    fallback_text(String) => fallback_text;
    /// Sets what to say aloud.
    speak(String) => speak;
    /// Sets the language, ISO 639-1.
    lang(String) => lang;
    /// Lets it run from right to left.
    rtl(bool) => rtl;
    /// Sets the least height.
    min_height(Scalar) => min_height;
    /// Sets how the card looks.
    style(ContainerStyle) => style;
} }

wire_object! {
    /// How a card is brought up to date for each of its readers:
    /// [user-specific views](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/universal-actions-for-adaptive-cards/user-specific-views).
    pub struct Refresh {
        /// The invoke that asks for the new card.
        pub action: Option<Execute> = "action";
        /// Who is asked by themselves, at most 60 ids.
        pub user_ids: Vec<String> = "userIds";
        /// When the card is old.
        pub expires: Option<crate::Timestamp> = "expires";
    }
}

impl Refresh {
    /// This invoke, for everybody who opens the card.
    #[must_use]
    #[inline]
    pub fn new(action: Execute) -> Self {
        Self { action: Some(action), ..Self::default() }
    }

    /// Adds somebody who is asked by themselves.
    #[must_use]
    #[inline]
    pub fn for_user(mut self, id: impl Into<String>) -> Self {
        self.user_ids.push(id.into());
        self
    }
}

wire_object! {
    /// What only Teams knows of a card.
    pub struct TeamsCardOptions {
        /// `Full`, or absent.
        pub width: Option<String> = "width" show;
        /// Mentions, in their own bytes.
        pub entities: Vec<RawJson> = "entities";
    }
}
