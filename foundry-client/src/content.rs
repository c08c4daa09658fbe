//! Parts of a message and their annotations.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

use crate::object::{Read, Slot, read_object, slots};
use crate::problem::{BadBody, Problem};
use crate::raw::RawJson;
use crate::vocabulary::vocabulary;

vocabulary! {
    /// The `type` of a content part.
    ContentKind {
        /// Text of the agent.
        OUTPUT_TEXT = "output_text",
        /// Text of the user.
        INPUT_TEXT = "input_text",
        /// Text without direction, in older items.
        TEXT = "text",
        /// The model declines.
        REFUSAL = "refusal",
        /// Reasoning in words.
        REASONING_TEXT = "reasoning_text",
        /// A summary of reasoning.
        SUMMARY_TEXT = "summary_text",
        /// A picture of the user.
        INPUT_IMAGE = "input_image",
        /// A file of the user.
        INPUT_FILE = "input_file",
        /// A screenshot of a computer tool.
        COMPUTER_SCREENSHOT = "computer_screenshot",
    }
}

vocabulary! {
    /// The `type` of an annotation.
    AnnotationKind {
        /// A web page.
        URL_CITATION = "url_citation",
        /// A file of the knowledge base.
        FILE_CITATION = "file_citation",
        /// A file made by a code tool.
        CONTAINER_FILE_CITATION = "container_file_citation",
        /// A file by its id.
        FILE_PATH = "file_path",
    }
}

/// One part of a message, of a reasoning item or of its summary.
///
/// Shape: <https://platform.openai.com/docs/api-reference/responses/object>.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Content {
    /// Text of the agent with its annotations.
    OutputText(OutputText),
    /// Text of the user.
    InputText(PlainText),
    /// The model declines; the text says why.
    Refusal(PlainText),
    /// Reasoning in words.
    ReasoningText(PlainText),
    /// A summary of reasoning.
    SummaryText(PlainText),
    /// A picture of the user.
    InputImage(InputImage),
    /// A file of the user.
    InputFile(InputFile),
    /// A screenshot of a computer tool.
    ComputerScreenshot(ComputerScreenshot),
    /// Anything else, as raw JSON.
    Unknown(UnknownContent),
}

/// Text of the agent.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct OutputText {
    /// The text.
    pub text: String,
    /// Citations; positions count Unicode code points of [`text`](Self::text).
    pub annotations: Vec<Annotation>,
    raw: RawJson,
}

/// A part that is only text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct PlainText {
    /// The text.
    pub text: String,
    kind: ContentKind,
    raw: RawJson,
}

/// A picture of the user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InputImage {
    /// Its address, or the picture itself as a `data:` address.
    pub image_url: Option<String>,
    /// The uploaded file.
    pub file_id: Option<String>,
    /// `low`, `high` or `auto`.
    pub detail: Option<String>,
    raw: RawJson,
}

/// A file of the user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InputFile {
    /// The uploaded file.
    pub file_id: Option<String>,
    /// Its name.
    pub filename: Option<String>,
    /// Its address.
    pub file_url: Option<String>,
    raw: RawJson,
}

/// A screenshot of a computer tool.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ComputerScreenshot {
    /// Its address, or the picture itself as a `data:` address.
    pub image_url: Option<String>,
    /// The uploaded file.
    pub file_id: Option<String>,
    raw: RawJson,
}

/// A part without a type here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnknownContent {
    kind: ContentKind,
    raw: RawJson,
    problem: Problem,
}

const OUTPUT_TEXT: &ContentKind = &ContentKind::OUTPUT_TEXT;
const INPUT_IMAGE: &ContentKind = &ContentKind::INPUT_IMAGE;
const INPUT_FILE: &ContentKind = &ContentKind::INPUT_FILE;
const COMPUTER_SCREENSHOT: &ContentKind = &ContentKind::COMPUTER_SCREENSHOT;

impl Content {
    /// Reads a part; what has no type here becomes [`Content::Unknown`].
    #[must_use]
    pub fn from_raw(raw: RawJson) -> Self {
        let tag = tag_of(&raw);
        let kind = ContentKind::from(tag.as_deref().unwrap_or_default());
        let parsed = match tag.as_deref() {
            Some("output_text") => OutputText::parse(&raw).map(Self::OutputText),
            Some("input_text" | "text") => PlainText::parse(&kind, &raw).map(Self::InputText),
            Some("refusal") => PlainText::parse(&kind, &raw).map(Self::Refusal),
            Some("reasoning_text") => PlainText::parse(&kind, &raw).map(Self::ReasoningText),
            Some("summary_text") => PlainText::parse(&kind, &raw).map(Self::SummaryText),
            Some("input_image") => InputImage::of(raw.clone()).map(Self::InputImage),
            Some("input_file") => InputFile::of(raw.clone()).map(Self::InputFile),
            Some("computer_screenshot") => ComputerScreenshot::of(raw.clone()).map(Self::ComputerScreenshot),
            other => {
                let problem = if other.is_some() { Problem::UnknownType } else { Problem::MissingType };
                return Self::Unknown(UnknownContent { kind, raw, problem });
            }
        };
        parsed.unwrap_or_else(|BadBody| Self::Unknown(UnknownContent { kind, raw, problem: Problem::BadBody }))
    }

