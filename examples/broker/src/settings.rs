//! Everything the broker is told from outside. One reading reports every problem.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use entra_auth::{
    Authority, BuildError, ClientId, Sealer, Secret, TenantId, TenantPolicy,
    settings::{Settings, SettingsError},
};
use url::Url;

use crate::identity::{self, Identity};

/// The settings of one start.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// The resource tenant: of the bot's registration and of Foundry.
    pub(crate) tenant: TenantId,
    pub(crate) authority: Authority,
    pub(crate) app_id: ClientId,
    /// How the bot proves who it is; complete after [`Config::open`].
    pub(crate) identity: Identity,
    pub(crate) metadata_url: Option<Url>,
    pub(crate) connector_hosts: Vec<String>,
    /// Whose users may talk to the bot.
    pub(crate) tenants: TenantPolicy,
    pub(crate) foundry_endpoint: String,
    pub(crate) agent: String,
    pub(crate) ack_threshold: Duration,
    pub(crate) turn_timeout: Duration,
    pub(crate) sso: Option<SsoConfig>,
    /// Where state lives that outlives this process; in its memory when not set.
    pub(crate) shared: Option<SharedConfig>,
}

/// A Redis that all processes of this broker share.
#[derive(Debug)]
pub(crate) struct SharedConfig {
    pub(crate) redis: Secret,
    pub(crate) sealer: Sealer,
    /// For how long nobody else runs the turn of a process that died.
    pub(crate) lease: Duration,
}

/// What `--sso` needs besides.
#[derive(Debug)]
pub(crate) struct SsoConfig {
    /// The registration whose tokens Teams hands out; the bot's own unless it is another one.
    pub(crate) app_id: ClientId,
    /// Its identifier URI.
    pub(crate) resource: String,
    /// The OAuth connection of the Azure Bot.
    pub(crate) connection: String,
    pub(crate) token_service: Option<Url>,
    pub(crate) graph: Url,
}

/// Where the server listens. Known before the rest: a sandbox is started on loopback only.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listen(pub(crate) SocketAddr);

/// Whether neither the bot nor the agent is set: the case in which the sandbox may stand in.
#[cfg(feature = "sandbox")]
pub(crate) fn is_blank<L: Fn(&str) -> Option<String>>(settings: &Settings<L>) -> bool {
    !settings.is_set("BOT_APP_ID") && !settings.is_set("FOUNDRY_PROJECT_ENDPOINT")
}

/// Reads where to listen.
pub(crate) fn listen<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>) -> Option<Listen> {
    let ip = expecting(settings, "BIND", "an IP address such as 127.0.0.1 or 0.0.0.0");
    let port = expecting(settings, "PORT", "a number from 0 to 65535; 0 takes a free port");
    let (ip, port) =
        (ip.map(|ip| ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST))), port.map(|port| port.unwrap_or(3978)));
    Some(Listen(SocketAddr::new(ip?, port?)))
}

/// Reads everything.
pub(crate) fn read<L: Fn(&str) -> Option<String>>(
    mut settings: Settings<L>,
    sso: bool,
) -> Result<Config, SettingsError> {
    let listen = listen(&mut settings);
    let tenant = settings.required::<TenantId>("AZURE_TENANT_ID");
    let authority = settings.parsed("AZURE_AUTHORITY_HOST", Authority::default());
    let app_id = settings.required::<ClientId>("BOT_APP_ID");
    let identity = identity::read(&mut settings, app_id.as_ref());
    let metadata_url = address(&mut settings, "BOT_OPENID_METADATA_URL");
    let connector_hosts = list(&mut settings, "BOT_CONNECTOR_HOSTS");
    let tenants = tenants(&mut settings, tenant.as_ref());
    let foundry_endpoint = settings.required::<String>("FOUNDRY_PROJECT_ENDPOINT");
    let agent = settings.required::<String>("FOUNDRY_AGENT_NAME");
    let ack_threshold = seconds(&mut settings, "ACK_THRESHOLD_SECONDS", 10);
    let turn_timeout = seconds(&mut settings, "TURN_TIMEOUT_SECONDS", 300);
    let sso = if sso { sso_config(&mut settings, app_id.as_ref(), identity.as_ref()).map(Some) } else { Some(None) };
    let shared = shared_config(&mut settings);
    settings.finish(|| {
        Some(Config {
            listen: listen?.0,
            tenant: tenant?,
            authority: authority?,
            app_id: app_id?,
            identity: identity?,
            metadata_url: metadata_url?,
            connector_hosts,
            tenants: tenants?,
            foundry_endpoint: foundry_endpoint?,
            agent: agent?,
            ack_threshold: ack_threshold?,
            turn_timeout: turn_timeout?,
            sso: sso?,
            shared: shared?,
        })
    })
}

