//! Azure Resource Manager: the Azure Bot in front of an agent or of a bot of your own.

use std::fmt;
use std::sync::Arc;

use entra_auth::{BuildError, Clock, HttpTransport, RetryPolicy, Scopes, Secret, SystemClock, TokenCredential};
use http::Method;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use crate::client::builder::Limits;
use crate::client::call::{Call, Plane};
use crate::client::classify::Operation;
use crate::client::endpoint::Endpoint;
use crate::client::error::{Error, ErrorKind, Resource};
use crate::client::{Auth, Shared};
use crate::object::{Read, Slot, read_object, readable};
use crate::raw::RawJson;

/// The audience of every operation.
const SCOPE: &str = "https://management.azure.com/.default";
const BOT: &str = "Microsoft.BotService";
const VERSION: &str = "2022-09-15";
const PROVIDERS: &str = "2021-04-01";
/// The provider of OAuth connection settings for Entra.
const ENTRA_V2: &str = "30dd229c-58e3-4a48-bdfd-91ec48eb906c";

/// Azure Resource Manager for one resource group.
///
/// The identity needs *Azure Bot Service Contributor* (or *Contributor*) on the resource group. All calls can be repeated
/// without harm, and passing failures are.
///
/// <https://learn.microsoft.com/rest/api/azurebotservice/>
#[derive(Clone)]
pub struct ArmClient {
    shared: Arc<Shared>,
    subscription: String,
    group: String,
}

/// Collects the settings of an [`ArmClient`].
#[must_use]
pub struct ArmClientBuilder {
    address: String,
    scopes: Option<Scopes>,
    subscription: String,
    group: String,
    credential: Option<Arc<dyn TokenCredential>>,
    transport: Option<Arc<dyn HttpTransport>>,
    clock: Arc<dyn Clock>,
    retry: RetryPolicy,
    limits: Limits,
}

impl ArmClientBuilder {
    /// Another cloud's address, or a loopback address for tests. Default `https://management.azure.com`.
    pub fn address(mut self, url: impl Into<String>) -> Self {
        self.address = url.into();
        self
    }

    /// The scopes to ask the credential for. Default `https://management.azure.com/.default`.
    pub fn scopes(mut self, scopes: Scopes) -> Self {
        self.scopes = Some(scopes);
        self
    }

    /// Who the client is.
    pub fn credential(mut self, credential: Arc<dyn TokenCredential>) -> Self {
        self.credential = Some(credential);
        self
    }

    /// What carries the requests.
    pub fn transport(mut self, transport: Arc<dyn HttpTransport>) -> Self {
        self.transport = Some(transport);
        self
    }

    /// How often and how patiently is repeated what may be repeated.
    pub fn retry(mut self, policy: RetryPolicy) -> Self {
        self.retry = policy;
        self
    }

    /// Times and sizes.
    pub fn limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// The wall clock that `Retry-After` dates are compared with.
    pub fn clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = clock;
        self
    }

    /// The client.
    ///
    /// # Errors
    ///
    /// When the address is none of Resource Manager, or transport or credential are missing.
    pub fn build(self) -> Result<ArmClient, BuildError> {
        let endpoint = Endpoint::arm(&self.address)?;
        let credential = self.credential.ok_or_else(|| BuildError::new("the client needs a credential"))?;
        let auth = Auth::token(credential, self.scopes, SCOPE, &endpoint)?;
        let transport = self.transport.ok_or_else(|| BuildError::new("the client needs a transport"))?;
        let shared = Shared::new(endpoint, auth, transport, self.clock);
        let shared = Shared { retry: self.retry, limits: self.limits, ..shared };
        Ok(ArmClient { shared: Arc::new(shared), subscription: self.subscription, group: self.group })
    }
}

impl fmt::Debug for ArmClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArmClientBuilder").field("address", &self.address).finish_non_exhaustive()
    }
}

/// An Azure Bot.
///
/// ```
/// # use foundry_client::arm::BotSpec;
/// let own = BotSpec::new("Contoso Helpdesk", "https://bot.contoso.example/api/messages", "app-id", "tenant-id");
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct BotSpec {
    display_name: String,
    endpoint: String,
    app_id: String,
    tenant: String,
    managed_identity: Option<String>,
    description: Option<String>,
    icon_url: Option<String>,
    paid: bool,
    public: bool,
}

