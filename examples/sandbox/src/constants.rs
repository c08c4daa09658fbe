//! The fixed world of the sandbox: tenants, registrations, users, the agent.
//!
//! Every value here is public. The secrets exist so that tests in any language can share them; they open
//! nothing outside a sandbox. Real app ids appear only where a client hard-codes them (Teams, Graph, Foundry).

/// The tenant the users live in and where Teams runs.
pub const HOME_TENANT: &str = "a1a1a1a1-0000-4000-8000-00000000000a";
/// The tenant the bot, its service and the Foundry project live in.
pub const RESOURCE_TENANT: &str = "b2b2b2b2-0000-4000-8000-00000000000b";
/// The tenant id of personal Microsoft accounts. One published Entra key belongs to it alone.
pub const MSA_TENANT: &str = "9188040d-6c67-4c5b-b112-36a304b66dad";

/// App id of the bot: a multi-tenant registration in [`RESOURCE_TENANT`].
pub const BOT_APP_ID: &str = "c3c3c3c3-0000-4000-8000-0000000000b0";
/// Client secret of the bot. A public test value.
pub const BOT_APP_SECRET: &str = "sandbox~bot+secret&100%public";
/// A second secret of the bot that expired: answers AADSTS7000222.
pub const BOT_EXPIRED_SECRET: &str = "sandbox~expired-secret";
/// App id of the single-sign-on registration. The sandbox uses the same-app layout: it is the bot's.
pub const SSO_APP_ID: &str = BOT_APP_ID;
/// App-id URI of the single-sign-on registration, `api://botid-{bot}`.
pub const SSO_RESOURCE: &str = "api://botid-c3c3c3c3-0000-4000-8000-0000000000b0";

/// App id of the agentic service behind a gateway.
pub const SERVICE_APP_ID: &str = "d4d4d4d4-0000-4000-8000-0000000000c0";
/// Client secret of the agentic service. A public test value.
pub const SERVICE_APP_SECRET: &str = "sandbox~service-secret";
/// App-id URI of the agentic service.
pub const SERVICE_RESOURCE: &str = "api://d4d4d4d4-0000-4000-8000-0000000000c0";

/// A registration without a secret whose certificate is made at start: `Sandbox::certificate_pem`.
pub const CERT_APP_ID: &str = "e5e5e5e5-0000-4000-8000-0000000000d0";

/// A second confidential app in [`RESOURCE_TENANT`] that is not the bot: its tokens are refused by the connector.
pub const OTHER_APP_ID: &str = "f6f6f6f6-0000-4000-8000-0000000000e0";
/// Client secret of [`OTHER_APP_ID`]. A public test value.
pub const OTHER_APP_SECRET: &str = "sandbox~other-secret";

/// App id of a web application that signs users in by browser: multi-tenant, confidential, with group claims.
pub const WEB_APP_ID: &str = "a7a7a7a7-0000-4000-8000-0000000000f0";
/// Client secret of [`WEB_APP_ID`]. A public test value.
pub const WEB_APP_SECRET: &str = "sandbox~web-secret";
/// The redirect URI of [`WEB_APP_ID`]. The port of a loopback URI does not matter, as with Entra.
pub const WEB_REDIRECT_URI: &str = "http://localhost/auth/callback";
/// Where [`WEB_APP_ID`] goes after a sign-out.
pub const WEB_SIGNED_OUT_URI: &str = "http://localhost/";
/// App id of a command-line tool: multi-tenant and public, without any credential. Its redirect URI is
/// `http://localhost`.
pub const CLI_APP_ID: &str = "b8b8b8b8-0000-4000-8000-000000000100";

/// App id of the managed identity of the machine that the sandbox plays. It may use the vault, and the bot's registration
/// trusts it: its tokens for [`TOKEN_EXCHANGE_RESOURCE`] are client assertions of the bot.
pub const MANAGED_IDENTITY_APP_ID: &str = "cacacaca-0000-4000-8000-000000000110";
/// App id of the single-sign-on registration when the bot itself is a managed identity, which can own none:
/// `Builder::bot_as_managed_identity`. It has no secret; it trusts the identity of the bot.
pub const AUTH_APP_ID: &str = "dbdbdbdb-0000-4000-8000-000000000120";
/// Name of the certificate in the vault. It is the one of `Sandbox::certificate_pem`, which the bot accepts.
pub const VAULT_CERTIFICATE: &str = "bot-certificate";
/// Name of the secret in the vault.
pub const VAULT_SECRET: &str = "story";
/// Value of [`VAULT_SECRET`]. A public test value.
pub const VAULT_SECRET_VALUE: &str = "once upon a time";

