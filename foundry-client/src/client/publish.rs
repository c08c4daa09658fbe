//! Publishing an agent to Microsoft 365.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde::Serialize;

use crate::agents::{Agent, ApprovalStatus, EndpointChange, Protocol, SchemeKind};
use crate::client::agents::Agents;
use crate::client::call::Call;
use crate::client::classify::Operation;
use crate::client::error::{Error, Resource};
use crate::client::{FoundryClient, Shared};
use crate::object::readable;
use crate::vocabulary::vocabulary;

/// Largest icon, bytes of base64 included.
const MAX_ICON: usize = 1_400_000;

vocabulary! {
    /// Who gets what is published.
    PublishScope {
        /// The publisher alone.
        PERSONAL = "Personal",
        /// Whom it is shared with.
        SHARED = "Shared",
        /// Everybody of the tenant, after an administrator approved.
        TENANT = "Tenant",
    }
}

/// What is published. Only [`scope`](Self::new) must be set; the service fills in the rest.
///
/// <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/publish-copilot>
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[must_use]
pub struct PublishRequest {
    publish_scope: PublishScope,
    #[serde(skip_serializing_if = "Option::is_none")]
    agent_display_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bot_service_arm_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    publish_as_autopilot: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    access_boundaries: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    optional_permission_scopes: Vec<PermissionScopes>,
    #[serde(skip_serializing_if = "Option::is_none")]
    can_respond_without_mention: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    app_version: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    short_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    full_description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    developer_name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    developer_website_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    privacy_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    terms_of_use_url: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "colorIconBase64")]
    color_icon: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", rename = "outlineIconBase64")]
    outline_icon: Option<String>,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct PermissionScopes {
    resource_app_id: String,
    scopes: Vec<String>,
}

