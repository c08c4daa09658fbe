//! Everything the application is told from outside. One reading reports every problem.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    str::FromStr,
    time::Duration,
};

use entra_auth::{
    Authority, ClientId, Scopes, Sealer, Secret, TenantId, TenantPolicy, is_https_or_loopback,
    settings::{Settings, SettingsError},
};
use url::Url;

/// The settings of one start.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) listen: SocketAddr,
    /// The address by which browsers know the application; by default `http://localhost:{port}`.
    pub(crate) base: Option<Url>,
    /// The tenant of the registrations.
    pub(crate) tenant: TenantId,
    pub(crate) authority: Authority,
    /// Whose users may sign in.
    pub(crate) tenants: TenantPolicy,
    /// The registration that signs users in.
    pub(crate) web: Registration,
    /// The registration of the story API.
    pub(crate) service: Registration,
    /// The scope that the story API wants from its callers, and the audience of their tokens.
    pub(crate) api_scope: Scopes,
    pub(crate) api_audience: String,
    pub(crate) graph: Url,
    /// Keys of the cookies; a key of this process when none is set.
    pub(crate) sealer: Sealer,
    pub(crate) session: Duration,
}

#[derive(Debug)]
pub(crate) struct Registration {
    pub(crate) id: ClientId,
    pub(crate) secret: Secret,
}

/// Whether neither registration is set: the case in which the sandbox may stand in.
#[cfg(feature = "sandbox")]
pub(crate) fn is_blank<L: Fn(&str) -> Option<String>>(settings: &Settings<L>) -> bool {
    !settings.is_set("WEB_CLIENT_ID") && !settings.is_set("SERVICE_CLIENT_ID")
}

/// Where to listen.
pub(crate) fn listen<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>) -> Option<SocketAddr> {
    let ip = expecting(settings, "BIND", "an IP address such as 127.0.0.1 or 0.0.0.0");
    let port = expecting(settings, "PORT", "a number from 0 to 65535; 0 takes a free port");
    let ip = ip.map(|ip| ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    Some(SocketAddr::new(ip?, port.map(|port| port.unwrap_or(3978))?))
}

/// Reads everything.
pub(crate) fn read<L: Fn(&str) -> Option<String>>(mut settings: Settings<L>) -> Result<Config, SettingsError> {
    let settings_ = &mut settings;
    let listen = listen(settings_);
    let base = base(settings_, listen);
    let tenant = settings_.required::<TenantId>("AZURE_TENANT_ID");
    let authority = settings_.parsed("AZURE_AUTHORITY_HOST", Authority::default());
    let tenants = tenants(settings_, tenant.as_ref());
    let web = registration(settings_, "WEB_CLIENT_ID", "WEB_CLIENT_SECRET");
    let service = registration(settings_, "SERVICE_CLIENT_ID", "SERVICE_CLIENT_SECRET");
    let api_scope = settings_.optional::<Scopes>("SERVICE_API_SCOPE");
    let api_audience = settings_.lookup("SERVICE_EXPECTED_AUDIENCE");
    let graph = address(settings_, "GRAPH_BASE_URL");
    let sealer = match settings_.optional_secret("STORE_ENCRYPTION_KEY") {
        None => Some(Sealer::ephemeral()),
        Some(keys) => Sealer::parse(keys.expose())
            .map_err(|error| settings_.problem(format!("STORE_ENCRYPTION_KEY: {error}")))
            .ok(),
    };
    let session = expecting::<u64, _>(settings_, "WEB_SESSION_SECONDS", "a whole number of seconds, such as 28800");
    settings.finish(|| {
        let service = service?;
        let default_scope = || format!("api://{}/access_as_user", service.id).parse().ok();
        Some(Config {
            listen: listen?,
            base: base?,
            tenant: tenant?,
            authority: authority?,
            tenants: tenants?,
            web: web?,
            api_scope: api_scope?.or_else(default_scope)?,
            api_audience: api_audience.unwrap_or_else(|| service.id.to_string()),
            service,
            graph: graph?.or_else(|| Url::parse("https://graph.microsoft.com").ok())?,
            sealer: sealer?,
            session: Duration::from_secs(session?.unwrap_or(8 * 3600).clamp(1, 24 * 3600)),
        })
    })
}

/// The public address: https, or http on loopback, without path. Outside of loopback it must be named.
#[allow(clippy::option_option)] // malformed and absent are different things
fn base<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, listen: Option<SocketAddr>) -> Option<Option<Url>> {
    let base = address(settings, "WEB_BASE_URL")?;
    if let Some(base) = &base
        && (base.path() != "/" || base.query().is_some() || base.fragment().is_some())
    {
        settings.problem("WEB_BASE_URL has a path or a query: the application is at the root of its host");
        return None;
    }
    if base.is_none() && listen.is_some_and(|listen| !listen.ip().is_loopback()) {
        settings.problem("WEB_BASE_URL is not set: whoever listens beyond this machine names the address of browsers");
        return None;
    }
    Some(base)
}

fn registration<L: Fn(&str) -> Option<String>>(
    settings: &mut Settings<L>,
    id: &str,
    secret: &str,
) -> Option<Registration> {
    let (id, secret) = (settings.required::<ClientId>(id), settings.required_secret(secret));
    Some(Registration { id: id?, secret: secret? })
}

