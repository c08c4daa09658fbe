use serde_core::{Deserialize, Serialize};

use super::card::Card;
use super::error::ModelError;
use super::object::wire_object;
use super::raw::RawJson;
use super::vocabulary::ContentType;

wire_object! {
    /// A card, a picture or a file of a message:
    /// [`Attachment`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#attachment-object).
    pub struct Attachment {
        /// What `content` or the file at `content_url` is.
        pub content_type: Option<ContentType> = "contentType";
        /// Where the content is. Written by the sender: never fetch it with a token unless its host is
        /// known.
        pub content_url: Option<String> = "contentUrl";
        /// The content itself, in its own bytes; read it with [`Attachment::content`].
        pub content: Option<RawJson> = "content";
        /// The file name.
        pub name: Option<String> = "name";
        /// Where a small picture of it is.
        pub thumbnail_url: Option<String> = "thumbnailUrl";
    }
}

impl Attachment {
    /// An attachment of this type with its content.
    ///
    /// # Errors
    /// [`ModelErrorKind::Encode`](crate::ModelErrorKind::Encode) when the content cannot be JSON.
    #[inline]
    pub fn new<T: Serialize + ?Sized>(content_type: ContentType, content: &T) -> Result<Self, ModelError> {
        Ok(Self {
            content_type: Some(content_type),
            content: Some(RawJson::from_value(content).map_err(|e| e.in_member("content"))?),
            ..Self::default()
        })
    }

    /// An attachment whose content is at a URL.
    #[inline]
    pub fn linked(content_type: ContentType, content_url: impl Into<String>) -> Self {
        Self { content_type: Some(content_type), content_url: Some(content_url.into()), ..Self::default() }
    }

    /// The content as a type of your choice; `None` when there is none.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when it is not of that shape.
    #[inline]
    pub fn content<'a, T: Deserialize<'a>>(&'a self) -> Result<Option<T>, ModelError> {
        self.content.as_ref().map(RawJson::parse).transpose().map_err(|error| error.in_member("content"))
    }

    /// The content as this card; `None` when the attachment is of another type or has no content.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when the type is right and the content is not.
    #[inline]
    pub fn card<T: Card>(&self) -> Result<Option<T>, ModelError> {
        if self.is(&T::CONTENT_TYPE) { self.content() } else { Ok(None) }
    }

    /// Sets the file name.
    #[must_use]
    #[inline]
    pub fn with_name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Sets where the content is.
    #[must_use]
    #[inline]
    pub fn with_content_url(mut self, url: impl Into<String>) -> Self {
        self.content_url = Some(url.into());
        self
    }

    /// Whether the attachment is of this type.
    #[must_use]
    #[inline]
    pub fn is(&self, content_type: &ContentType) -> bool {
        self.content_type.as_ref() == Some(content_type)
    }
}

wire_object! {
    /// A file for the channel's own store.
    pub struct AttachmentData {
        /// The content type.
        pub kind: Option<ContentType> = "type";
        /// The file name.
        pub name: Option<String> = "name";
        /// The file, base64.
        pub original_base64: Option<String> = "originalBase64";
        /// A small picture of it, base64.
        pub thumbnail_base64: Option<String> = "thumbnailBase64";
    }
}

wire_object! {
    /// What the channel's store knows about a file.
    pub struct AttachmentInfo {
        /// The file name.
        pub name: Option<String> = "name";
        /// The content type.
        pub kind: Option<ContentType> = "type";
        /// The forms in which it can be fetched.
        pub views: Vec<AttachmentView> = "views";
    }
}

wire_object! {
    /// One form of a stored file.
    pub struct AttachmentView {
        /// Its id, `original` or `thumbnail`.
        pub view_id: Option<String> = "viewId" show;
        /// Its size in bytes.
        pub size: Option<i64> = "size";
    }
}