    /// The `type`.
    #[must_use]
    pub fn kind(&self) -> &ContentKind {
        match self {
            Self::OutputText(_) => OUTPUT_TEXT,
            Self::InputText(text) | Self::Refusal(text) | Self::ReasoningText(text) | Self::SummaryText(text) => {
                &text.kind
            }
            Self::InputImage(_) => INPUT_IMAGE,
            Self::InputFile(_) => INPUT_FILE,
            Self::ComputerScreenshot(_) => COMPUTER_SCREENSHOT,
            Self::Unknown(unknown) => &unknown.kind,
        }
    }

    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        match self {
            Self::OutputText(text) => &text.raw,
            Self::InputText(text) | Self::Refusal(text) | Self::ReasoningText(text) | Self::SummaryText(text) => {
                &text.raw
            }
            Self::InputImage(image) => &image.raw,
            Self::InputFile(file) => &file.raw,
            Self::ComputerScreenshot(screenshot) => &screenshot.raw,
            Self::Unknown(unknown) => &unknown.raw,
        }
    }

    /// Why this part or one of its annotations was kept raw; none when all is typed.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::OutputText(text) => text.annotations.iter().find_map(Annotation::problem),
            Self::Unknown(unknown) => Some(unknown.problem),
            _ => None,
        }
    }
}

impl OutputText {
    fn parse(raw: &RawJson) -> Result<Self, BadBody> {
        let (mut text, mut annotations) = (String::new(), Vec::new());
        let slots = &mut [Slot::must("text", &mut text), Slot::null("annotations", &mut annotations)];
        read_object(raw.as_str(), slots)?;
        let annotation = |one: &RawValue| Annotation::from_raw(raw.part(one.get()));
        Ok(Self { text, annotations: annotations.into_iter().map(annotation).collect(), raw: raw.clone() })
    }
}

impl PlainText {
    fn parse(kind: &ContentKind, raw: &RawJson) -> Result<Self, BadBody> {
        let (mut text, mut refusal) = (None, None);
        read_object(raw.as_str(), &mut [Slot::may("text", &mut text), Slot::may("refusal", &mut refusal)])?;
        let text: Option<String> = if *kind == ContentKind::REFUSAL { refusal } else { text };
        Ok(Self { text: text.ok_or(BadBody)?, kind: kind.clone(), raw: raw.clone() })
    }
}

/// How the simple ones are read.
macro_rules! read {
    ($($name:ident { $($field:ident $(=> $how:ident)?),* })*) => {$(
        impl $name {
            fn of(raw: RawJson) -> Result<Self, BadBody> {
                let json = raw.clone();
                let mut it = Self { $($field: Default::default(),)* raw };
                read_object(json.as_str(), slots![it; $($field $(=> $how)?),*])?;
                Ok(it)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let raw = RawJson::deserialize(deserializer)?;
                Self::of(raw).map_err(|BadBody| serde::de::Error::custom(concat!("not a ", stringify!($name))))
            }
        }
    )*};
}
read! {
    InputImage { image_url => text, file_id => text, detail => text }
    InputFile { file_id => text, filename => text, file_url => text }
    ComputerScreenshot { image_url => text, file_id => text }
    UrlCitation { url => must, title, start_index => must, end_index => must }
    FileCitation { file_id => must, filename, index => must }
    ContainerFileCitation { container_id => must, file_id => must, filename, start_index => must, end_index => must }
    FilePath { file_id => must, index => must }
}

/// A citation inside a text. Positions count Unicode code points.
///
/// Shape: <https://platform.openai.com/docs/api-reference/responses/object>.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub enum Annotation {
    /// A web page.
    UrlCitation(UrlCitation),
    /// A file of the knowledge base.
    FileCitation(FileCitation),
    /// A file made by a code tool.
    ContainerFileCitation(ContainerFileCitation),
    /// A file by its id.
    FilePath(FilePath),
    /// Anything else, as raw JSON.
    Unknown(UnknownAnnotation),
}