macro_rules! texts {
    ($($(#[$meta:meta])* $name:ident,)*) => {$(
        $(#[$meta])*
        pub fn $name(mut self, text: impl Into<String>) -> Self {
            self.$name = Some(text.into());
            self
        }
    )*};
}

impl PublishRequest {
    /// For these people.
    pub fn new(scope: PublishScope) -> Self {
        Self {
            publish_scope: scope,
            agent_display_name: None,
            bot_service_arm_id: None,
            publish_as_autopilot: None,
            access_boundaries: None,
            optional_permission_scopes: Vec::new(),
            can_respond_without_mention: None,
            app_version: None,
            short_description: None,
            full_description: None,
            developer_name: None,
            developer_website_url: None,
            privacy_url: None,
            terms_of_use_url: None,
            color_icon: None,
            outline_icon: None,
        }
    }

    /// With what the service suggests, its next version included: publishing again then works.
    pub fn with_defaults(mut self, defaults: &PublishDefaults) -> Self {
        let defaults = defaults.clone();
        self.agent_display_name = self.agent_display_name.or(defaults.agent_display_name);
        self.bot_service_arm_id = self.bot_service_arm_id.or(defaults.bot_service_arm_id);
        self.app_version = self.app_version.or(defaults.recommended_next_app_version);
        self.short_description = self.short_description.or(defaults.short_description);
        self.full_description = self.full_description.or(defaults.full_description);
        self.developer_name = self.developer_name.or(defaults.developer_name);
        self.developer_website_url = self.developer_website_url.or(defaults.developer_website_url);
        self.privacy_url = self.privacy_url.or(defaults.privacy_url);
        self.terms_of_use_url = self.terms_of_use_url.or(defaults.terms_of_use_url);
        self
    }

    texts! {
        /// The name people see.
        agent_display_name,
        /// The Azure Bot in front of the agent, by its resource id. Needed unless it is an autopilot.
        bot_service_arm_id,
        /// Digits and dots, none of the numbers with a leading 0, for example `1.0.3`. A version is published once.
        app_version,
        /// One line.
        short_description,
        /// At most 4,000 characters.
        full_description,
        /// At most 32 characters.
        developer_name,
        /// An `https` address.
        developer_website_url,
        /// An `https` address.
        privacy_url,
        /// An `https` address.
        terms_of_use_url,
        /// A PNG of 192 × 192 in base64, at most 1 MB.
        color_icon,
        /// A PNG of 32 × 32 in base64, at most 1 MB.
        outline_icon,
    }

    /// As an agent with an account of its own, without an Azure Bot.
    pub fn autopilot(mut self) -> Self {
        self.publish_as_autopilot = Some(true);
        self
    }

    /// What an autopilot may read and write, for example `read.1on1.tenant`; nothing clears it.
    pub fn access_boundaries<S: Into<String>>(mut self, boundaries: impl IntoIterator<Item = S>) -> Self {
        self.access_boundaries = Some(boundaries.into_iter().map(Into::into).collect());
        self
    }

    /// Adds permissions an autopilot may ask for.
    pub fn optional_permissions<S: Into<String>>(
        mut self,
        resource_app_id: impl Into<String>,
        scopes: impl IntoIterator<Item = S>,
    ) -> Self {
        let scopes = scopes.into_iter().map(Into::into).collect();
        self.optional_permission_scopes.push(PermissionScopes { resource_app_id: resource_app_id.into(), scopes });
        self
    }

    /// Whether the agent may answer in groups without being mentioned.
    pub fn can_respond_without_mention(mut self, can: bool) -> Self {
        self.can_respond_without_mention = Some(can);
        self
    }

    /// What the service would refuse.
    fn check(&self) -> Result<(), Error> {
        let autopilot = self.publish_as_autopilot == Some(true);
        let bad = |broken: bool, what: &'static str| if broken { Err(Error::misuse(what)) } else { Ok(()) };
        let long = |text: &Option<String>, most: usize| text.as_ref().is_some_and(|text| text.chars().count() > most);
        let insecure = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.starts_with("https://"));
        bad(autopilot && self.bot_service_arm_id.is_some(), "an autopilot has no Azure Bot")?;
        bad(!autopilot && self.bot_service_arm_id.is_none(), "the resource id of the Azure Bot is missing")?;
        bad(
            !autopilot && (self.access_boundaries.is_some() || !self.optional_permission_scopes.is_empty()),
            "access boundaries and optional permissions are for autopilots",
        )?;
        bad(self.app_version.as_deref().is_some_and(|version| !is_version(version)), "the version is not like 1.0.3")?;
        bad(long(&self.developer_name, 32), "the developer's name is longer than 32 characters")?;
        bad(long(&self.full_description, 4_000), "the description is longer than 4,000 characters")?;
        bad(insecure(&self.developer_website_url), "the developer's web site is not an https address")?;
        let large = |icon: &Option<String>| icon.as_ref().is_some_and(|icon| icon.len() > MAX_ICON);
        bad(large(&self.color_icon) || large(&self.outline_icon), "an icon is larger than 1 MB")
    }
}

fn is_version(text: &str) -> bool {
    let number = |part: &str| {
        !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()) && (part == "0" || !part.starts_with('0'))
    };
    text.split('.').all(number) && !text.starts_with('0')
}

/// What the service suggests to publish with.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct PublishDefaults {
    /// Who would get it.
    pub app_publish_scope: Option<PublishScope>,
    /// The agent.
    pub agent_name: Option<String>,
    /// The name people see.
    pub agent_display_name: Option<String>,
    /// The client id of the app registration.
    pub app_registration_client_id: Option<String>,
    /// The Azure Bot.
    pub bot_service_arm_id: Option<String>,
    /// The version that is published.
    pub app_version: Option<String>,
    /// The version to publish next.
    pub recommended_next_app_version: Option<String>,
    /// The title in Microsoft 365, when it was published before.
    pub title_id: Option<String>,
    /// The app in Teams, when it was published before.
    pub teams_app_id: Option<String>,
    /// One line.
    pub short_description: Option<String>,
    /// More lines.
    pub full_description: Option<String>,
    /// The developer.
    pub developer_name: Option<String>,
    /// The developer's web site.
    pub developer_website_url: Option<String>,
    /// How data is treated.
    pub privacy_url: Option<String>,
    /// Terms of use.
    pub terms_of_use_url: Option<String>,
}

