use super::adaptive::AdaptiveCard;
use super::words::{ActionKind, ActionMode, ActionStyle, AssociatedInputs};
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::scalar::Scalar;
use crate::model::tagged::{setters, tagged};

tagged! {
    /// A button of an Adaptive Card. What has no type here is taken as JSON.
    pub enum Action by ActionKind {
        /// Sends an `adaptiveCard/action` invoke.
        Execute(Execute) = EXECUTE,
        /// Sends a message with a value.
        Submit(Submit) = SUBMIT,
        /// Opens a page.
        OpenUrl(OpenUrl) = OPEN_URL,
        /// Shows another card.
        ShowCard(ShowCard) = SHOW_CARD,
        /// Shows and hides elements.
        ToggleVisibility(ToggleVisibility) = TOGGLE_VISIBILITY,
    }
}

/// Declares an action: its own members, then those that every action has.
macro_rules! action {
    ($(#[$meta:meta])* pub struct $name:ident = $kind:ident { $($own:tt)* }) => {
        wire_object! {
            $(#[$meta])*
            pub struct $name {
                /// What it is.
                pub kind: ActionKind = "type" [ActionKind::$kind];
                $($own)*
                /// The label.
                pub title: Option<String> = "title";
                /// The id.
                pub id: Option<String> = "id" show;
                /// The picture on the button.
                pub icon_url: Option<String> = "iconUrl";
                /// How it looks.
                pub style: Option<ActionStyle> = "style";
                /// A button, or an entry of the overflow menu.
                pub mode: Option<ActionMode> = "mode";
                /// What is shown when the pointer rests on it.
                pub tooltip: Option<String> = "tooltip";
                /// Whether it can be pressed.
                pub is_enabled: Option<bool> = "isEnabled";
                /// What to show where it cannot be: `drop` or another action.
                pub fallback: Option<RawJson> = "fallback";
                /// What the client must know, by name.
                pub requires: Option<RawJson> = "requires";
            }
        }

        setters! { $name {
            /// Sets the id.
            id(String) => id;
            /// Sets the picture on the button.
            icon_url(String) => icon_url;
            /// Sets how it looks.
            style(ActionStyle) => style;
            /// Makes it a button, or an entry of the overflow menu.
            mode(ActionMode) => mode;
            /// Sets what is shown when the pointer rests on it.
            tooltip(String) => tooltip;
            /// Lets it be pressed, or not.
            enabled(bool) => is_enabled;
            /// Sets what to show where it cannot be.
            fallback(RawJson) => fallback;
        } }
    };
}

action! {
    /// Sends the bot an `adaptiveCard/action` invoke with the inputs:
    /// [`Action.Execute`](https://adaptivecards.microsoft.com/?topic=Action.Execute).
    pub struct Execute = EXECUTE {
        /// What to do, for the bot.
        pub verb: Option<String> = "verb" show;
        /// What goes with it: any JSON.
        pub data: Option<RawJson> = "data";
        /// Which inputs go with it.
        pub associated_inputs: Option<AssociatedInputs> = "associatedInputs";
    }
}

impl Execute {
    /// A button with this label.
    #[inline]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: Some(title.into()), ..Self::default() }
    }
}

setters! { Execute {
    /// Sets what to do.
    verb(String) => verb;
    /// Sets what goes with it: any JSON.
    data(RawJson) => data;
    /// Sets which inputs go with it.
    associated_inputs(AssociatedInputs) => associated_inputs;
} }

action! {
    /// Sends the bot a message whose `value` is the data and the inputs:
    /// [`Action.Submit`](https://adaptivecards.microsoft.com/?topic=Action.Submit).
    pub struct Submit = SUBMIT {
        /// What goes with it: any JSON.
        pub data: Option<RawJson> = "data";
        /// Which inputs go with it.
        pub associated_inputs: Option<AssociatedInputs> = "associatedInputs";
    }
}

impl Submit {
    /// A button with this label.
    #[inline]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: Some(title.into()), ..Self::default() }
    }
}

setters! { Submit {
    /// Sets what goes with it: any JSON.
    data(RawJson) => data;
    /// Sets which inputs go with it.
    associated_inputs(AssociatedInputs) => associated_inputs;
} }

action! {
    /// Opens a page: [`Action.OpenUrl`](https://adaptivecards.microsoft.com/?topic=Action.OpenUrl).
    pub struct OpenUrl = OPEN_URL {
        /// The page.
        pub url: Option<String> = "url";
    }
}

impl OpenUrl {
    /// A button with this label that opens this page. Check an address that a model wrote with
    /// [`MarkdownSanitizer::allows`](crate::MarkdownSanitizer::allows) first.
    #[inline]
    pub fn new(title: impl Into<String>, url: impl Into<String>) -> Self {
        Self { title: Some(title.into()), url: Some(url.into()), ..Self::default() }
    }
}

action! {
    /// Shows another card below: [`Action.ShowCard`](https://adaptivecards.microsoft.com/?topic=Action.ShowCard).
    pub struct ShowCard = SHOW_CARD {
        /// The card.
        pub card: Option<Box<AdaptiveCard>> = "card";
    }
}

impl ShowCard {
    /// A button with this label that shows this card.
    #[inline]
    pub fn new(title: impl Into<String>, card: AdaptiveCard) -> Self {
        Self { title: Some(title.into()), card: Some(Box::new(card)), ..Self::default() }
    }
}

action! {
    /// Shows and hides elements:
    /// [`Action.ToggleVisibility`](https://adaptivecards.microsoft.com/?topic=Action.ToggleVisibility).
    pub struct ToggleVisibility = TOGGLE_VISIBILITY {
        /// The elements: their ids as texts, or [`TargetElement`]s.
        pub target_elements: Vec<RawJson> = "targetElements";
    }
}

impl ToggleVisibility {
    /// A button with this label that shows what is hidden and hides what is shown, of the elements with these ids.
    #[inline]
    pub fn new<I: Into<String>>(title: impl Into<String>, ids: impl IntoIterator<Item = I>) -> Self {
        let target_elements = ids.into_iter().map(|id| RawJson::from(id.into())).collect();
        Self { title: Some(title.into()), target_elements, ..Self::default() }
    }

    /// Adds an element that is shown or hidden whatever it was.
    #[must_use]
    #[inline]
    pub fn set(mut self, id: impl Into<String>, visible: bool) -> Self {
        self.target_elements.push(serde_json::json!({ "elementId": id.into(), "isVisible": visible }).into());
        self
    }

    /// The elements that are shown or hidden. What is neither an id nor a target is left out.
    #[must_use]
    #[inline]
    pub fn targets(&self) -> Vec<TargetElement> {
        let target = |raw: &RawJson| match raw.read::<Scalar>() {
            Ok(id) => Some(TargetElement { element_id: Some(id.as_str()?.into_owned()), ..TargetElement::default() }),
            Err(_) => raw.read().ok(),
        };
        self.target_elements.iter().filter_map(target).collect()
    }
}

wire_object! {
    /// An element to show or to hide.
    pub struct TargetElement {
        /// Its id.
        pub element_id: Option<String> = "elementId" show;
        /// Whether it is shown; absent changes it.
        pub is_visible: Option<bool> = "isVisible";
    }
}