impl BotSpec {
    /// A bot whose messages go to this address, with the app id and tenant of its identity.
    ///
    /// For a bot in front of a Foundry agent the address is [`BotSpec::agent_endpoint`] and the app id
    /// [`Agent::bot_app_id`](crate::agents::Agent::bot_app_id).
    pub fn new(
        display_name: impl Into<String>,
        endpoint: impl Into<String>,
        app_id: impl Into<String>,
        tenant: impl Into<String>,
    ) -> Self {
        Self {
            display_name: display_name.into(),
            endpoint: endpoint.into(),
            app_id: app_id.into(),
            tenant: tenant.into(),
            managed_identity: None,
            description: None,
            icon_url: None,
            paid: false,
            public: false,
        }
    }

    /// The address at which an agent of the project speaks the activity protocol.
    #[must_use]
    pub fn agent_endpoint(project_endpoint: &str, agent: &str) -> String {
        let project = project_endpoint.trim_end_matches('/');
        format!("{project}/agents/{agent}/endpoint/protocols/activityProtocol?api-version=2025-05-15-preview")
    }

    /// The identity is a user-assigned managed identity, by its resource id.
    pub fn managed_identity(mut self, resource_id: impl Into<String>) -> Self {
        self.managed_identity = Some(resource_id.into());
        self
    }

    /// For people.
    pub fn description(mut self, text: impl Into<String>) -> Self {
        self.description = Some(text.into());
        self
    }

    /// The bot's picture.
    pub fn icon_url(mut self, url: impl Into<String>) -> Self {
        self.icon_url = Some(url.into());
        self
    }

    /// The paid size S1 instead of the free F0.
    pub fn paid(mut self) -> Self {
        self.paid = true;
        self
    }

    /// Direct Line and Web Chat reach the bot from the Internet, too. Teams does in any case.
    pub fn public_network_access(mut self) -> Self {
        self.public = true;
        self
    }

    fn body(&self) -> Value {
        let kind = if self.managed_identity.is_some() { "UserAssignedMSI" } else { "SingleTenant" };
        let mut properties = json!({
            "displayName": self.display_name,
            "endpoint": self.endpoint,
            "msaAppId": self.app_id,
            "msaAppTenantId": self.tenant,
            "msaAppType": kind,
            "publicNetworkAccess": if self.public { "Enabled" } else { "Disabled" },
            "isStreamingSupported": false,
            "disableLocalAuth": true,
        });
        let more = [
            ("msaAppMSIResourceId", &self.managed_identity),
            ("description", &self.description),
            ("iconUrl", &self.icon_url),
        ];
        if let Some(members) = properties.as_object_mut() {
            members.extend(
                more.iter()
                    .filter_map(|(name, value)| Some(((*name).to_owned(), Value::String(value.as_ref()?.clone())))),
            );
        }
        json!({
            "location": "global",
            "kind": "azurebot",
            "sku": {"name": if self.paid { "S1" } else { "F0" }},
            "tags": {},
            "properties": properties,
        })
    }
}

/// A resource of Resource Manager.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ArmResource {
    /// Its resource id: `/subscriptions/…`.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Its properties, as received.
    pub properties: RawJson,
}

/// Whether a name of a bot can be taken.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NameAvailability {
    /// Whether it can.
    pub valid: bool,
    /// Why not.
    pub message: Option<String>,
}

readable! {
    ArmResource { id => must, name => text, properties }
    NameAvailability { valid, message => text }
}

/// A provider of sign-in for OAuth connection settings.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthProvider {
    /// What a connection setting names.
    pub id: String,
    /// For example `Aadv2`.
    pub name: String,
    /// For people.
    pub display_name: Option<String>,
    /// Names of its parameters.
    pub parameters: Vec<String>,
}

/// An OAuth connection setting: lets a bot get tokens of its signed-in users.
#[derive(Clone)]
#[must_use]
pub struct OAuthConnectionSpec {
    provider_id: String,
    provider_name: String,
    client_id: String,
    client_secret: Secret,
    scopes: String,
    parameters: Vec<(String, String)>,
}

