//! Files: into the store of the channel, out of it, and from where users keep them.

use bytes::Bytes;
use entra_auth::{Body, Deadline, TransportErrorKind};
use http::{Request, StatusCode, Uri};
use tokio::time::{Instant, timeout_at};
use url::Url;

use super::{
    ConnectorClient,
    answer::{Content, Json, Operation},
    client::at,
    download::Access,
    error::{Delivery, SendError, SendErrorKind},
};
use crate::model::json;
use crate::{Attachment, AttachmentData, AttachmentInfo, ContentType, ResourceResponse, ServiceUrl};

static UPLOAD: Operation = Operation::post("upload", "/v3/conversations/{conversation}/attachments");
static INFO: Operation = Operation::get("attachment info", "/v3/attachments/{attachment}").free();
static VIEW: Operation = Operation::get("attachment view", "/v3/attachments/{attachment}/views/{view}").free();

/// A file that was fetched.
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Downloaded {
    /// What it is, as whoever serves it says.
    pub content_type: Option<String>,
    /// The file.
    pub bytes: Bytes,
}

impl std::fmt::Debug for Downloaded {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Downloaded").field("bytes", &self.bytes.len()).finish_non_exhaustive()
    }
}

impl ConnectorClient {
    /// Puts a file into the store of the channel. Teams has none: files go to users by
    /// [file consent](https://learn.microsoft.com/microsoftteams/platform/bots/how-to/bots-filesv4).
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn upload(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        file: &AttachmentData,
    ) -> Result<ResourceResponse, SendError> {
        let uri = at(service_url, &["v3", "conversations", conversation_id, "attachments"])?;
        let call = self.request(service_url, &UPLOAD, uri).of(Some(conversation_id)).json(file)?;
        let Json(made) = call.run().await?;
        Ok(made)
    }

    /// What the store knows about a file.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn attachment_info(
        &self,
        service_url: &ServiceUrl,
        attachment_id: &str,
    ) -> Result<AttachmentInfo, SendError> {
        let uri = at(service_url, &["v3", "attachments", attachment_id])?;
        let Json(info) = self.request(service_url, &INFO, uri).run().await?;
        Ok(info)
    }

    /// A file of the store, in one of its forms: `original` or `thumbnail`.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; [`SendErrorKind::Protocol`] when it is larger than
    /// [`ConnectorClientBuilder::max_download`](crate::ConnectorClientBuilder::max_download), or the service sends us
    /// elsewhere: redirects are not followed with a token.
    pub async fn attachment_view(
        &self,
        service_url: &ServiceUrl,
        attachment_id: &str,
        view_id: &str,
    ) -> Result<Downloaded, SendError> {
        let uri = at(service_url, &["v3", "attachments", attachment_id, "views", view_id])?;
        self.stored(service_url, uri).await
    }

    /// Fetches what a user attached: a picture in the text, or a file that Teams offers for download.
    ///
    /// ```
    /// use botframework_activity::{ConnectorClient, VerifiedActivity};
    ///
    /// async fn sizes(connector: &ConnectorClient, turn: &VerifiedActivity) {
    ///     for attachment in &turn.activity().attachments {
    ///         match connector.download(turn.service_url(), attachment).await {
    ///             Ok(file) => println!("{} bytes", file.bytes.len()),
    ///             Err(error) => println!("not fetched: {error}"),
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// The addresses are the sender's words. A picture in the store of this very connector is fetched with the bot's
    /// token; a file of the tenant's document store without any, since the address carries its own permission; nothing
    /// else is asked for. Redirects are not followed. The bot's token never leaves the connector.
    ///
    /// # Errors
    ///
    /// [`SendErrorKind::Invalid`] when there is no address, or it is none that may be fetched: the sender, or the operator
    /// with [`allow_downloads_from`](crate::ConnectorClientBuilder::allow_downloads_from). No request was made then. Else
    /// as [`ConnectorClient::attachment_view`].
    pub async fn download(&self, service_url: &ServiceUrl, attachment: &Attachment) -> Result<Downloaded, SendError> {
        let url = address_of(attachment).ok_or_else(SendError::invalid)?;
        match self.0.downloads.access(service_url, &url) {
            None => Err(SendError::invalid()),
            Some(access) => {
                let uri: Uri = url.as_str().parse().map_err(|_| SendError::invalid())?;
                match access {
                    Access::Connector => self.stored(service_url, uri).await,
                    Access::Public => self.public(uri).await,
                }
            }
        }
    }

    async fn stored(&self, service_url: &ServiceUrl, uri: Uri) -> Result<Downloaded, SendError> {
        let call = self.request(service_url, &VIEW, uri).bytes(self.0.max_download);
        let Content { content_type, bytes } = call.run().await?;
        Ok(Downloaded { content_type, bytes })
    }

    /// One attempt without a token.
    async fn public(&self, uri: Uri) -> Result<Downloaded, SendError> {
        let deadline = Instant::now() + self.0.deadline;
        let mut request = Request::new(Body::from(Bytes::new()));
        *request.uri_mut() = uri;
        request.extensions_mut().insert(Deadline(deadline));
        let late = |_| Err(TransportErrorKind::Timeout.into());
        let response = timeout_at(deadline, self.0.transport.send(request)).await.unwrap_or_else(late);
        let (parts, body) = response.map_err(|error| SendError::transport(error).idempotent(true))?.into_parts();
        if parts.status != StatusCode::OK {
            let kind = match parts.status.as_u16() {
                401 | 403 => SendErrorKind::Forbidden,
                404 | 410 => SendErrorKind::NotFound,
                429 => SendErrorKind::Throttled,
                500..=599 => SendErrorKind::Service,
                _ => SendErrorKind::Protocol,
            };
            let wait = entra_auth::retry_after(&parts.headers, self.0.clock.now());
            return Err(SendError::new(kind, Delivery::NotSent)
                .with_status(parts.status.as_u16())
                .with_retry_after(wait)
                .idempotent(true));
        }
        let late = |_| Err(TransportErrorKind::Timeout.into());
        let bytes = timeout_at(deadline, body.collect(self.0.max_download)).await.unwrap_or_else(late);
        Ok(Downloaded {
            content_type: parts
                .headers
                .get(http::header::CONTENT_TYPE)
                .and_then(|v| v.to_str().ok())
                .map(str::to_owned),
            bytes: bytes.map_err(|error| SendError::transport(error).idempotent(true))?,
        })
    }
}

/// Where the file is: Teams puts the address of a file into the content, that of a picture beside it.
#[inline]
fn address_of(attachment: &Attachment) -> Option<Url> {
    let file = attachment.content.as_ref().filter(|_| attachment.is(&ContentType::FILE_DOWNLOAD_INFO));
    let offered: Option<String> = file.and_then(|file| json::member(file.get(), "downloadUrl").ok()?);
    let text = offered.or_else(|| attachment.content_url.clone())?;
    Url::parse(&text).ok()
}
