use entra_auth::BuildError;
use http::{HeaderName, HeaderValue};

/// Who an agent is to the connector, for bots that are agents of an Entra agent blueprint
/// ([`ConnectorClientBuilder::agent`](crate::ConnectorClientBuilder::agent)).
///
/// It comes from the bot's configuration. An activity names an agent too (`recipient.agenticAppId`), but whoever wrote
/// the activity would then choose whose token is sent.
///
/// ```
/// use botframework_activity::AgentIdentity;
///
/// let agent = AgentIdentity::new("11111111-2222-4333-8444-555555555555")?.named("Travel desk")?;
/// # Ok::<(), entra_auth::BuildError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    id: HeaderValue,
    name: Option<HeaderValue>,
    referrer: Option<HeaderValue>,
}

impl AgentIdentity {
    /// The agent with this id: the app id of the agent identity.
    ///
    /// # Errors
    ///
    /// When the id is empty or cannot be a header. The operator.
    #[inline]
    pub fn new(id: &str) -> Result<Self, BuildError> {
        Ok(Self { id: header(id)?, name: None, referrer: None })
    }

    /// Its name, sent as `AgentName`.
    ///
    /// # Errors
    ///
    /// When it is empty or cannot be a header: ASCII letters, digits, punctuation and spaces.
    #[inline]
    pub fn named(mut self, name: &str) -> Result<Self, BuildError> {
        self.name = Some(header(name)?);
        Ok(self)
    }

    /// Who sent the agent, sent as `Agent-Referrer`.
    ///
    /// # Errors
    ///
    /// As [`AgentIdentity::named`].
    #[inline]
    pub fn referred_by(mut self, referrer: &str) -> Result<Self, BuildError> {
        self.referrer = Some(header(referrer)?);
        Ok(self)
    }

    #[inline]
    pub(super) fn into_headers(self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![
            (HeaderName::from_static("agentregistrar"), HeaderValue::from_static("A365")),
            (HeaderName::from_static("agentid"), self.id),
        ];
        headers.extend(self.name.map(|name| (HeaderName::from_static("agentname"), name)));
        headers.extend(self.referrer.map(|referrer| (HeaderName::from_static("agent-referrer"), referrer)));
        headers
    }
}

#[inline]
fn header(text: &str) -> Result<HeaderValue, BuildError> {
    let plain = !text.trim().is_empty() && text.len() <= 256 && text.bytes().all(|b| (0x20..0x7f).contains(&b));
    plain
        .then(|| HeaderValue::from_str(text.trim()).ok())
        .flatten()
        .ok_or_else(|| BuildError::new("an agent's id, name and referrer are 1 to 256 printable ASCII characters"))
}