/// Whose users may sign in; the registration's own tenant when none is named.
fn tenants<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, own: Option<&TenantId>) -> Option<TenantPolicy> {
    let text = settings.lookup("ALLOWED_TENANT_IDS").unwrap_or_default();
    let named: Vec<&str> = text.split([',', ' ', ';']).filter(|part| !part.is_empty()).collect();
    if named.contains(&"*") {
        return Some(TenantPolicy::AnyOrganization);
    }
    let ids: Vec<TenantId> = named.iter().filter_map(|text| text.parse().ok()).filter(TenantId::is_guid).collect();
    if ids.len() < named.len() {
        settings.problem("ALLOWED_TENANT_IDS is malformed: expected tenant ids (GUIDs) separated by commas, or *");
        return None;
    }
    match (ids.len(), ids.first()) {
        (0, _) => {
            let own = own?.clone();
            if !own.is_guid() {
                settings.problem("ALLOWED_TENANT_IDS is not set, and AZURE_TENANT_ID is a domain name; give GUIDs");
                return None;
            }
            Some(TenantPolicy::Single(own))
        }
        (1, Some(only)) => Some(TenantPolicy::Single(only.clone())),
        _ => Some(TenantPolicy::allow(ids)),
    }
}

#[allow(clippy::option_option)]
fn address<L: Fn(&str) -> Option<String>>(settings: &mut Settings<L>, name: &str) -> Option<Option<Url>> {
    let url = expecting::<Url, _>(settings, name, "a URL such as https://app.example")?;
    if url.as_ref().is_some_and(|url| !is_https_or_loopback(url)) {
        settings.problem(format!("{name} must be https; plain http is for loopback addresses only"));
        return None;
    }
    Some(url)
}

/// A setting that may be absent, with words of our own for what it should look like.
#[allow(clippy::option_option)]
fn expecting<T: FromStr, L: Fn(&str) -> Option<String>>(
    settings: &mut Settings<L>,
    name: &str,
    expected: &str,
) -> Option<Option<T>> {
    let Some(text) = settings.lookup(name) else { return Some(None) };
    let parsed = text.parse().ok();
    if parsed.is_none() {
        settings.problem(format!("{name} is malformed: expected {expected}"));
    }
    parsed.map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TENANT: &str = "b2b2b2b2-0000-4000-8000-00000000000b";
    const APP: &str = "a7a7a7a7-0000-4000-8000-0000000000f0";

    fn config(more: &[(&str, &str)]) -> Result<Config, String> {
        let mut all = vec![
            ("AZURE_TENANT_ID", TENANT),
            ("WEB_CLIENT_ID", APP),
            ("WEB_CLIENT_SECRET", "marker"),
            ("SERVICE_CLIENT_ID", APP),
            ("SERVICE_CLIENT_SECRET", "marker"),
        ];
        all.retain(|(name, _)| !more.iter().any(|(other, _)| other == name));
        all.extend(more);
        let all: Vec<_> = all.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let lookup = move |name: &str| all.iter().find(|(key, _)| key == name).map(|(_, value)| value.clone());
        read(Settings::from_lookup(lookup)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults() {
        let config = config(&[]).unwrap();
        assert_eq!(config.listen.to_string(), "127.0.0.1:3978");
        assert_eq!(config.tenants, TenantPolicy::Single(TENANT.parse().unwrap()));
        assert_eq!(config.api_scope.as_str(), format!("api://{APP}/access_as_user"));
        assert_eq!((config.api_audience.as_str(), config.session), (APP, Duration::from_secs(28_800)));
        assert!(!format!("{config:?}").contains("marker"));
    }

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let problem = config(&[
            ("PORT", "marker"),
            ("BIND", "0.0.0.0"),
            ("AZURE_TENANT_ID", "common"),
            ("WEB_BASE_URL", "http://app.example"),
            ("WEB_CLIENT_ID", ""),
            ("SERVICE_CLIENT_SECRET", ""),
            ("ALLOWED_TENANT_IDS", "contoso.com"),
            ("GRAPH_BASE_URL", "http://graph.example"),
            ("STORE_ENCRYPTION_KEY", "marker"),
            ("WEB_SESSION_SECONDS", "8h"),
        ])
        .unwrap_err();
        for name in [
            "PORT",
            "AZURE_TENANT_ID",
            "WEB_BASE_URL",
            "WEB_CLIENT_ID",
            "SERVICE_CLIENT_SECRET",
            "ALLOWED_TENANT_IDS",
            "GRAPH_BASE_URL",
            "STORE_ENCRYPTION_KEY",
            "WEB_SESSION_SECONDS",
        ] {
            assert!(problem.contains(name), "{name} is not in {problem}");
        }
        assert!(!problem.contains("marker"), "{problem}");
    }

    #[test]
    fn who_is_reached_from_elsewhere_has_an_address_of_its_own() {
        assert!(config(&[("BIND", "0.0.0.0")]).unwrap_err().contains("WEB_BASE_URL is not set"));
        assert!(config(&[("BIND", "0.0.0.0"), ("WEB_BASE_URL", "https://app.example")]).is_ok());
        assert!(config(&[("WEB_BASE_URL", "https://app.example/path")]).unwrap_err().contains("path"));
        assert_eq!(config(&[("ALLOWED_TENANT_IDS", "*")]).unwrap().tenants, TenantPolicy::AnyOrganization);
    }
}
