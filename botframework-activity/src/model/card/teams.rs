use crate::model::card_action::CardAction;
use crate::model::object::wire_object;
use crate::model::raw::RawJson;
use crate::model::tagged::setters;

wire_object! {
    /// Asks the user whether the bot may put a file into their OneDrive:
    /// [file consent card](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4).
    ///
    /// The name of the file is the name of the attachment. The answer is a `fileConsent/invoke`.
    ///
    /// ```
    /// use botframework_activity::{Activity, card::{Card, FileConsentCard}};
    /// use serde_json::json;
    ///
    /// let consent = FileConsentCard::new("Your report", 1024).contexts(json!({ "report": 7 }));
    /// let message = Activity::message("").with_attachment(consent.to_attachment()?.with_name("report.pdf"));
    /// assert_eq!(message.attachments[0].name.as_deref(), Some("report.pdf"));
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    pub struct FileConsentCard {
        /// What the file is.
        pub description: Option<String> = "description";
        /// Its size in bytes.
        pub size_in_bytes: Option<i64> = "sizeInBytes";
        /// Comes back when the user accepts: any JSON.
        pub accept_context: Option<RawJson> = "acceptContext";
        /// Comes back when the user declines: any JSON.
        pub decline_context: Option<RawJson> = "declineContext";
    }
}

impl FileConsentCard {
    /// A card for a file of that many bytes.
    #[inline]
    pub fn new(description: impl Into<String>, size_in_bytes: i64) -> Self {
        Self { description: Some(description.into()), size_in_bytes: Some(size_in_bytes), ..Self::default() }
    }

    /// Sets what comes back, whatever the user says.
    #[must_use]
    #[inline]
    pub fn contexts(mut self, context: impl Into<RawJson>) -> Self {
        let context = context.into();
        self.accept_context = Some(context.clone());
        self.decline_context = Some(context);
        self
    }
}

setters! { FileConsentCard {
    /// Sets what comes back when the user accepts.
    accept_context(RawJson) => accept_context;
    /// Sets what comes back when the user declines.
    decline_context(RawJson) => decline_context;
} }

wire_object! {
    /// Shows a file that was put into the user's OneDrive. Its address is the `contentUrl` of the attachment.
    pub struct FileInfoCard {
        /// The id of the file.
        pub unique_id: Option<String> = "uniqueId";
        /// The file type, the extension without the dot.
        pub file_type: Option<String> = "fileType" show;
        /// The version of the file.
        pub etag: Option<String> = "etag";
    }
}

wire_object! {
    /// A file that the user sent. Fetch it without any token: the address is signed.
    pub struct FileDownloadInfo {
        /// Where the file is, for a few minutes. As good as a password.
        pub download_url: Option<String> = "downloadUrl";
        /// The id of the file.
        pub unique_id: Option<String> = "uniqueId";
        /// The file type, the extension without the dot.
        pub file_type: Option<String> = "fileType" show;
        /// The version of the file.
        pub etag: Option<String> = "etag";
    }
}

wire_object! {
    /// Where the bot may put the file that the user accepted.
    pub struct FileUploadInfo {
        /// The name of the file.
        pub name: Option<String> = "name";
        /// The address to put its bytes to. As good as a password.
        pub upload_url: Option<String> = "uploadUrl";
        /// Where the file will be.
        pub content_url: Option<String> = "contentUrl";
        /// The id of the file.
        pub unique_id: Option<String> = "uniqueId";
        /// The file type, the extension without the dot.
        pub file_type: Option<String> = "fileType" show;
    }
}

impl FileUploadInfo {
    /// The card that shows the file once it is uploaded.
    #[must_use]
    #[inline]
    pub fn info_card(&self) -> FileInfoCard {
        FileInfoCard { unique_id: self.unique_id.clone(), file_type: self.file_type.clone(), ..FileInfoCard::default() }
    }
}

wire_object! {
    /// A list that scrolls:
    /// [list card](https://learn.microsoft.com/microsoftteams/platform/task-modules-and-cards/cards/cards-reference#list-card).
    pub struct ListCard {
        /// The title.
        pub title: Option<String> = "title";
        /// The items.
        pub items: Vec<ListItem> = "items";
        /// Buttons.
        pub buttons: Vec<CardAction> = "buttons";
    }
}

wire_object! {
    /// One item of a list card.
    pub struct ListItem {
        /// `file`, `resultItem`, `section` or `person`.
        pub kind: Option<String> = "type" show;
        /// The id: a file's address, a person's mail address.
        pub id: Option<String> = "id";
        /// The picture.
        pub icon: Option<String> = "icon";
        /// The title.
        pub title: Option<String> = "title";
        /// The line below the title.
        pub subtitle: Option<String> = "subtitle";
        /// What a click does.
        pub tap: Option<CardAction> = "tap";
    }
}

wire_object! {
    /// A connector card:
    /// [actionable message card](https://learn.microsoft.com/outlook/actionable-messages/message-card-reference).
    pub struct O365ConnectorCard {
        /// The title.
        pub title: Option<String> = "title";
        /// The text.
        pub text: Option<String> = "text";
        /// What is shown where the card is not.
        pub summary: Option<String> = "summary";
        /// The colour, six hexadecimal digits.
        pub theme_color: Option<String> = "themeColor" show;
        /// The sections.
        pub sections: Vec<O365Section> = "sections";
        /// The actions.
        pub potential_action: Vec<O365Action> = "potentialAction";
    }
}

wire_object! {
    /// A section of a connector card.
    pub struct O365Section {
        /// The title.
        pub title: Option<String> = "title";
        /// The text.
        pub text: Option<String> = "text";
        /// The title of the activity that is reported.
        pub activity_title: Option<String> = "activityTitle";
        /// The line below it.
        pub activity_subtitle: Option<String> = "activitySubtitle";
        /// Its text.
        pub activity_text: Option<String> = "activityText";
        /// Its picture.
        pub activity_image: Option<String> = "activityImage";
        /// `avatar` or `article`.
        pub activity_image_type: Option<String> = "activityImageType" show;
        /// Whether the texts are Markdown.
        pub markdown: Option<bool> = "markdown";
        /// Facts.
        pub facts: Vec<O365Fact> = "facts";
        /// Pictures.
        pub images: Vec<O365Image> = "images";
        /// The actions.
        pub potential_action: Vec<O365Action> = "potentialAction";
    }
}

wire_object! {
    /// A fact of a connector card.
    pub struct O365Fact {
        /// What it is.
        pub name: Option<String> = "name";
        /// Its value.
        pub value: Option<String> = "value";
    }
}

wire_object! {
    /// A picture of a connector card.
    pub struct O365Image {
        /// Where it is.
        pub image: Option<String> = "image";
        /// The picture in words.
        pub title: Option<String> = "title";
    }
}

wire_object! {
    /// An action of a connector card: its kind and name; what else it has is in `extra`.
    pub struct O365Action {
        /// `ViewAction`, `OpenUri`, `HttpPOST` or `ActionCard`.
        pub kind: Option<String> = "@type" show;
        /// The label.
        pub name: Option<String> = "name";
        /// The id.
        pub id: Option<String> = "@id";
    }
}
