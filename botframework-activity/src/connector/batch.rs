//! One message to many: the service delivers it and is asked how far it is.

use super::{
    ConnectorClient, address,
    answer::{Done, Json, Operation},
    client::at,
    error::SendError,
    pages::{Page, Pages},
    types::{BatchFailure, BatchFailures, BatchStatus},
};
use crate::model::object::wire_object;
use crate::{Activity, ChannelAccount, ServiceUrl};

static USERS: Operation = Operation::post("batch to users", "/v3/batch/conversation/users/").free();
static TENANT: Operation = Operation::post("batch to tenant", "/v3/batch/conversation/tenant/").free();
static TEAM: Operation = Operation::post("batch to team", "/v3/batch/conversation/team/").free();
static CHANNELS: Operation = Operation::post("batch to channels", "/v3/batch/conversation/channels/").free();
static STATUS: Operation = Operation::get("batch state", "/v3/batch/conversation/{operation}").free();
static FAILURES: Operation =
    Operation::get("batch failures", "/v3/batch/conversation/failedentries/{operation}").free();
static CANCEL: Operation = Operation::delete("cancel batch", "/v3/batch/conversation/{operation}").free();

/// To whom one message of [`ConnectorClient::send_batch`] goes.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum BatchTarget<'a> {
    /// These users: ids of Teams (`29:…`) or Entra object ids.
    Users(&'a [&'a str]),
    /// Everyone in the tenant who has the app.
    Tenant,
    /// Everyone in a team.
    Team(&'a str),
    /// These channels.
    Channels(&'a [&'a str]),
}

wire_object! {
    struct Body {
        pub members: Vec<ChannelAccount> = "members";
        pub activity: Option<Activity> = "activity";
        pub team_id: Option<String> = "teamId";
        pub tenant_id: Option<String> = "tenantId";
    }
}

impl ConnectorClient {
    /// Hands one message for many to the service, which answers the id of the operation. The message is not addressed:
    /// the service fills in conversation and recipient.
    ///
    /// ```
    /// use botframework_activity::{Activity, BatchTarget, ConnectorClient, SendError, ServiceUrl};
    ///
    /// async fn announce(connector: &ConnectorClient, teams: &ServiceUrl, tenant: &str) -> Result<String, SendError> {
    ///     let everyone = BatchTarget::Tenant;
    ///     connector.send_batch(teams, tenant, everyone, &Activity::message("The service is back.")).await
    /// }
    /// ```
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]; [`SendErrorKind::Invalid`](crate::SendErrorKind::Invalid) for an empty list.
    pub async fn send_batch(
        &self,
        service_url: &ServiceUrl,
        tenant_id: &str,
        target: BatchTarget<'_>,
        activity: &Activity,
    ) -> Result<String, SendError> {
        let (operation, segment, list, team_id) = match target {
            BatchTarget::Users(users) => (&USERS, "users", Some(users), None),
            BatchTarget::Tenant => (&TENANT, "tenant", None, None),
            BatchTarget::Team(team) => (&TEAM, "team", None, Some(team)),
            BatchTarget::Channels(channels) => (&CHANNELS, "channels", Some(channels), None),
        };
        if list.is_some_and(<[_]>::is_empty) || team_id.is_some_and(str::is_empty) || tenant_id.is_empty() {
            return Err(SendError::invalid());
        }
        // The documented paths end in a slash.
        let uri = format!("{}/", at(service_url, &["v3", "batch", "conversation", segment])?);
        let uri = uri.parse().map_err(|_| SendError::invalid())?;
        let body = Body {
            members: list.unwrap_or_default().iter().copied().map(ChannelAccount::new).collect(),
            activity: Some(activity.clone()),
            team_id: team_id.map(str::to_owned),
            tenant_id: Some(tenant_id.to_owned()),
            ..Body::default()
        };
        let Json(id) = self.request(service_url, operation, uri).json(&body)?.run().await?;
        Ok(id)
    }

    /// How far a batch is.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`].
    pub async fn batch_status(&self, service_url: &ServiceUrl, operation_id: &str) -> Result<BatchStatus, SendError> {
        let uri = at(service_url, &["v3", "batch", "conversation", operation_id])?;
        let Json(status) = self.request(service_url, &STATUS, uri).run().await?;
        Ok(status)
    }

    /// What a batch could not deliver, page by page.
    ///
    /// # Errors
    ///
    /// Each page fails as [`ConnectorClient::send`]; the stream ends after an error.
    #[inline]
    pub fn batch_failures<'a>(&'a self, service_url: &'a ServiceUrl, operation_id: &'a str) -> Pages<'a, BatchFailure> {
        Pages::new(move |token| {
            Box::pin(async move {
                let segments = ["v3", "batch", "conversation", "failedentries", operation_id];
                let query = [("continuationToken", token.as_deref())];
                let uri = address::join(service_url, &segments, &query).ok_or_else(SendError::invalid)?;
                let Json(page) = self.request(service_url, &FAILURES, uri).run::<Json<BatchFailures>>().await?;
                Ok(Page { items: page.failed_entry_responses, next: page.continuation_token })
            })
        })
    }

    /// Stops a batch. What was delivered stays.
    ///
    /// # Errors
    ///
    /// As [`ConnectorClient::send`]. Repeating it does no harm.
    pub async fn cancel_batch(&self, service_url: &ServiceUrl, operation_id: &str) -> Result<(), SendError> {
        let uri = at(service_url, &["v3", "batch", "conversation", operation_id])?;
        self.request(service_url, &CANCEL, uri).run::<Done>().await.map(drop)
    }
}