/// What was published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// The title in Microsoft 365.
    pub title_id: Option<String>,
    /// The app in Teams.
    pub teams_app_id: Option<String>,
}

readable! {
    PublishDefaults {
        app_publish_scope as "appPublishScope",
        agent_name => text as "agentName",
        agent_display_name => text as "agentDisplayName",
        app_registration_client_id => text as "appRegistrationClientId",
        bot_service_arm_id => text as "botServiceArmId",
        app_version => text as "appVersion",
        recommended_next_app_version => text as "recommendedNextAppVersion",
        title_id => text as "titleId",
        teams_app_id => text as "teamsAppId",
        short_description => text as "shortDescription",
        full_description => text as "fullDescription",
        developer_name => text as "developerName",
        developer_website_url => text as "developerWebsiteUrl",
        privacy_url => text as "privacyUrl",
        terms_of_use_url => text as "termsOfUseUrl",
    }
    Published { title_id => text as "titleId", teams_app_id => text as "teamsAppId" }
}

/// Who may talk to an agent through Bot Service, and how Microsoft 365 reaches it.
#[derive(Clone, Debug)]
#[must_use]
pub struct ActivityAccess {
    scheme: SchemeKind,
    private_network: bool,
}

impl ActivityAccess {
    /// Everybody of the project's tenant; guests are refused.
    pub fn tenant() -> Self {
        Self { scheme: SchemeKind::BOT_SERVICE_TENANT, private_network: false }
    }

    /// Those who have a role on the project.
    pub fn with_role() -> Self {
        Self { scheme: SchemeKind::BOT_SERVICE_RBAC, private_network: false }
    }

    /// The project has no public network access: the service opens an address for Microsoft 365 alone.
    pub fn private_network(mut self) -> Self {
        self.private_network = true;
        self
    }

    /// The change of the agent's endpoint.
    pub fn change(&self) -> EndpointChange {
        let settings = match self.private_network {
            true => serde_json::json!({ "enable_m365_public_endpoint": true }),
            false => serde_json::json!({}),
        };
        EndpointChange::new()
            .enable_with(Protocol::ACTIVITY, settings)
            .admit(SchemeKind::ENTRA)
            .admit(self.scheme.clone())
    }
}

/// Publishing to Microsoft 365; from [`FoundryClient::microsoft365`].
///
/// The older call to `{location}.api.azureml.ms` is not built here; this one replaces it.
///
/// <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/publish-copilot>
#[derive(Clone)]
pub struct Microsoft365(Arc<Shared>);

impl FoundryClient {
    /// Publishing agents to Microsoft 365 and Teams.
    #[cfg_attr(docsrs, doc(cfg(feature = "publish")))]
    #[must_use]
    pub fn microsoft365(&self) -> Microsoft365 {
        Microsoft365(Arc::clone(&self.0))
    }
}

