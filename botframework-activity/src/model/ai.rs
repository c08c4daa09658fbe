//! What Teams shows with an answer of a model: the AI label, citations, a sensitivity label.
//!
//! All of it is one entity of the message:
//!
//! ```
//! use botframework_activity::{Activity, ai};
//!
//! let answer = Activity::message("Returns are free for 30 days [1].").with_ai_info(
//!     &ai::MessageInfo::generated()
//!         .cite(ai::Claim::new(1, "Returns").summary("How returns work.").url("https://contoso.com/returns"))
//!         .sensitivity(ai::Sensitivity::new("Confidential").description("Only for employees.")),
//! )?;
//! # Ok::<(), botframework_activity::ModelError>(())
//! ```
//!
//! See [bot messages with AI-generated content](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bot-messages-ai-generated-content).

use super::entity::TypedEntity;
use super::object::wire_object;
use super::tagged::setters;
use super::vocabulary::{ContentType, EntityType};
use super::words::vocabulary;

/// The longest name of a citation that Teams shows, in characters.
const MAX_NAME: usize = 80;
/// The longest summary of a citation that Teams shows, in characters.
const MAX_SUMMARY: usize = 160;
/// How many keywords of a citation Teams shows.
const MAX_KEYWORDS: usize = 3;
/// The longest keyword that Teams shows, in characters.
const MAX_KEYWORD: usize = 28;

wire_object! {
    /// Label, citations and sensitivity of a message. A message has at most one.
    pub struct MessageInfo {
        /// Always `https://schema.org/Message`.
        pub kind: EntityType = "type" [EntityType::SCHEMA_ORG_MESSAGE];
        /// Always `Message`.
        pub schema_type: Option<String> = "@type" show;
        /// Always `https://schema.org`.
        pub context: Option<String> = "@context" show;
        /// Always empty.
        pub id: Option<String> = "@id" show;
        /// `AIGeneratedContent` for the AI label.
        pub additional_type: Vec<String> = "additionalType";
        /// The citations.
        pub citation: Vec<Claim> = "citation";
        /// The sensitivity label.
        pub usage_info: Option<Sensitivity> = "usageInfo";
    }
}

impl TypedEntity for MessageInfo {
    const TYPE: EntityType = EntityType::SCHEMA_ORG_MESSAGE;
}

impl MessageInfo {
    /// Nothing yet, not even the AI label.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self {
            schema_type: Some("Message".into()),
            context: Some("https://schema.org".into()),
            id: Some(String::new()),
            ..Self::default()
        }
    }

    /// The AI label: a model wrote the text.
    #[must_use]
    #[inline]
    pub fn generated() -> Self {
        Self { additional_type: vec!["AIGeneratedContent".into()], ..Self::new() }
    }

    /// Whether the message carries the AI label.
    #[must_use]
    #[inline]
    pub fn is_generated(&self) -> bool {
        self.additional_type.iter().any(|kind| kind == "AIGeneratedContent")
    }

    /// Adds a citation.
    #[must_use]
    #[inline]
    pub fn cite(mut self, claim: Claim) -> Self {
        self.citation.push(claim);
        self
    }
}

setters! { MessageInfo {
    /// Sets the sensitivity label of the message.
    sensitivity(Sensitivity) => usage_info;
} }

wire_object! {
    /// One citation.
    pub struct Claim {
        /// Always `Claim`.
        pub schema_type: Option<String> = "@type" show;
        /// The number in the text: 1 for `[1]`.
        pub position: Option<i64> = "position";
        /// What is cited.
        pub appearance: Option<Appearance> = "appearance";
    }
}

impl Claim {
    /// The source behind `[position]` in the text. A name of more than 80 characters is cut.
    #[inline]
    pub fn new(position: i64, name: impl Into<String>) -> Self {
        let appearance = Appearance {
            schema_type: Some("DigitalDocument".into()),
            name: Some(cut(name.into(), MAX_NAME)),
            // Teams refuses a citation without one.
            summary: Some(String::new()),
            ..Appearance::default()
        };
        Self {
            schema_type: Some("Claim".into()),
            position: Some(position),
            appearance: Some(appearance),
            ..Self::default()
        }
    }