/// A web page that supports a span of the text.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UrlCitation {
    /// The address. Comes from the model: check it before it becomes a link.
    pub url: String,
    /// The page's title.
    pub title: Option<String>,
    /// First code point of the span.
    pub start_index: u64,
    /// Code point after the span.
    pub end_index: u64,
    raw: RawJson,
}

/// A file of the knowledge base that supports the text before a position.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FileCitation {
    /// The file's id.
    pub file_id: String,
    /// The file's name.
    pub filename: Option<String>,
    /// Code point the citation belongs to.
    pub index: u64,
    raw: RawJson,
}

/// A file in a code tool's container.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ContainerFileCitation {
    /// The container's id.
    pub container_id: String,
    /// The file's id.
    pub file_id: String,
    /// The file's name.
    pub filename: Option<String>,
    /// First code point of the span.
    pub start_index: u64,
    /// Code point after the span.
    pub end_index: u64,
    raw: RawJson,
}

/// A file by its id.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct FilePath {
    /// The file's id.
    pub file_id: String,
    /// Code point the file belongs to.
    pub index: u64,
    raw: RawJson,
}

/// An annotation without a type here.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct UnknownAnnotation {
    kind: AnnotationKind,
    raw: RawJson,
    problem: Problem,
}

impl Annotation {
    /// Reads an annotation; what has no type here becomes [`Annotation::Unknown`].
    #[must_use]
    pub fn from_raw(raw: RawJson) -> Self {
        let tag = tag_of(&raw);
        let parsed = match tag.as_deref() {
            Some("url_citation") => UrlCitation::of(raw.clone()).map(Self::UrlCitation),
            Some("file_citation") => FileCitation::of(raw.clone()).map(Self::FileCitation),
            Some("container_file_citation") => ContainerFileCitation::of(raw.clone()).map(Self::ContainerFileCitation),
            Some("file_path") => FilePath::of(raw.clone()).map(Self::FilePath),
            other => {
                let problem = if other.is_some() { Problem::UnknownType } else { Problem::MissingType };
                let kind = AnnotationKind::from(other.unwrap_or_default());
                return Self::Unknown(UnknownAnnotation { kind, raw, problem });
            }
        };
        parsed.unwrap_or_else(|_| {
            let kind = AnnotationKind::from(tag.as_deref().unwrap_or_default());
            Self::Unknown(UnknownAnnotation { kind, raw, problem: Problem::BadBody })
        })
    }

    /// The `type`.
    #[must_use]
    pub fn kind(&self) -> AnnotationKind {
        match self {
            Self::UrlCitation(_) => AnnotationKind::URL_CITATION,
            Self::FileCitation(_) => AnnotationKind::FILE_CITATION,
            Self::ContainerFileCitation(_) => AnnotationKind::CONTAINER_FILE_CITATION,
            Self::FilePath(_) => AnnotationKind::FILE_PATH,
            Self::Unknown(unknown) => unknown.kind.clone(),
        }
    }

    /// The JSON as received.
    #[must_use]
    pub fn raw(&self) -> &RawJson {
        match self {
            Self::UrlCitation(body) => &body.raw,
            Self::FileCitation(body) => &body.raw,
            Self::ContainerFileCitation(body) => &body.raw,
            Self::FilePath(body) => &body.raw,
            Self::Unknown(body) => &body.raw,
        }
    }

    /// Why it was kept raw; none when it is typed.
    #[must_use]
    pub fn problem(&self) -> Option<Problem> {
        match self {
            Self::Unknown(unknown) => Some(unknown.problem),
            _ => None,
        }
    }
}

macro_rules! raw_json {
    ($($name:ident),*) => {$(
        /// Writes the JSON as it was received.
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                self.raw().serialize(serializer)
            }
        }

        impl Read<'_> for $name {
            fn read(json: &serde_json::value::RawValue) -> Result<Self, serde_json::Error> {
                Ok(Self::from_raw(RawJson::copied(json)))
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                RawJson::deserialize(deserializer).map(Self::from_raw)
            }
        }

        /// Equal when the JSON text is equal.
        impl PartialEq for $name {
            fn eq(&self, other: &Self) -> bool {
                self.raw() == other.raw()
            }
        }
    )*};
}
pub(crate) use raw_json;
raw_json!(Content, Annotation);

/// The `type` member, when it is a string.
pub(crate) fn tag_of(raw: &RawJson) -> Option<String> {
    let mut tag = None;
    read_object(raw.as_str(), &mut [Slot::text("type", &mut tag)]).ok()?;
    tag
}