impl Microsoft365 {
    /// What the service suggests to publish with. `GET {project}/agents/{name}/microsoft365/publishdefaults`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn defaults(&self, agent: &str) -> Result<PublishDefaults, Error> {
        let call = self.call("publish_defaults", Method::GET, agent, "publishdefaults")?;
        self.0.fetch(call.query([("publishAsDigitalWorker", "false")])).await
    }

    /// Lets Bot Service reach the agent. Everything else of its endpoint stays.
    ///
    /// With public network access publishing does this by itself, and sets who may talk by its scope.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn enable_activity(&self, agent: &str, access: &ActivityAccess) -> Result<Agent, Error> {
        Agents::new(Arc::clone(&self.0)).update_endpoint(agent, &access.change()).await
    }

    /// Publishes. `POST {project}/agents/{name}/microsoft365/publish`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind): [`InvalidRequest`](crate::ErrorKind::InvalidRequest) also without sending
    /// anything for what the service is known to refuse, and when the version was published before
    /// ([`PublishRequest::with_defaults`] takes the next one). Repeated only when the service did not act.
    pub async fn publish(&self, agent: &str, request: &PublishRequest) -> Result<Published, Error> {
        request.check()?;
        self.0.fetch(self.call("publish_agent", Method::POST, agent, "publish")?.json(request)?).await
    }

    /// The app package that would be published: a ZIP file with `manifest.json` and two icons.
    /// `POST {project}/agents/{name}/microsoft365/zip`. The service may change the agent's endpoint with it.
    ///
    /// # Errors
    ///
    /// As [`publish`](Self::publish).
    pub async fn package(&self, agent: &str, request: &PublishRequest) -> Result<Bytes, Error> {
        request.check()?;
        let call = self.call("package_agent", Method::POST, agent, "zip")?.accept("application/zip").json(request)?;
        let reply = self.0.done(call.idempotent()).await?;
        Ok(reply.body.as_bytes().cloned().unwrap_or_default())
    }

    /// Takes it back. `POST {project}/agents/{name}/microsoft365/unpublish`.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn unpublish(&self, agent: &str) -> Result<(), Error> {
        let call = self.call("unpublish_agent", Method::POST, agent, "unpublish")?;
        self.0.done(call.idempotent()).await.map(drop)
    }

    /// Whether an administrator has approved what was published to the tenant; none when the service does not say.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`](crate::ErrorKind). Passing failures are repeated.
    pub async fn approval_status(&self, agent: &str) -> Result<Option<ApprovalStatus>, Error> {
        let agent = Agents::new(Arc::clone(&self.0)).get(agent).await?;
        Ok(agent.approval_status().cloned())
    }

    fn call(&self, name: &'static str, method: Method, agent: &str, verb: &str) -> Result<Call, Error> {
        let operation = Operation::Plain(name, Resource::Agent);
        self.0.foundry(operation, method, &["agents", agent, "microsoft365", verb])
    }
}

impl fmt::Debug for Microsoft365 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Microsoft365")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_service_refuses_is_seen_here() {
        let good = || PublishRequest::new(PublishScope::TENANT).bot_service_arm_id("/subscriptions/s");
        assert!(good().check().is_ok());
        assert!(good().app_version("1.0.3").developer_name("x".repeat(32)).check().is_ok());
        assert!(PublishRequest::new(PublishScope::TENANT).autopilot().access_boundaries(["a"]).check().is_ok());
        for bad in [
            PublishRequest::new(PublishScope::TENANT),
            good().autopilot(),
            good().access_boundaries(["a"]),
            good().optional_permissions("r", ["s"]),
            good().app_version("01.0"),
            good().app_version("1.0."),
            good().app_version("1.0-beta"),
            good().app_version(""),
            good().developer_name("x".repeat(33)),
            good().full_description("x".repeat(4_001)),
            good().developer_website_url("http://x"),
            good().color_icon("x".repeat(1_400_001)),
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn suggestions_fill_gaps_only() {
        let defaults = PublishDefaults {
            recommended_next_app_version: Some("1.0.4".to_owned()),
            app_version: Some("1.0.3".to_owned()),
            developer_name: Some("suggested".to_owned()),
            ..PublishDefaults::default()
        };
        let request = PublishRequest::new(PublishScope::PERSONAL).developer_name("mine").with_defaults(&defaults);
        assert_eq!((request.app_version.as_deref(), request.developer_name.as_deref()), (Some("1.0.4"), Some("mine")));
    }
}
