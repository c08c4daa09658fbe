use crate::model::card_action::CardAction;
use crate::model::object::wire_object;
use crate::model::tagged::setters;

wire_object! {
    /// A picture of a card:
    /// [`CardImage`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#cardimage-object).
    pub struct CardImage {
        /// Where it is.
        pub url: Option<String> = "url";
        /// The picture in words.
        pub alt: Option<String> = "alt";
        /// What a click does.
        pub tap: Option<CardAction> = "tap";
    }
}

impl CardImage {
    /// A picture at this address.
    #[inline]
    pub fn new(url: impl Into<String>) -> Self {
        Self { url: Some(url.into()), ..Self::default() }
    }
}

setters! { CardImage {
    /// Sets the picture in words.
    alt(String) => alt;
    /// Sets what a click does.
    tap(CardAction) => tap;
} }

macro_rules! basic_card {
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
                /// Pictures.
                pub images: Vec<CardImage> = "images";
                /// Buttons.
                pub buttons: Vec<CardAction> = "buttons";
                /// What a click on the card does.
                pub tap: Option<CardAction> = "tap";
            }
        }

        impl $name {
            /// An empty card.
            #[must_use]
            #[inline]
            pub fn new() -> Self {
                Self::default()
            }

            /// Adds a picture: a [`CardImage`] or its address.
            #[must_use]
            #[inline]
            pub fn image(mut self, image: impl Into<CardImage>) -> Self {
                self.images.push(image.into());
                self
            }

            /// Adds a button.
            #[must_use]
            #[inline]
            pub fn button(mut self, button: CardAction) -> Self {
                self.buttons.push(button);
                self
            }
        }

        setters! { $name {
            /// Sets the title.
            title(String) => title;
            /// Sets the line below the title.
            subtitle(String) => subtitle;
            /// Sets the text.
            text(String) => text;
            /// Sets what a click on the card does.
            tap(CardAction) => tap;
        } }
    };
}

basic_card! {
    /// A card with one large picture:
    /// [hero card](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference#hero-card).
    ///
    /// ```
    /// use botframework_activity::{CardAction, card::{Card, HeroCard}};
    ///
    /// let card = HeroCard::new()
    ///     .title("Lunch")
    ///     .image("https://contoso.com/soup.png")
    ///     .button(CardAction::im_back("Soup"))
    ///     .button(CardAction::open_url("Menu", "https://contoso.com/menu"));
    /// assert!(card.to_attachment()?.is(&HeroCard::CONTENT_TYPE));
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    HeroCard
}

basic_card! {
    /// A card with one small picture:
    /// [thumbnail card](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference#thumbnail-card).
    ThumbnailCard
}

impl From<&str> for CardImage {
    #[inline]
    fn from(url: &str) -> Self {
        Self::new(url)
    }
}

wire_object! {
    /// A bill:
    /// [`ReceiptCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#receiptcard-object).
    pub struct ReceiptCard {
        /// The title.
        pub title: Option<String> = "title";
        /// What is known about the purchase.
        pub facts: Vec<ReceiptFact> = "facts";
        /// What was bought.
        pub items: Vec<ReceiptItem> = "items";
        /// What a click on the card does.
        pub tap: Option<CardAction> = "tap";
        /// The total price, with the currency.
        pub total: Option<String> = "total";
        /// The tax, with the currency.
        pub tax: Option<String> = "tax";
        /// The value-added tax, with the currency.
        pub vat: Option<String> = "vat";
        /// Buttons.
        pub buttons: Vec<CardAction> = "buttons";
    }
}

wire_object! {
    /// A line of facts on a bill.
    pub struct ReceiptFact {
        /// What it is.
        pub key: Option<String> = "key";
        /// Its value.
        pub value: Option<String> = "value";
    }
}

wire_object! {
    /// Something on a bill.
    pub struct ReceiptItem {
        /// The title.
        pub title: Option<String> = "title";
        /// The line below the title.
        pub subtitle: Option<String> = "subtitle";
        /// The text.
        pub text: Option<String> = "text";
        /// A picture.
        pub image: Option<CardImage> = "image";
        /// The price, with the currency.
        pub price: Option<String> = "price";
        /// How many.
        pub quantity: Option<String> = "quantity";
        /// What a click does.
        pub tap: Option<CardAction> = "tap";
    }
}
