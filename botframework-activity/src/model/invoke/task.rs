use crate::card::{AdaptiveCard, Card};
use crate::model::attachment::Attachment;
use crate::model::error::ModelError;
use crate::model::json::{Datum, Source, Stop};
use crate::model::object::{Value, serde_value, wire_object};
use crate::model::raw::RawJson;
use crate::model::scalar::Scalar;
use crate::model::tagged::setters;

wire_object! {
    /// A dialog opens, or was sent.
    pub struct TaskRequest {
        /// The button's data, or the inputs of the dialog: any JSON.
        pub data: Option<RawJson> = "data";
        /// Where the user is.
        pub context: Option<TaskContext> = "context";
        /// The tab that opened it.
        pub tab_context: Option<super::TabContext> = "tabContext";
    }
}

wire_object! {
    /// Where the user is.
    pub struct TaskContext {
        /// `default`, `dark` or `contrast`.
        pub theme: Option<String> = "theme" show;
        /// The meeting.
        pub meeting_id: Option<String> = "meetingId" show;
    }
}

wire_object! {
    /// The answer that opens, keeps or closes a dialog. An empty one closes it.
    ///
    /// ```
    /// use botframework_activity::{card::AdaptiveCard, invoke::{TaskAnswer, TaskInfo}};
    ///
    /// let card = AdaptiveCard::new().element("What is wrong?");
    /// let answer = TaskAnswer::show(TaskInfo::card("Report", &card)?.size("medium", "small"));
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    pub struct TaskAnswer {
        /// What happens to the dialog.
        pub task: Option<Task> = "task";
        /// How long Teams may keep the answer.
        pub cache_info: Option<CacheInfo> = "cacheInfo";
    }
}

impl TaskAnswer {
    /// Shows this dialog.
    #[must_use]
    #[inline]
    pub fn show(info: TaskInfo) -> Self {
        Self::of("continue", TaskValue::Info(Box::new(info)))
    }

    /// Closes the dialog and shows a text.
    #[inline]
    pub fn message(text: impl Into<String>) -> Self {
        Self::of("message", TaskValue::Message(text.into()))
    }

    /// Closes the dialog.
    #[must_use]
    #[inline]
    pub fn close() -> Self {
        Self::default()
    }

    #[inline]
    fn of(kind: &str, value: TaskValue) -> Self {
        let task = Task { kind: Some(kind.into()), value: Some(value), ..Task::default() };
        Self { task: Some(task), ..Self::default() }
    }
}

wire_object! {
    /// What happens to a dialog.
    pub struct Task {
        /// `continue` or `message`.
        pub kind: Option<String> = "type" show;
        /// The dialog, or the text.
        pub value: Option<TaskValue> = "value";
    }
}

/// What a dialog shows next.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum TaskValue {
    /// A dialog.
    Info(Box<TaskInfo>),
    /// A text, which closes the dialog.
    Message(String),
    /// Anything else.
    Other(RawJson),
}

impl TaskValue {
    #[inline]
    fn of(raw: RawJson) -> Self {
        let typed = match raw.get().bytes().next() {
            Some(b'"') => raw.read().map(Self::Message),
            _ => raw.read().map(|info| Self::Info(Box::new(info))),
        };
        typed.unwrap_or(Self::Other(raw))
    }
}

impl Value for TaskValue {
    #[inline]
    fn read(from: &mut dyn Source) -> Result<Option<Self>, Stop> {
        Ok(from.raw()?.map(Self::of))
    }

    #[inline]
    fn datum(&self) -> Datum<'_> {
        match self {
            Self::Info(info) => info.datum(),
            Self::Message(text) => text.datum(),
            Self::Other(raw) => Datum::Raw(raw),
        }
    }
}

serde_value!(TaskValue);

wire_object! {
    /// A dialog: a page or a card.
    pub struct TaskInfo {
        /// The title.
        pub title: Option<String> = "title";
        /// Pixels, or `small`, `medium`, `large`.
        pub height: Option<Scalar> = "height";
        /// Pixels, or `small`, `medium`, `large`.
        pub width: Option<Scalar> = "width";
        /// The page; its host must be in the app's manifest.
        pub url: Option<String> = "url";
        /// The card.
        pub card: Option<Attachment> = "card";
        /// The page for clients that cannot show dialogs.
        pub fallback_url: Option<String> = "fallbackUrl";
        /// The bot that gets what is sent, when it is another one.
        pub completion_bot_id: Option<String> = "completionBotId" show;
    }
}

impl TaskInfo {
    /// A dialog with a card.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the card cannot be JSON.
    #[inline]
    pub fn card(title: impl Into<String>, card: &AdaptiveCard) -> Result<Self, ModelError> {
        Ok(Self { title: Some(title.into()), card: Some(card.to_attachment()?), ..Self::default() })
    }

    /// A dialog with a page.
    #[inline]
    pub fn page(title: impl Into<String>, url: impl Into<String>) -> Self {
        Self { title: Some(title.into()), url: Some(url.into()), ..Self::default() }
    }

    /// Sets width and height: pixels, or `small`, `medium`, `large`.
    #[must_use]
    #[inline]
    pub fn size(mut self, width: impl Into<Scalar>, height: impl Into<Scalar>) -> Self {
        self.width = Some(width.into());
        self.height = Some(height.into());
        self
    }
}

setters! { TaskInfo {
    /// Sets the page for clients that cannot show dialogs.
    fallback_url(String) => fallback_url;
} }

wire_object! {
    /// How long Teams may keep an answer.
    pub struct CacheInfo {
        /// `cache` or `no_cache`.
        pub cache_type: Option<String> = "cacheType" show;
        /// Seconds.
        pub cache_duration: Option<i64> = "cacheDuration";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_a_task() {
        for text in [
            r#"{"task":{"type":"message","value":"bye"}}"#,
            r#"{"task":{"type":"continue","value":{"title":"T","height":400,"width":"small","url":"https://x.invalid"}}}"#,
            r#"{"task":{"type":"odd","value":[1.0]},"cacheInfo":{"cacheType":"cache","cacheDuration":60}}"#,
            "{}",
        ] {
            let answer: TaskAnswer = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&answer).unwrap(), text);
        }
        assert_eq!(serde_json::to_string(&TaskAnswer::close()).unwrap(), "{}");
    }
}