impl OAuthConnectionSpec {
    /// For Entra: an app registration of this tenant with its secret, and scopes separated by blanks.
    pub fn entra(
        tenant: impl Into<String>,
        client_id: impl Into<String>,
        client_secret: Secret,
        scopes: impl Into<String>,
    ) -> Self {
        Self {
            provider_id: ENTRA_V2.to_owned(),
            provider_name: "Azure Active Directory v2".to_owned(),
            client_id: client_id.into(),
            client_secret,
            scopes: scopes.into(),
            parameters: vec![("tenantID".to_owned(), tenant.into())],
        }
    }

    /// For another provider of [`ArmClient::auth_providers`].
    pub fn of(
        provider: &AuthProvider,
        client_id: impl Into<String>,
        client_secret: Secret,
        scopes: impl Into<String>,
    ) -> Self {
        Self {
            provider_id: provider.id.clone(),
            provider_name: provider.display_name.clone().unwrap_or_else(|| provider.name.clone()),
            client_id: client_id.into(),
            client_secret,
            scopes: scopes.into(),
            parameters: Vec::new(),
        }
    }

    /// Sign-in in Teams without a click: the identifier URI of the bot's app, `api://botid-…`.
    pub fn token_exchange_url(self, url: impl Into<String>) -> Self {
        self.parameter("tokenExchangeUrl", url)
    }

    /// Adds a parameter of the provider.
    pub fn parameter(mut self, key: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((key.into(), value.into()));
        self
    }
}

