use botframework_activity::{ActionType, Attachment, ContentType, ModelError};
use serde::{Deserialize, Serialize};

/// The card that asks a user to sign in
/// ([`OAuthCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#oauthcard-object)).
///
/// With a [`TokenExchangeResource`] Teams first tries to sign in silently; the button is what the user sees when that
/// fails. What is absent is left out of the JSON: Teams rejects a card with `"tokenExchangeResource": null`.
///
/// ```
/// use teams_sso::{OAuthCard, TokenExchangeResource};
///
/// let card = OAuthCard::new("sso", "Sign in", "https://token.botframework.com/api/oauth/signin?signin=0")
///     .with_text("Please sign in")
///     .with_token_exchange_resource(TokenExchangeResource::new("6b29fc40", "api://botid-1"));
/// let attachment = card.to_attachment()?;
/// assert_eq!(
///     attachment.content.unwrap().get(),
///     concat!(
///         r#"{"text":"Please sign in","connectionName":"sso","#,
///         r#""buttons":[{"type":"signin","title":"Sign in","#,
///         r#""value":"https://token.botframework.com/api/oauth/signin?signin=0"}],"#,
///         r#""tokenExchangeResource":{"id":"6b29fc40","uri":"api://botid-1"}}"#
///     )
/// );
/// # Ok::<(), botframework_activity::ModelError>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct OAuthCard {
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    connection_name: String,
    buttons: [SignInButton; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    token_exchange_resource: Option<TokenExchangeResource>,
    #[serde(skip_serializing_if = "Option::is_none")]
    token_post_resource: Option<TokenPostResource>,
}

#[derive(Clone, PartialEq, Eq, Serialize)]
struct SignInButton {
    #[serde(rename = "type")]
    kind: ActionType,
    title: String,
    value: String,
}

impl OAuthCard {
    /// A card for a connection of the bot, with one button that opens `link`.
    pub fn new(connection: impl Into<String>, title: impl Into<String>, link: impl Into<String>) -> Self {
        let button = SignInButton { kind: ActionType::SIGNIN, title: title.into(), value: link.into() };
        Self {
            text: None,
            connection_name: connection.into(),
            buttons: [button],
            token_exchange_resource: None,
            token_post_resource: None,
        }
    }

    /// Sets the words above the button.
    #[must_use]
    pub fn with_text(mut self, text: impl Into<String>) -> Self {
        self.text = Some(text.into());
        self
    }

    /// Lets Teams sign in silently. Leave it out in channels, where it never works.
    #[must_use]
    pub fn with_token_exchange_resource(mut self, resource: TokenExchangeResource) -> Self {
        self.token_exchange_resource = Some(resource);
        self
    }

    /// Sets where a client may post a token itself.
    #[must_use]
    pub fn with_token_post_resource(mut self, resource: TokenPostResource) -> Self {
        self.token_post_resource = Some(resource);
        self
    }

    /// Makes the button open a browser, for the Emulator, which does not know the sign-in action.
    #[must_use]
    pub fn opening_url(mut self) -> Self {
        for button in &mut self.buttons {
            button.kind = ActionType::OPEN_URL;
        }
        self
    }

    /// The card as an attachment of a message.
    ///
    /// # Errors
    ///
    /// None in practice: every member can be JSON.
    pub fn to_attachment(&self) -> Result<Attachment, ModelError> {
        Attachment::new(ContentType::OAUTH_CARD, self)
    }
}

/// Shows the connection only: the link is as good as a password.
impl std::fmt::Debug for OAuthCard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OAuthCard")
            .field("connection", &self.connection_name)
            .field("silent", &self.token_exchange_resource.is_some())
            .finish_non_exhaustive()
    }
}

/// What Teams needs for a silent sign-in. Every client of the user answers with the same [`TokenExchangeResource::id`].
///
/// Read in any letter case, since services differ; written in camel case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenExchangeResource {
    /// Correlates the answers of all clients.
    #[serde(alias = "Id")]
    pub id: String,
    /// The provider of the connection, a GUID of Azure Bot Service.
    #[serde(rename = "providerId", alias = "ProviderId", default, skip_serializing_if = "Option::is_none")]
    pub provider_id: Option<String>,
    /// The app-id URI of the registration. Teams reports `resourcematchfailed` when it is not that of the manifest.
    #[serde(alias = "Uri", default, skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
}

impl TokenExchangeResource {
    /// A resource with this id and app-id URI.
    pub fn new(id: impl Into<String>, uri: impl Into<String>) -> Self {
        Self { id: id.into(), provider_id: None, uri: Some(uri.into()) }
    }
}

/// Where a client may post a token itself; good for about a minute.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenPostResource {
    /// The address, signed: as good as a password.
    #[serde(rename = "sasUrl", alias = "SasUrl", default, skip_serializing_if = "Option::is_none")]
    pub sas_url: Option<String>,
}

impl std::fmt::Debug for TokenPostResource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TokenPostResource").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: &str = "https://token.botframework.com/api/oauth/signin?signin=secret-link";

    #[test]
    fn the_card_is_what_was_observed_on_the_wire() {
        let card = OAuthCard::new("sso", "Sign In", LINK)
            .with_text("Please Sign In")
            .with_token_exchange_resource(TokenExchangeResource {
                id: "11111111-2222-3333-4444-555555555555".into(),
                provider_id: Some("30dd229c-58e3-4a48-bdfd-91ec48eb906c".into()),
                uri: Some("api://botid-1".into()),
            })
            .with_token_post_resource(TokenPostResource { sas_url: Some("https://x.example/sas".into()) });
        let attachment = card.to_attachment().unwrap();
        assert_eq!(
            serde_json::to_value(&attachment).unwrap(),
            serde_json::json!({
                "contentType": "application/vnd.microsoft.card.oauth",
                "content": {
                    "text": "Please Sign In",
                    "connectionName": "sso",
                    "buttons": [{"type": "signin", "title": "Sign In", "value": LINK}],
                    "tokenExchangeResource": {
                        "id": "11111111-2222-3333-4444-555555555555",
                        "providerId": "30dd229c-58e3-4a48-bdfd-91ec48eb906c",
                        "uri": "api://botid-1"
                    },
                    "tokenPostResource": {"sasUrl": "https://x.example/sas"}
                }
            })
        );
        assert!(!format!("{card:?}").contains("secret"));
    }

    /// Teams rejects a card with a null in it.
    #[test]
    fn what_is_absent_is_left_out() {
        let text = serde_json::to_string(&OAuthCard::new("sso", "Sign In", LINK)).unwrap();
        assert_eq!(
            text,
            format!(r#"{{"connectionName":"sso","buttons":[{{"type":"signin","title":"Sign In","value":"{LINK}"}}]}}"#)
        );
        let bare = OAuthCard::new("sso", "Sign In", LINK)
            .with_token_exchange_resource(TokenExchangeResource { id: "1".into(), provider_id: None, uri: None })
            .with_token_post_resource(TokenPostResource { sas_url: None })
            .opening_url();
        let text = serde_json::to_string(&bare).unwrap();
        assert!(!text.contains("null"), "{text}");
        assert!(text.contains(r#""tokenExchangeResource":{"id":"1"}"#), "{text}");
        assert!(text.contains(r#""type":"openUrl""#), "{text}");
    }
}
