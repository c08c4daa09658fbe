//! Who takes part in a conversation.

use super::{
    ConnectorClient, address,
    answer::{Done, Json, Operation},
    client::at,
    error::SendError,
    pages::{Page, Pages},
};
use crate::{PagedMembersResult, ServiceUrl, TeamsChannelAccount};

static MEMBERS: Operation = Operation::get("members", "/v3/conversations/{conversation}/pagedmembers");
static MEMBER: Operation = Operation::get("member", "/v3/conversations/{conversation}/members/{member}");
static REMOVE: Operation = Operation::delete("remove member", "/v3/conversations/{conversation}/members/{member}");
static ACTIVITY_MEMBERS: Operation =
    Operation::get("activity members", "/v3/conversations/{conversation}/activities/{activity}/members");

/// The sizes of a page that Teams takes.
const PAGE: std::ops::RangeInclusive<u16> = 50..=500;

impl ConnectorClient {
    /// The members of a conversation, page by page.
    ///
    /// ```
    /// use botframework_activity::{ConnectorClient, SendError, ServiceUrl};
    ///
    /// async fn count(connector: &ConnectorClient, at: &ServiceUrl, conversation: &str) -> Result<usize, SendError> {
    ///     let mut members = connector.members(at, conversation);
    ///     let mut count = 0;
    ///     while let Some(member) = members.next().await {
    ///         let _ = member?.name;
    ///         count += 1;
    ///     }
    ///     Ok(count)
    /// }
    /// ```
    ///
    /// The id may be that of a thread: member calls are about the channel, so `;messageid=…` is cut. A page has 200
    /// members; see [`ConnectorClient::members_by`].
    ///
    /// # Errors
    ///
    /// Each page fails as [`ConnectorClient::send`]; the stream ends after an error.
    #[inline]
    pub fn members<'a>(
        &'a self,
        service_url: &'a ServiceUrl,
        conversation_id: &'a str,
    ) -> Pages<'a, TeamsChannelAccount> {
        self.members_by(service_url, conversation_id, 200)
    }

    /// As [`ConnectorClient::members`], with so many members a page: 50 to 500, the nearest is taken.
    #[inline]
    pub fn members_by<'a>(
        &'a self,
        service_url: &'a ServiceUrl,
        conversation_id: &'a str,
        page_size: u16,
    ) -> Pages<'a, TeamsChannelAccount> {
        let conversation = without_thread(conversation_id);
        let page_size = page_size.clamp(*PAGE.start(), *PAGE.end());
        Pages::new(move |token| {
            Box::pin(async move {
                let size = page_size.to_string();
                let query = [("pageSize", Some(size.as_str())), ("continuationToken", token.as_deref())];
                let segments = ["v3", "conversations", conversation, "pagedmembers"];
                let uri = address::join(service_url, &segments, &query).ok_or_else(SendError::invalid)?;
                let call = self.request(service_url, &MEMBERS, uri).of(Some(conversation));
                let Json(page) = call.run::<Json<PagedMembersResult>>().await?;
                Ok(Page { items: page.members, next: page.continuation_token })
            })
        })
    }

    /// One member, by the id of the channel (`29:…`) or the Entra object id.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; [`SendErrorKind::NotFound`](crate::SendErrorKind::NotFound) when nobody of that id
    /// takes part.
    pub async fn member(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        member_id: &str,
    ) -> Result<TeamsChannelAccount, SendError> {
        let conversation = without_thread(conversation_id);
        let uri = at(service_url, &["v3", "conversations", conversation, "members", member_id])?;
        let Json(member) = self.request(service_url, &MEMBER, uri).of(Some(conversation)).run().await?;
        Ok(member)
    }

    /// Removes a member. Teams does not offer it to bots.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. Repeating it does no harm.
    pub async fn remove_member(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        member_id: &str,
    ) -> Result<(), SendError> {
        let conversation = without_thread(conversation_id);
        let uri = at(service_url, &["v3", "conversations", conversation, "members", member_id])?;
        self.request(service_url, &REMOVE, uri).of(Some(conversation)).run::<Done>().await.map(drop)
    }

    /// Who can see one activity.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn activity_members(
        &self,
        service_url: &ServiceUrl,
        conversation_id: &str,
        activity_id: &str,
    ) -> Result<Vec<TeamsChannelAccount>, SendError> {
        let uri = at(service_url, &["v3", "conversations", conversation_id, "activities", activity_id, "members"])?;
        let Json(members) = self.request(service_url, &ACTIVITY_MEMBERS, uri).of(Some(conversation_id)).run().await?;
        Ok(members)
    }
}

/// A roster call about a thread is answered with 404: the roster is the channel's.
fn without_thread(conversation: &str) -> &str {
    conversation.split_once(";messageid=").map_or(conversation, |(channel, _)| channel)
}