    /// Sets what the source says. More than 160 characters are cut.
    #[must_use]
    #[inline]
    pub fn summary(self, text: impl Into<String>) -> Self {
        let text = cut(text.into(), MAX_SUMMARY);
        self.edit(|appearance| appearance.summary = Some(text))
    }

    /// Sets where the source is. Check an address that a model wrote with
    /// [`MarkdownSanitizer::allows`](crate::MarkdownSanitizer::allows) first.
    #[must_use]
    #[inline]
    pub fn url(self, url: impl Into<String>) -> Self {
        let url = url.into();
        self.edit(|appearance| appearance.url = Some(url))
    }

    /// Sets the icon.
    #[must_use]
    #[inline]
    pub fn icon(self, icon: Icon) -> Self {
        let image =
            AppearanceImage { schema_type: Some("ImageObject".into()), name: Some(icon), ..AppearanceImage::default() };
        self.edit(|appearance| appearance.image = Some(image))
    }

    /// Adds a keyword of at most 28 characters. Of more than three, the first three count.
    #[must_use]
    #[inline]
    pub fn keyword(self, word: impl Into<String>) -> Self {
        let word = cut(word.into(), MAX_KEYWORD);
        self.edit(|appearance| {
            if appearance.keywords.len() < MAX_KEYWORDS {
                appearance.keywords.push(word);
            }
        })
    }

    /// Sets the sensitivity label of the source.
    #[must_use]
    #[inline]
    pub fn sensitivity(self, label: Sensitivity) -> Self {
        self.edit(|appearance| appearance.usage_info = Some(label))
    }

    /// Sets the Adaptive Card that is shown for the source.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the card cannot be JSON.
    #[inline]
    pub fn card(self, card: &crate::card::AdaptiveCard) -> Result<Self, crate::ModelError> {
        let text = crate::RawJson::from_value(card)?.get().to_owned();
        Ok(self.edit(|appearance| {
            appearance.text = Some(text);
            appearance.encoding_format = Some(ContentType::ADAPTIVE_CARD);
        }))
    }

    #[inline]
    fn edit(mut self, change: impl FnOnce(&mut Appearance)) -> Self {
        change(self.appearance.get_or_insert_default());
        self
    }
}

wire_object! {
    /// What is cited.
    pub struct Appearance {
        /// Always `DigitalDocument`.
        pub schema_type: Option<String> = "@type" show;
        /// The name, at most 80 characters.
        pub name: Option<String> = "name";
        /// An Adaptive Card as text.
        pub text: Option<String> = "text";
        /// Where it is.
        pub url: Option<String> = "url";
        /// What it says, at most 160 characters.
        pub summary: Option<String> = "abstract";
        /// What `text` is.
        pub encoding_format: Option<ContentType> = "encodingFormat";
        /// The icon.
        pub image: Option<AppearanceImage> = "image";
        /// At most three keywords of at most 28 characters.
        pub keywords: Vec<String> = "keywords";
        /// The sensitivity label of the source.
        pub usage_info: Option<Sensitivity> = "usageInfo";
    }
}

wire_object! {
    /// The icon of a citation.
    pub struct AppearanceImage {
        /// Always `ImageObject`.
        pub schema_type: Option<String> = "@type" show;
        /// Which one.
        pub name: Option<Icon> = "name";
    }
}

vocabulary! {
    /// The icon of a citation.
    pub struct Icon {
        WORD = "Microsoft Word",
        EXCEL = "Microsoft Excel",
        POWER_POINT = "Microsoft PowerPoint",
        ONE_NOTE = "Microsoft OneNote",
        SHARE_POINT = "Microsoft SharePoint",
        VISIO = "Microsoft Visio",
        LOOP = "Microsoft Loop",
        WHITEBOARD = "Microsoft Whiteboard",
        ILLUSTRATOR = "Adobe Illustrator",
        PHOTOSHOP = "Adobe Photoshop",
        IN_DESIGN = "Adobe InDesign",
        FLASH = "Adobe Flash",
        SKETCH = "Sketch",
        SOURCE_CODE = "Source Code",
        IMAGE = "Image",
        GIF = "GIF",
        VIDEO = "Video",
        SOUND = "Sound",
        ZIP = "ZIP",
        TEXT = "Text",
        PDF = "PDF",
    }
}

