use crate::model::card_action::CardAction;
use crate::model::object::wire_object;
use crate::model::tagged::setters;
use crate::model::vocabulary::ActionType;

wire_object! {
    /// The card that asks a user to sign in
    /// ([`OAuthCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#oauthcard-object)).
    ///
    /// With a [`TokenExchangeResource`] Teams first tries to sign in silently; the button is what the user sees when
    /// that fails. What is absent is left out of the JSON: Teams rejects a card with `"tokenExchangeResource": null`.
    /// The link of the button is as good as a password; no `Debug` shows it.
    ///
    /// ```
    /// use botframework_activity::card::{Card, OAuthCard, TokenExchangeResource};
    ///
    /// let card = OAuthCard::new("sso", "Sign in", "https://token.botframework.com/api/oauth/signin?signin=0")
    ///     .with_text("Please sign in")
    ///     .with_token_exchange_resource(TokenExchangeResource::new("6b29fc40", "api://botid-1"));
    /// assert_eq!(
    ///     card.to_attachment()?.content.unwrap().get(),
    ///     concat!(
    ///         r#"{"text":"Please sign in","connectionName":"sso","#,
    ///         r#""buttons":[{"type":"signin","title":"Sign in","#,
    ///         r#""value":"https://token.botframework.com/api/oauth/signin?signin=0"}],"#,
    ///         r#""tokenExchangeResource":{"id":"6b29fc40","uri":"api://botid-1"}}"#
    ///     )
    /// );
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    pub struct OAuthCard {
        /// The words above the button.
        pub text: Option<String> = "text";
        /// The connection of the bot.
        pub connection_name: Option<String> = "connectionName" show;
        /// The button.
        pub buttons: Vec<CardAction> = "buttons";
        /// What Teams needs to sign in silently.
        pub token_exchange_resource: Option<TokenExchangeResource> = "tokenExchangeResource";
        /// Where a client may post a token itself.
        pub token_post_resource: Option<TokenPostResource> = "tokenPostResource";
    }
}

impl OAuthCard {
    /// A card for a connection of the bot, with one button that opens `link`.
    #[inline]
    pub fn new(connection: impl Into<String>, title: impl Into<String>, link: impl Into<String>) -> Self {
        let button = CardAction::new(ActionType::SIGNIN, title).with_value(link.into());
        Self { connection_name: Some(connection.into()), buttons: vec![button], ..Self::default() }
    }

    /// Makes the button open a browser, for the Emulator, which does not know the sign-in action.
    #[must_use]
    #[inline]
    pub fn opening_url(mut self) -> Self {
        for button in &mut self.buttons {
            button.kind = ActionType::OPEN_URL;
        }
        self
    }

    /// The same card; what was read as `null` is absent.
    #[inline]
    pub(super) fn without_nulls(&self) -> Self {
        let mut card = self.clone();
        card.spelling.forget_nulls();
        for spelling in [
            card.token_exchange_resource.as_mut().map(|resource| &mut resource.spelling),
            card.token_post_resource.as_mut().map(|resource| &mut resource.spelling),
        ] {
            spelling.into_iter().for_each(|spelling| spelling.forget_nulls());
        }
        card
    }
}

setters! { OAuthCard {
    /// Sets the words above the button.
    with_text(String) => text;
    /// Lets Teams sign in silently. Leave it out in channels, where it never works.
    with_token_exchange_resource(TokenExchangeResource) => token_exchange_resource;
    /// Sets where a client may post a token itself.
    with_token_post_resource(TokenPostResource) => token_post_resource;
} }

wire_object! {
    /// What Teams needs for a silent sign-in. Every client of the user answers with the same id.
    ///
    /// Read in any letter case, since services differ; written in camel case.
    pub struct TokenExchangeResource {
        /// Correlates the answers of all clients.
        pub id: Option<String> = "id" | "Id" show;
        /// The app-id URI of the registration. Teams reports `resourcematchfailed` when it is not that of the manifest.
        pub uri: Option<String> = "uri" | "Uri" show;
        /// The provider of the connection, a GUID of Azure Bot Service.
        pub provider_id: Option<String> = "providerId" | "ProviderId" show;
    }
}

impl TokenExchangeResource {
    /// A resource with this id and app-id URI.
    #[inline]
    pub fn new(id: impl Into<String>, uri: impl Into<String>) -> Self {
        Self { id: Some(id.into()), uri: Some(uri.into()), ..Self::default() }
    }
}

wire_object! {
    /// Where a client may post a token itself; good for about a minute.
    pub struct TokenPostResource {
        /// The address, signed: as good as a password.
        pub sas_url: Option<String> = "sasUrl" | "SasUrl";
    }
}

impl TokenPostResource {
    /// This address.
    #[inline]
    pub fn new(sas_url: impl Into<String>) -> Self {
        Self { sas_url: Some(sas_url.into()), ..Self::default() }
    }
}

wire_object! {
    /// A card with a text and a button that opens a sign-in page:
    /// [`SigninCard`](https://learn.microsoft.com/azure/bot-service/rest-api/bot-framework-rest-connector-api-reference#signincard-object).
    pub struct SigninCard {
        /// The text.
        pub text: Option<String> = "text";
        /// The button.
        pub buttons: Vec<CardAction> = "buttons";
    }
}

impl SigninCard {
    /// A card with one button that opens `link`.
    #[inline]
    pub fn new(text: impl Into<String>, title: impl Into<String>, link: impl Into<String>) -> Self {
        let button = CardAction::new(ActionType::SIGNIN, title).with_value(link.into());
        Self { text: Some(text.into()), buttons: vec![button], ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Card;

    const LINK: &str = "https://token.botframework.com/api/oauth/signin?signin=secret-link";

    #[test]
    fn no_null_is_sent_even_when_one_was_read() {
        let text = r#"{"connectionName":"sso","tokenExchangeResource":null,"tokenPostResource":{"sasUrl":null}}"#;
        let card: OAuthCard = serde_json::from_str(text).unwrap();
        assert_eq!(serde_json::to_string(&card).unwrap(), text, "what was read is kept");
        let sent = card.to_attachment().unwrap().content.unwrap();
        assert_eq!(sent.get(), r#"{"connectionName":"sso","tokenPostResource":{}}"#);
    }

    #[test]
    fn links_are_not_shown() {
        let card = OAuthCard::new("sso", "Sign in", LINK)
            .with_token_post_resource(TokenPostResource::new("https://x.invalid/secret"))
            .opening_url();
        assert!(!format!("{card:?}").contains("secret"), "{card:?}");
        assert!(!format!("{:?}", SigninCard::new("t", "Sign in", LINK)).contains("secret"));
        assert_eq!(card.buttons[0].kind, ActionType::OPEN_URL);
    }

    #[test]
    fn both_letter_cases_are_read() {
        let text = r#"{"Id":"g-1","ProviderId":"p","Uri":"api://b"}"#;
        let resource: TokenExchangeResource = serde_json::from_str(text).unwrap();
        let written = r#"{"id":"g-1","uri":"api://b","providerId":"p"}"#;
        assert_eq!(serde_json::to_string(&resource).unwrap(), written);
        assert_eq!(resource, serde_json::from_str(written).unwrap());
    }
}
