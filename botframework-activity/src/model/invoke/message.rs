use crate::card::FileUploadInfo;
use crate::model::error::ModelError;
use crate::model::json;
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::words::vocabulary;

vocabulary! {
    /// What the user said to a file consent card: `action`.
    pub struct FileConsentAction {
        ACCEPT = "accept",
        DECLINE = "decline",
    }
}

wire_object! {
    /// The user answered a file consent card.
    pub struct FileConsentRequest {
        /// Always `fileUpload`.
        pub kind: Option<String> = "type" show;
        /// What the user said.
        pub action: Option<FileConsentAction> = "action";
        /// The card's context: any JSON.
        pub context: Option<RawJson> = "context";
        /// Where to put the file, when the user accepted.
        pub upload_info: Option<FileUploadInfo> = "uploadInfo";
    }
}

impl FileConsentRequest {
    /// Where to put the file; `None` when the user declined.
    #[must_use]
    #[inline]
    pub fn accepted(&self) -> Option<&FileUploadInfo> {
        self.upload_info.as_ref().filter(|_| self.action == Some(FileConsentAction::ACCEPT))
    }
}

wire_object! {
    /// The user gave feedback.
    pub struct FeedbackRequest {
        /// Always `feedback`.
        pub action_name: Option<String> = "actionName" show;
        /// The feedback.
        pub action_value: Option<FeedbackValue> = "actionValue";
    }
}

wire_object! {
    /// Feedback on a message.
    pub struct FeedbackValue {
        /// `like` or `dislike`.
        pub reaction: Option<String> = "reaction" show;
        /// The form: JSON in a text. Read it with [`FeedbackValue::form`].
        pub feedback: Option<String> = "feedback";
    }
}

impl FeedbackValue {
    /// The form that the user filled in, out of the text it travels in.
    ///
    /// # Errors
    /// [`ModelErrorKind::Malformed`](crate::ModelErrorKind::Malformed) or
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the text is no such form. A bot's own form has other
    /// members: they are in `extra`.
    #[inline]
    pub fn form(&self) -> Result<Option<Feedback>, ModelError> {
        let form = |text: &String| json::read(text);
        self.feedback.as_ref().map(form).transpose().map_err(|error: ModelError| error.in_member("value"))
    }

    /// Whether the user liked the message.
    #[must_use]
    #[inline]
    pub fn is_like(&self) -> bool {
        self.reaction.as_deref() == Some("like")
    }
}

wire_object! {
    /// The form of Teams' own feedback.
    pub struct Feedback {
        /// What the user wrote.
        pub feedback_text: Option<String> = "feedbackText";
    }
}

wire_object! {
    /// The bot's own feedback form opens.
    pub struct MessageTaskRequest {
        /// Which one.
        pub data: Option<MessageTaskData> = "data";
        /// Where the user is.
        pub context: Option<super::TaskContext> = "context";
    }
}

wire_object! {
    /// Which form opens.
    pub struct MessageTaskData {
        /// Always `feedback`.
        pub action_name: Option<String> = "actionName" show;
        /// The reaction.
        pub action_value: Option<FeedbackValue> = "actionValue";
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feedback_is_json_in_a_text() {
        let text =
            r#"{"actionName":"feedback","actionValue":{"reaction":"like","feedback":"{\"feedbackText\":\"good\"}"}}"#;
        let request: FeedbackRequest = serde_json::from_str(text).unwrap();
        let value = request.action_value.unwrap();
        assert!(value.is_like());
        assert_eq!(value.form().unwrap().unwrap().feedback_text.as_deref(), Some("good"));
        let odd = FeedbackValue { feedback: Some("{".into()), ..FeedbackValue::default() };
        assert!(odd.form().is_err());
    }

    #[test]
    fn a_declined_file_has_no_place() {
        let mut request = FileConsentRequest { upload_info: Some(FileUploadInfo::default()), ..Default::default() };
        assert!(request.accepted().is_none());
        request.action = Some(FileConsentAction::ACCEPT);
        assert!(request.accepted().is_some());
    }
}