impl Config {
    /// Asks for what of the bot's identity lies outside this process.
    pub(crate) async fn open(mut self) -> Result<Self, BuildError> {
        self.identity = self.identity.open(&self.authority).await?;
        Ok(self)
    }
}

/// The home tenants; the bot's own tenant when none is named.
fn tenants<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, own: Option<&TenantId>) -> Option<TenantPolicy> {
    let named = list(settings, "ALLOWED_TENANT_IDS");
    if named.iter().any(|tenant| tenant == "*") {
        return Some(TenantPolicy::Any);
    }
    let mut tenants = Vec::new();
    for text in &named {
        match text.parse::<TenantId>() {
            Ok(tenant) if tenant.is_guid() => tenants.push(tenant),
            _ => settings
                .problem("ALLOWED_TENANT_IDS is malformed: expected tenant ids (GUIDs) separated by commas, or *"),
        }
    }
    if named.is_empty() {
        let own = own?.clone();
        if !own.is_guid() {
            settings.problem("ALLOWED_TENANT_IDS is not set, and AZURE_TENANT_ID is a domain name; give GUIDs");
        }
        return Some(TenantPolicy::Single(own));
    }
    Some(TenantPolicy::allow(tenants))
}

fn sso_config<L: Fn(&str) -> Option<String>>(
    settings: &mut Settings<L>,
    bot: Option<&ClientId>,
    identity: Option<&Identity>,
) -> Option<SsoConfig> {
    let app_id = settings.optional::<ClientId>("BOT_SSO_APP_ID")?.or_else(|| bot.cloned())?;
    let same = bot.is_none_or(|bot| *bot == app_id);
    match identity {
        Some(Identity::Registration(_) | Identity::Vault(_)) if !same => settings
            .problem("BOT_SSO_APP_ID is not BOT_APP_ID: this broker has one credential, so both are one registration"),
        Some(Identity::Managed(_)) if same => settings.problem(
            "BOT_SSO_APP_ID is not set, or is BOT_APP_ID: a managed identity owns no API to sign in to; give the app id \
             of a registration that has the sign-in API and trusts the identity (a federated credential)",
        ),
        _ => {}
    }
    // By the bot's id, whichever registration it belongs to: that is what Teams looks for.
    let resource = settings.parsed("BOT_SSO_RESOURCE", format!("api://botid-{}", bot.unwrap_or(&app_id)))?;
    let connection = settings.parsed("OAUTH_CONNECTION_NAME", "SERVICE_CONNECTION".to_owned())?;
    let token_service = address(settings, "BOT_TOKEN_SERVICE_URL")?;
    let graph = address(settings, "GRAPH_BASE_URL")?;
    // A constant that is a URL; the fall-back is never taken.
    let graph = graph.or_else(|| Url::parse("https://graph.microsoft.com").ok())?;
    Some(SsoConfig { app_id, resource, connection, token_service, graph })
}

/// The outer `None` means that something is wrong.
#[allow(clippy::option_option)] // wrong and absent are different things
fn shared_config<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>) -> Option<Option<SharedConfig>> {
    let lease = seconds(settings, "TURN_LEASE_SECONDS", 30);
    if lease.is_some_and(|lease| lease.is_zero()) {
        settings.problem("TURN_LEASE_SECONDS is 0: expected at least 1");
    }
    let Some(redis) = settings.optional_secret("REDIS_URL") else { return Some(None) };
    let Some(keys) = settings.optional_secret("STORE_ENCRYPTION_KEY") else {
        settings.problem(
            "REDIS_URL is set and STORE_ENCRYPTION_KEY is not: what is stored there is sealed; give id:base64 with 32 \
             random bytes, as from: echo k1:$(openssl rand -base64 32)",
        );
        return None;
    };
    match Sealer::parse(keys.expose()) {
        Ok(sealer) => Some(Some(SharedConfig { redis, sealer, lease: lease? })),
        Err(error) => {
            settings.problem(format!("STORE_ENCRYPTION_KEY is malformed: {error}"));
            None
        }
    }
}

fn seconds<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, name: &str, default: u64) -> Option<Duration> {
    expecting(settings, name, "a whole number of seconds").map(|value| Duration::from_secs(value.unwrap_or(default)))
}

/// An address of a service; the outer `None` means malformed.
#[allow(clippy::option_option)] // malformed and absent are different things
fn address<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, name: &str) -> Option<Option<Url>> {
    expecting(settings, name, "a URL that begins with https://, or http:// on this machine")
}