/// Without the secret.
impl fmt::Debug for OAuthConnectionSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuthConnectionSpec")
            .field("provider_name", &self.provider_name)
            .field("client_id", &self.client_id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

impl ArmClient {
    /// Prepares a client for a resource group of a subscription.
    pub fn builder(subscription: impl Into<String>, resource_group: impl Into<String>) -> ArmClientBuilder {
        ArmClientBuilder {
            address: "https://management.azure.com".to_owned(),
            scopes: None,
            subscription: subscription.into(),
            group: resource_group.into(),
            credential: None,
            transport: None,
            clock: Arc::new(SystemClock),
            retry: crate::client::builder::default_retry(),
            limits: Limits::default(),
        }
    }

    /// Whether the subscription knows Azure Bots: `Registered`, `Registering`, `NotRegistered`, …
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn provider_state(&self) -> Result<String, Error> {
        let call = self.call(
            "get_provider",
            Method::GET,
            &["subscriptions", &self.subscription, "providers", BOT],
            PROVIDERS,
        )?;
        self.state(call).await
    }

    /// Makes the subscription know Azure Bots; takes minutes. The state as in [`provider_state`](Self::provider_state).
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn register_provider(&self) -> Result<String, Error> {
        let path = ["subscriptions", &self.subscription, "providers", BOT, "register"];
        self.state(self.call("register_provider", Method::POST, &path, PROVIDERS)?.idempotent()).await
    }

    async fn state(&self, call: Call) -> Result<String, Error> {
        struct Provider(String);

        impl Read<'_> for Provider {
            fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
                let mut state = String::new();
                read_object(json.get(), &mut [Slot::must("registrationState", &mut state)])?;
                Ok(Self(state))
            }
        }
        let Provider(state) = self.shared.fetch(call).await?;
        Ok(state)
    }

    /// Whether a bot's name can be taken; names are unique in all of Azure.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn check_bot_name(&self, name: &str) -> Result<NameAvailability, Error> {
        let call = self.call("check_bot_name", Method::POST, &["providers", BOT, "checkNameAvailability"], VERSION)?;
        let body = json!({"name": name, "type": "Microsoft.BotService/botServices"});
        self.shared.fetch(call.json(&body)?.idempotent()).await
    }

    /// Reads an Azure Bot; none when there is none of that name.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn bot(&self, name: &str) -> Result<Option<ArmResource>, Error> {
        match self.shared.fetch(self.bot_call("get_bot", Method::GET, name, &[])?).await {
            Ok(bot) => Ok(Some(bot)),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound(_)) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes an Azure Bot, or makes it what it shall be.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn put_bot(&self, name: &str, bot: &BotSpec) -> Result<ArmResource, Error> {
        self.shared.fetch(self.bot_call("put_bot", Method::PUT, name, &[])?.json(&bot.body())?).await
    }

    /// Connects a bot with Teams, and accepts the channel's terms.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn put_teams_channel(&self, bot: &str) -> Result<ArmResource, Error> {
        let body = json!({
            "location": "global",
            "properties": {
                "channelName": "MsTeamsChannel",
                "location": "global",
                "properties": {
                    "isEnabled": true,
                    "enableCalling": false,
                    "callingWebhook": null,
                    "incomingCallRoute": null,
                    "deploymentEnvironment": "CommercialDeployment",
                    "acceptedTerms": true,
                },
            },
        });
        let call = self.bot_call("put_channel", Method::PUT, bot, &["channels", "MsTeamsChannel"])?;
        self.shared.fetch(call.json(&body)?).await
    }

    /// Makes or replaces an OAuth connection setting. Its secret cannot be read back here.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn put_connection(
        &self,
        bot: &str,
        name: &str,
        connection: &OAuthConnectionSpec,
    ) -> Result<ArmResource, Error> {
        #[derive(Serialize)]
        struct Parameter<'a> {
            key: &'a str,
            value: &'a str,
        }
        let parameters: Vec<_> = connection.parameters.iter().map(|(key, value)| Parameter { key, value }).collect();
        let body = json!({
            "location": "global",
            "properties": {
                "serviceProviderId": connection.provider_id,
                "serviceProviderDisplayName": connection.provider_name,
                "clientId": connection.client_id,
                "clientSecret": connection.client_secret.expose(),
                "scopes": connection.scopes,
                "parameters": parameters,
            },
        });
        let call = self.bot_call("put_connection", Method::PUT, bot, &["connections", name])?;
        self.shared.fetch(call.json(&body)?).await
    }

    /// The providers of sign-in that connection settings can name.
    ///
    /// # Errors
    ///
    /// See [`ErrorKind`].
    pub async fn auth_providers(&self) -> Result<Vec<AuthProvider>, Error> {
        struct Providers(Vec<AuthProvider>);

        impl Read<'_> for Providers {
            fn read(json: &RawValue) -> Result<Self, serde_json::Error> {
                let mut all: Vec<&RawValue> = Vec::new();
                read_object(json.get(), &mut [Slot::must("value", &mut all)])?;
                all.into_iter().map(provider).collect::<Result<_, _>>().map(Self)
            }
        }
        let path = ["subscriptions", &self.subscription, "providers", BOT, "listAuthServiceProviders"];
        let call = self.call("list_auth_providers", Method::POST, &path, VERSION)?.idempotent();
        let Providers(all) = self.shared.fetch(call).await?;
        Ok(all)
    }

    fn bot_call(&self, operation: &'static str, method: Method, bot: &str, more: &[&str]) -> Result<Call, Error> {
        let mut path = vec![
            "subscriptions",
            &self.subscription,
            "resourceGroups",
            &self.group,
            "providers",
            BOT,
            "botServices",
            bot,
        ];
        path.extend(more);
        self.call(operation, method, &path, VERSION)
    }

    fn call(&self, name: &'static str, method: Method, path: &[&str], version: &str) -> Result<Call, Error> {
        let url = self.shared.endpoint.resource(path, version)?;
        let operation = Operation::Plain(name, Resource::AzureResource);
        Ok(Call::new(&self.shared, operation, Plane::Arm, method, url))
    }
}

/// An entry of the list of providers.
fn provider(json: &RawValue) -> Result<AuthProvider, serde_json::Error> {
    let mut properties = RawValue::NULL;
    read_object(json.get(), &mut [Slot::must("properties", &mut properties)])?;
    let mut it = AuthProvider { id: String::new(), name: String::new(), display_name: None, parameters: Vec::new() };
    let mut parameters: Vec<&RawValue> = Vec::new();
    read_object(
        properties.get(),
        &mut [
            Slot::must("id", &mut it.id),
            Slot::must("serviceProviderName", &mut it.name),
            Slot::text("displayName", &mut it.display_name),
            Slot::null("parameters", &mut parameters),
        ],
    )?;
    for parameter in parameters {
        let mut name = String::new();
        read_object(parameter.get(), &mut [Slot::must("name", &mut name)])?;
        it.parameters.push(name);
    }
    Ok(it)
}

impl fmt::Debug for ArmClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ArmClient")
            .field("subscription", &self.subscription)
            .field("group", &self.group)
            .finish_non_exhaustive()
    }
}
