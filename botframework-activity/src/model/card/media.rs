use crate::model::card_action::CardAction;
use crate::model::object::wire_object;
use crate::model::raw::RawJson;

wire_object! {
    /// Where a sound, a film or an animation is.
    pub struct MediaUrl {
        /// The address.
        pub url: Option<String> = "url";
        /// A hint for the player.
        pub profile: Option<String> = "profile";
    }
}

wire_object! {
    /// The picture that stands for a sound or a film.
    pub struct MediaImage {
        /// The address.
        pub url: Option<String> = "url";
        /// The picture in words.
        pub alt: Option<String> = "alt";
    }
}

macro_rules! media_card {
    ($(#[$meta:meta])* $name:ident) => {
        wire_object! {
            $(#[$meta])*
            pub struct $name {
                /// The title.
                pub title: Option<String> = "title";
                /// The line below the title.
                pub subtitle: Option<String> = "subtitle";
                /// The text.
                pub text: Option<String> = "text";
                /// The picture that stands for it.
                pub image: Option<MediaImage> = "image";
                /// Where it is, in one or more forms.
                pub media: Vec<MediaUrl> = "media";
                /// Buttons.
                pub buttons: Vec<CardAction> = "buttons";
                /// Whether it may be shared.
                pub shareable: Option<bool> = "shareable";
                /// Whether it begins again at the end.
                pub autoloop: Option<bool> = "autoloop";
                /// Whether it begins by itself.
                pub autostart: Option<bool> = "autostart";
                /// The aspect ratio, `16:9` or `4:3`.
                pub aspect: Option<String> = "aspect";
                /// How long it is, ISO 8601.
                pub duration: Option<String> = "duration";
                /// What comes back with events of the player: any JSON.
                pub value: Option<RawJson> = "value";
            }
        }
    };
}

media_card! {
    /// A film without sound:
    /// [`AnimationCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#animationcard-object).
    AnimationCard
}

media_card! {
    /// A sound:
    /// [`AudioCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#audiocard-object).
    AudioCard
}

media_card! {
    /// A film:
    /// [`VideoCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#videocard-object).
    VideoCard
}
