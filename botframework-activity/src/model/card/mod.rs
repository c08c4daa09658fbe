//! Cards: what the `content` of an attachment holds, by content type.
//!
//! Every card reads and writes without loss, and is built by chained methods:
//!
//! ```
//! use botframework_activity::{Activity, card};
//! use serde_json::json;
//!
//! let card = card::AdaptiveCard::new()
//!     .element(card::TextBlock::new("Expense report").size(card::TextSize::LARGE).weight(card::TextWeight::BOLDER))
//!     .element(card::FactSet::new([("Amount", "42.00 EUR"), ("Status", "open")]))
//!     .element(card::InputText::new("comment").label("Comment").multiline(true))
//!     .action(card::Execute::new("Approve").verb("approve").data(json!({ "id": 7 })))
//!     .action(card::OpenUrl::new("Details", "https://contoso.com/reports/7"));
//! let message = Activity::message("").with_card(&card)?;
//! assert_eq!(message.attachments[0].card::<card::AdaptiveCard>()?, Some(card));
//! # Ok::<(), botframework_activity::ModelError>(())
//! ```

mod action;
mod adaptive;
mod basic;
mod element;
mod input;
mod media;
mod sign_in;
mod table;
mod teams;
mod words;

pub use action::{Action, Execute, OpenUrl, ShowCard, Submit, TargetElement, ToggleVisibility};
pub use adaptive::{AdaptiveCard, Refresh, TeamsCardOptions};
pub use basic::{CardImage, HeroCard, ReceiptCard, ReceiptFact, ReceiptItem, ThumbnailCard};
pub use element::{
    ActionSet, Column, ColumnSet, Container, Element, Fact, FactSet, Image, ImageSet, Inline, RichTextBlock, TextBlock,
    TextRun,
};
pub use input::{Choice, InputChoiceSet, InputDate, InputNumber, InputText, InputTime, InputToggle};
pub use media::{AnimationCard, AudioCard, MediaImage, MediaUrl, VideoCard};
pub use sign_in::{OAuthCard, SigninCard, TokenExchangeResource, TokenPostResource};
pub use table::{Table, TableCell, TableColumn, TableRow};
pub use teams::{
    FileConsentCard, FileDownloadInfo, FileInfoCard, FileUploadInfo, ListCard, ListItem, O365Action, O365ConnectorCard,
    O365Fact, O365Image, O365Section,
};
pub use words::{
    ActionKind, ActionMode, ActionStyle, Alignment, AssociatedInputs, ChoiceStyle, Color, ContainerStyle, ElementKind,
    FontType, ImageSize, ImageStyle, InputStyle, Spacing, TextSize, TextWeight, VerticalAlignment,
};

use serde_core::Serialize;
use serde_core::de::DeserializeOwned;

use super::attachment::Attachment;
use super::error::ModelError;
use super::vocabulary::ContentType;

/// A type that is the content of an attachment. Implement it for cards of yours.
pub trait Card: Serialize + DeserializeOwned {
    /// The content type that marks it.
    const CONTENT_TYPE: ContentType;

    /// The card as an attachment of a message.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when it cannot be JSON: a member of `extra` repeats a
    /// known one.
    #[inline]
    fn to_attachment(&self) -> Result<Attachment, ModelError> {
        Attachment::new(Self::CONTENT_TYPE, self)
    }
}

macro_rules! cards {
    ($($name:ident = $constant:ident;)*) => {$(
        impl Card for $name {
            const CONTENT_TYPE: ContentType = ContentType::$constant;
        }
    )*};
}

cards! {
    AdaptiveCard = ADAPTIVE_CARD;
    HeroCard = HERO_CARD;
    ThumbnailCard = THUMBNAIL_CARD;
    SigninCard = SIGNIN_CARD;
    ReceiptCard = RECEIPT_CARD;
    AnimationCard = ANIMATION_CARD;
    AudioCard = AUDIO_CARD;
    VideoCard = VIDEO_CARD;
    O365ConnectorCard = O365_CONNECTOR_CARD;
    ListCard = LIST_CARD;
    FileConsentCard = FILE_CONSENT_CARD;
    FileInfoCard = FILE_INFO_CARD;
    FileDownloadInfo = FILE_DOWNLOAD_INFO;
}

/// Teams rejects a card with `"tokenExchangeResource": null`, so what was read as `null` is left out, too.
impl Card for OAuthCard {
    const CONTENT_TYPE: ContentType = ContentType::OAUTH_CARD;

    #[inline]
    fn to_attachment(&self) -> Result<Attachment, ModelError> {
        Attachment::new(Self::CONTENT_TYPE, &self.without_nulls())
    }
}

impl Card for crate::Activity {
    const CONTENT_TYPE: ContentType = ContentType::ACTIVITY;
}