/// Teams desktop and mobile, pre-authorized on the single-sign-on registration.
pub const TEAMS_CLIENT_ID: &str = "1fec8e78-bce4-4aaf-ab1b-5451cc387264";

/// Audience of connector and user-token-service tokens.
pub const CONNECTOR_RESOURCE: &str = "https://api.botframework.com";
/// Audience of Foundry tokens.
pub const FOUNDRY_RESOURCE: &str = "https://ai.azure.com";
/// Audience of Microsoft Graph tokens.
pub const GRAPH_RESOURCE: &str = "https://graph.microsoft.com";
/// Audience of tokens that are client assertions of another application.
pub const TOKEN_EXCHANGE_RESOURCE: &str = "api://AzureADTokenExchange";
/// Audience of Key Vault tokens.
pub const VAULT_RESOURCE: &str = "https://vault.azure.net";
/// App id of Microsoft Graph, also accepted as its resource name.
pub const GRAPH_APP_ID: &str = "00000003-0000-0000-c000-000000000000";

/// Issuer of channel tokens in the public cloud.
pub const CHANNEL_ISSUER: &str = "https://api.botframework.com";
/// Issuer of v1 access tokens, without tenant and final slash.
pub const V1_ISSUER_HOST: &str = "https://sts.windows.net";

/// Default OAuth connection: its token is for the single-sign-on app itself, so that a bot does On-Behalf-Of.
pub const SERVICE_CONNECTION: &str = "SERVICE_CONNECTION";
/// OAuth connection whose token is for the agentic service.
pub const SERVICE_API_CONNECTION: &str = "SERVICE_API_CONNECTION";
/// OAuth connection whose token is for Microsoft Graph.
pub const GRAPH_CONNECTION: &str = "GRAPH_CONNECTION";

/// Region segment of the default service URL.
pub const REGION: &str = "amer";
/// Name of the Foundry project.
pub const FOUNDRY_PROJECT: &str = "sandbox";
/// Name of the default agent.
pub const FOUNDRY_AGENT: &str = "sandbox-agent";
/// Display name of the bot account in Teams.
pub const BOT_NAME: &str = "Sandbox Bot";

/// A user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct User {
    /// Entra object id.
    pub oid: &'static str,
    /// User principal name.
    pub upn: &'static str,
    /// Display name.
    pub name: &'static str,
    /// Given name.
    pub given_name: &'static str,
    /// The account id Teams uses towards the bot, `29:…`.
    pub mri: &'static str,
    /// Tenant the user lives in.
    pub tenant: &'static str,
}

/// The user who writes unless another one is named.
pub const USER_ONE: User = User {
    oid: "11111111-0000-4000-8000-000000000001",
    upn: "user.one@home.example",
    name: "User One",
    given_name: "One",
    mri: "29:1sandboxUserOne-Xy0aB3cD4eF5gH6iJ7kL8mN9oP0qR1sT2uV3wX4yZ5",
    tenant: HOME_TENANT,
};

/// The second user.
pub const USER_TWO: User = User {
    oid: "22222222-0000-4000-8000-000000000002",
    upn: "user.two@home.example",
    name: "User Two",
    given_name: "Two",
    mri: "29:1sandboxUserTwo-Za9yX8wV7uT6sR5qP4oN3mL2kJ1iH0gF9eD8cB7aA6",
    tenant: HOME_TENANT,
};

/// A user of [`RESOURCE_TENANT`], who is not in Teams and signs in by browser only.
pub const USER_THREE: User = User {
    oid: "33333333-0000-4000-8000-000000000003",
    upn: "user.three@resource.example",
    name: "User Three",
    given_name: "Three",
    mri: "",
    tenant: RESOURCE_TENANT,
};

/// Who can sign in by browser.
pub(crate) const PEOPLE: [User; 3] = [USER_ONE, USER_TWO, USER_THREE];

/// Both users of Teams.
pub const USERS: [User; 2] = [USER_ONE, USER_TWO];

/// The user with this object id.
pub(crate) fn user_by_oid(oid: &str) -> Option<&'static User> {
    PEOPLE.iter().find(|user| user.oid.eq_ignore_ascii_case(oid))
}

/// The user with this Teams account id.
pub(crate) fn user_by_mri(mri: &str) -> Option<&'static User> {
    USERS.iter().find(|user| user.mri == mri)
}

/// Whether the sandbox knows this tenant.
pub(crate) fn is_tenant(id: &str) -> bool {
    id.eq_ignore_ascii_case(HOME_TENANT) || id.eq_ignore_ascii_case(RESOURCE_TENANT)
}