/// A setting whose type cannot say by itself what it should look like.
#[allow(clippy::option_option)] // malformed and absent are different things
fn expecting<T: FromStr, L: Fn(&str) -> Option<String>>(
    settings: &mut Settings<L>,
    name: &str,
    expected: &str,
) -> Option<Option<T>> {
    let Some(text) = settings.lookup(name) else { return Some(None) };
    let parsed = text.parse().map(Some).ok();
    if parsed.is_none() {
        settings.problem(format!("{name} is malformed: expected {expected}"));
    }
    parsed
}

fn list<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, name: &str) -> Vec<String> {
    let text = settings.parsed(name, String::new()).unwrap_or_default();
    text.split([',', ' ', ';']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "b2b2b2b2-0000-4000-8000-00000000000b";
    const BOT: &str = "c3c3c3c3-0000-4000-8000-0000000000b0";

    fn config(more: &[(&str, &str)]) -> Result<Config, String> {
        read_with(more, false)
    }

    fn read_with(more: &[(&str, &str)], sso: bool) -> Result<Config, String> {
        let mut all = vec![
            ("AZURE_TENANT_ID", TENANT),
            ("BOT_APP_ID", BOT),
            ("BOT_APP_PASSWORD", "marker"),
            ("FOUNDRY_PROJECT_ENDPOINT", "https://x.services.ai.azure.com/api/projects/p"),
            ("FOUNDRY_AGENT_NAME", "helper"),
        ];
        all.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        all.extend(more);
        let all: Vec<_> = all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let lookup = move |name: &str| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        read(Settings::from_lookup(lookup), sso).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:3978");
        assert_eq!(config.tenants, TenantPolicy::Single(TENANT.parse().unwrap()));
        assert_eq!((config.ack_threshold, config.turn_timeout), (Duration::from_secs(10), Duration::from_secs(300)));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let problem = config(&[
            ("PORT", "marker"),
            ("AZURE_TENANT_ID", "common"),
            ("BOT_APP_ID", ""),
            ("BOT_APP_PASSWORD", ""),
            ("FOUNDRY_AGENT_NAME", " "),
            ("ALLOWED_TENANT_IDS", "contoso.com"),
            ("AZURE_AUTHORITY_HOST", "https://evil.example"),
            ("REDIS_URL", "redis://:marker@x"),
        ])
        .unwrap_err();
        for name in [
            "PORT",
            "AZURE_TENANT_ID",
            "BOT_APP_ID",
            "BOT_APP_PASSWORD",
            "FOUNDRY_AGENT_NAME",
            "ALLOWED_TENANT_IDS",
            "AZURE_AUTHORITY_HOST",
            "REDIS_URL",
        ] {
            assert!(problem.contains(name), "{name} is not in {problem}");
        }
        assert!(!problem.contains("marker"), "{problem}");
    }

    #[test]
    fn what_is_malformed_is_told_what_is_expected() {
        let problem = config(&[
            ("PORT", "99999"),
            ("BIND", "localhost"),
            ("TURN_TIMEOUT_SECONDS", "5m"),
            ("BOT_OPENID_METADATA_URL", "login.botframework.com"),
        ])
        .unwrap_err();
        for expected in [
            "PORT is malformed: expected a number from 0 to 65535",
            "BIND is malformed: expected an IP address",
            "TURN_TIMEOUT_SECONDS is malformed: expected a whole number of seconds",
            "BOT_OPENID_METADATA_URL is malformed: expected a URL",
        ] {
            assert!(problem.contains(expected), "'{expected}' is not in {problem}");
        }
    }

    #[test]
    fn a_shared_store_needs_keys() {
        let key = "k1:MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=";
        let redis = ("REDIS_URL", "rediss://:marker@cache.example.com");
        assert!(config(&[]).unwrap().shared.is_none());
        let shared = config(&[redis, ("STORE_ENCRYPTION_KEY", key)]).unwrap().shared.unwrap();
        assert_eq!(shared.lease, Duration::from_secs(30));
        assert!(!format!("{shared:?}").contains("marker"));
        let missing = config(&[redis]).unwrap_err();
        assert!(missing.contains("REDIS_URL") && missing.contains("STORE_ENCRYPTION_KEY"), "{missing}");
        let malformed = config(&[redis, ("STORE_ENCRYPTION_KEY", "k1:marker"), ("TURN_LEASE_SECONDS", "0")]);
        let malformed = malformed.unwrap_err();
        assert!(malformed.contains("STORE_ENCRYPTION_KEY is malformed"), "{malformed}");
        assert!(malformed.contains("TURN_LEASE_SECONDS") && !malformed.contains("marker"), "{malformed}");
    }

    #[test]
    fn one_credential_and_a_readable_one() {
        let both = config(&[("BOT_APP_CERTIFICATE_PATH", "/nowhere.pem")]).unwrap_err();
        assert!(both.contains("both set"), "{both}");
        let missing = config(&[("BOT_APP_PASSWORD", ""), ("BOT_APP_CERTIFICATE_PATH", "/nowhere.pem")]).unwrap_err();
        assert!(missing.contains("cannot be read"), "{missing}");
    }

    #[test]
    fn a_vault_is_a_credential_too_and_the_only_one() {
        let url = ("BOT_CERTIFICATE_VAULT_URL", "https://kv.vault.azure.net/certificates/bot");
        let config_ = config(&[url, ("BOT_APP_PASSWORD", "")]).unwrap();
        assert!(matches!(config_.identity, Identity::Vault(_)));
        let both = config(&[url]).unwrap_err();
        assert!(both.contains("BOT_CERTIFICATE_VAULT_URL") && both.contains("one credential"), "{both}");
        let elsewhere = ("BOT_CERTIFICATE_VAULT_URL", "https://evil.example/certificates/marker");
        let malformed = config(&[elsewhere, ("BOT_APP_PASSWORD", ""), ("AZURE_CLIENT_ID", "bot")]).unwrap_err();
        assert!(malformed.contains("BOT_CERTIFICATE_VAULT_URL is malformed"), "{malformed}");
        assert!(malformed.contains("AZURE_CLIENT_ID") && !malformed.contains("marker"), "{malformed}");
    }

    #[test]
    fn without_a_credential_a_managed_identity_is_left() {
        const OTHER: &str = "cacacaca-0000-4000-8000-000000000110";
        let none = ("BOT_APP_PASSWORD", "");
        let own = config(&[none]).unwrap().identity;
        assert!(matches!(own, Identity::Managed(_)) && format!("{own:?}").contains(BOT), "{own:?}");
        let named = config(&[none, ("AZURE_CLIENT_ID", BOT)]).unwrap().identity;
        assert!(matches!(named, Identity::Managed(_)));
        let other = config(&[none, ("AZURE_CLIENT_ID", OTHER)]).unwrap().identity;
        assert!(matches!(other, Identity::Federated(_)) && format!("{other:?}").contains(OTHER), "{other:?}");
        // Beside a secret AZURE_CLIENT_ID is somebody else's setting.
        assert!(matches!(config(&[("AZURE_CLIENT_ID", OTHER)]).unwrap().identity, Identity::Registration(_)));

        let malformed = config(&[none, ("AZURE_CLIENT_ID", "marker")]).unwrap_err();
        assert!(malformed.contains("AZURE_CLIENT_ID") && !malformed.contains("marker"), "{malformed}");
        let cloud_shell = config(&[none, ("MSI_ENDPOINT", "http://localhost:1/token")]).unwrap_err();
        assert!(cloud_shell.contains("managed identity is needed"), "{cloud_shell}");
        let nobody = config(&[none, ("BOT_APP_ID", "")]).unwrap_err();
        assert!(nobody.contains("which managed identity the bot is"), "{nobody}");
    }

    #[test]
    fn who_owns_the_sign_in() {
        const AUTH: &str = "dbdbdbdb-0000-4000-8000-000000000120";
        let (none, auth) = (("BOT_APP_PASSWORD", ""), ("BOT_SSO_APP_ID", AUTH));
        let sso = |more: &[(&str, &str)]| read_with(more, true).map(|config| config.sso.unwrap());
        assert_eq!(sso(&[]).unwrap().resource, format!("api://botid-{BOT}"));
        assert!(sso(&[auth]).unwrap_err().contains("one credential"));
        // A managed identity has no API; the URI still names the bot.
        assert!(sso(&[none]).unwrap_err().contains("owns no API"));
        let own = sso(&[none, auth]).unwrap();
        assert_eq!((own.app_id.as_str(), own.resource), (AUTH, format!("api://botid-{BOT}")));
        let federated = ("AZURE_CLIENT_ID", "cacacaca-0000-4000-8000-000000000110");
        assert_eq!(sso(&[none, federated]).unwrap().app_id.as_str(), BOT);
        assert_eq!(sso(&[none, federated, auth]).unwrap().app_id.as_str(), AUTH);
    }

    #[test]
    fn home_tenants() {
        assert_eq!(config(&[("ALLOWED_TENANT_IDS", "*")]).unwrap().tenants, TenantPolicy::Any);
        let two = config(&[("ALLOWED_TENANT_IDS", &format!("{TENANT}, {BOT}"))]).unwrap().tenants;
        assert!(two.allows(&TENANT.parse().unwrap()) && two.allows(&BOT.parse().unwrap()));
    }
}