wire_object! {
    /// A sensitivity label.
    pub struct Sensitivity {
        /// Always `https://schema.org/Message`.
        pub kind: Option<EntityType> = "type";
        /// Always `CreativeWork`.
        pub schema_type: Option<String> = "@type" show;
        /// The title.
        pub name: Option<String> = "name";
        /// What it means.
        pub description: Option<String> = "description";
        /// The number of the citation that it is about.
        pub position: Option<i64> = "position";
        /// The pattern behind it.
        pub pattern: Option<SensitivityPattern> = "pattern";
    }
}

impl Sensitivity {
    /// A label with this title.
    #[inline]
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            kind: Some(EntityType::SCHEMA_ORG_MESSAGE),
            schema_type: Some("CreativeWork".into()),
            name: Some(name.into()),
            ..Self::default()
        }
    }
}

setters! { Sensitivity {
    /// Sets what it means.
    description(String) => description;
    /// Sets the number of the citation that it is about.
    position(i64) => position;
    /// Sets the pattern behind it.
    pattern(SensitivityPattern) => pattern;
} }

wire_object! {
    /// The pattern behind a sensitivity label.
    pub struct SensitivityPattern {
        /// Always `DefinedTerm`.
        pub schema_type: Option<String> = "@type" show;
        /// The set of terms.
        pub in_defined_term_set: Option<String> = "inDefinedTermSet";
        /// The name of the term.
        pub name: Option<String> = "name";
        /// The code of the term.
        pub term_code: Option<String> = "termCode";
    }
}

impl SensitivityPattern {
    /// A term of a set.
    #[inline]
    pub fn new(set: impl Into<String>, name: impl Into<String>, code: impl Into<String>) -> Self {
        Self {
            schema_type: Some("DefinedTerm".into()),
            in_defined_term_set: Some(set.into()),
            name: Some(name.into()),
            term_code: Some(code.into()),
            ..Self::default()
        }
    }
}

/// At most so many characters; an ellipsis stands for the rest.
#[inline]
fn cut(mut text: String, most: usize) -> String {
    if text.chars().count() > most {
        let end = text.char_indices().nth(most - 1).map_or(text.len(), |(at, _)| at);
        text.truncate(end);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Activity, Entity};

    #[test]
    fn texts_are_cut_to_what_teams_shows() {
        let claim = Claim::new(1, "ä".repeat(100)).summary("b".repeat(161)).keyword("c".repeat(29));
        let claim = claim.keyword("2").keyword("3").keyword("4");
        let appearance = claim.appearance.unwrap();
        let name = appearance.name.unwrap();
        assert_eq!((name.chars().count(), name.chars().last()), (80, Some('…')));
        assert_eq!(appearance.summary.unwrap().chars().count(), 160);
        assert_eq!(appearance.keywords.len(), 3);
        assert_eq!(appearance.keywords[0].chars().count(), 28);
        assert_eq!(cut("äöü".into(), 3), "äöü");
    }

    #[test]
    fn a_message_has_one_info() {
        let message = Activity::message("[1]").with_ai_info(&MessageInfo::generated()).unwrap();
        let message = message.with_entity(&crate::ProductInfo::default()).unwrap();
        let message = message.with_ai_info(&MessageInfo::new().cite(Claim::new(1, "x"))).unwrap();
        let entities = message.entities().unwrap();
        let kinds: Vec<_> = entities.iter().map(Entity::kind).collect();
        assert_eq!(kinds, [&EntityType::PRODUCT_INFO, &EntityType::SCHEMA_ORG_MESSAGE]);
        let info = message.entity::<MessageInfo>().unwrap().unwrap();
        assert!(!info.is_generated());
        assert_eq!(info.citation.len(), 1);
    }

    #[test]
    fn the_wire_form() {
        let info = MessageInfo::generated().cite(Claim::new(1, "Doc").summary("About").icon(Icon::PDF));
        assert_eq!(
            serde_json::to_string(&info).unwrap(),
            concat!(
                r#"{"type":"https://schema.org/Message","@type":"Message","@context":"https://schema.org","@id":"","#,
                r#""additionalType":["AIGeneratedContent"],"citation":[{"@type":"Claim","position":1,"#,
                r#""appearance":{"@type":"DigitalDocument","name":"Doc","abstract":"About","#,
                r#""image":{"@type":"ImageObject","name":"PDF"}}}]}"#
            )
        );
    }
}
