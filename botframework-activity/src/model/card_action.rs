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

wire_object! {
    /// Answers offered to the user. Teams shows them in personal chats only.
    pub struct SuggestedActions {
        /// Ids of the accounts they are for; empty means everybody.
        pub to: Vec<String> = "to";
        /// The answers.
        pub actions: Vec<CardAction> = "actions";
    }
}
