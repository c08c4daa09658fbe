//! Where the project is, and which URLs are under it.

use entra_auth::{BuildError, is_https_or_loopback, is_loopback};
use url::Url;

use crate::client::error::{Error, ErrorKind};

/// Hosts of the service in the public, US government and China clouds.
const HOSTS: &[&str] = &[
    "services.ai.azure.com",
    "cognitiveservices.azure.com",
    "openai.azure.com",
    "services.ai.azure.us",
    "cognitiveservices.azure.us",
    "openai.azure.us",
    "services.ai.azure.cn",
    "cognitiveservices.azure.cn",
    "openai.azure.cn",
];

/// The longest id that is put into a URL.
const MAX_ID: usize = 1_024;

/// The version of all operations that take one.
const VERSION: (&str, &str) = ("api-version", "v1");

/// Which base the OpenAI operations (conversations, responses, files, vector stores) are sent to.
///
/// Foundry operations (agents, connections, …) always go to the project, with `api-version=v1`.
///
/// <https://learn.microsoft.com/azure/ai-foundry/agents/how-to/configure-agent>
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Target {
    /// `{project}/openai/v1`, without `api-version`. A response names its agent by
    /// [`CreateResponse::agent`](crate::CreateResponse::agent), or a model.
    #[default]
    Project,
    /// The stable endpoint of one agent: `{project}/agents/{name}/endpoint/protocols/openai`, with `api-version=v1`.
    /// The agent is in the address; a request that names an agent as well is refused here, before it is sent.
    Agent(String),
    /// The address given to the builder is itself the base, as for a local Responses server. Foundry operations are
    /// refused here.
    Base,
}

/// A checked project endpoint: tokens go to its origin only.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    base: Url,
    target: Target,
    query: Vec<(String, String)>,
}

impl Endpoint {
    pub(crate) fn parse(text: &str, more_hosts: &[String]) -> Result<Self, BuildError> {
        let url = Url::parse(text.trim()).map_err(|error| {
            BuildError::new("the project endpoint is not a URL; expected https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT")
                .with_source(error)
        })?;
        check(&url)?;
        let host = host_of(&url);
        let ours = HOSTS.iter().any(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')));
        if !ours && !is_loopback(&url) && !more_hosts.contains(&host) {
            return Err(BuildError::new(
                "the host of the project endpoint is not one of the service; allow it with dangerous().allow_host(…) if it is yours",
            ));
        }
        if url.path().trim_matches('/').is_empty() && !is_loopback(&url) {
            return Err(BuildError::new("the project endpoint has no path; expected …/api/projects/PROJECT"));
        }
        Ok(Self { base: url, target: Target::Project, query: Vec::new() })
    }

    /// An address of Azure Resource Manager.
    #[cfg(feature = "arm")]
    pub(crate) fn arm(text: &str) -> Result<Self, BuildError> {
        let url = Url::parse(text.trim())
            .map_err(|error| BuildError::new("the address of Resource Manager is not a URL").with_source(error))?;
        check(&url)?;
        let hosts = ["management.azure.com", "management.usgovcloudapi.net", "management.chinacloudapi.cn"];
        if !hosts.contains(&host_of(&url).as_str()) && !is_loopback(&url) {
            return Err(BuildError::new("the host is not one of Resource Manager"));
        }
        Ok(Self { base: url, target: Target::Project, query: Vec::new() })
    }

    /// The same project, another base for the OpenAI operations.
    pub(crate) fn with_target(mut self, target: Target) -> Self {
        self.target = target;
        self
    }

    /// Adds pairs to every request.
    pub(crate) fn with_query(mut self, query: Vec<(String, String)>) -> Self {
        self.query = query;
        self
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// A URL of the OpenAI operations.
    pub(crate) fn openai(&self, path: &[&str]) -> Result<Url, Error> {
        match &self.target {
            Target::Project => self.url(&["openai", "v1"], path, false),
            Target::Agent(name) => self.url(&["agents", name, "endpoint", "protocols", "openai"], path, true),
            Target::Base => self.url(&[], path, false),
        }
    }

    /// A URL of the Foundry operations.
    pub(crate) fn foundry(&self, path: &[&str]) -> Result<Url, Error> {
        match &self.target {
            Target::Base => Err(Error::new(ErrorKind::InvalidRequest)),
            _ => self.url(&[], path, true),
        }
    }

    /// A URL of Resource Manager; every operation names its own version.
    #[cfg(feature = "arm")]
    pub(crate) fn resource(&self, path: &[&str], version: &str) -> Result<Url, Error> {
        let mut url = self.url(&[], path, false)?;
        url.query_pairs_mut().append_pair(VERSION.0, version);
        Ok(url)
    }

    fn url(&self, head: &[&str], path: &[&str], versioned: bool) -> Result<Url, Error> {
        let invalid = || Error::new(ErrorKind::InvalidRequest);
        let mut url = self.base.clone();
        {
            let mut segments = url.path_segments_mut().map_err(|()| invalid())?;
            segments.pop_if_empty();
            for part in head.iter().chain(path) {
                // The URL standard would swallow dots, and a query parser might cut at control characters.
                let bad = part.is_empty() || matches!(*part, "." | "..") || part.len() > MAX_ID;
                if bad || part.chars().any(char::is_control) {
                    return Err(invalid());
                }
                segments.push(part);
            }
        }
        let own = self.query.iter().any(|(name, _)| name == VERSION.0);
        let version = (versioned && !own).then_some(VERSION);
        if version.is_some() || !self.query.is_empty() {
            let mut pairs = url.query_pairs_mut();
            pairs.extend_pairs(&self.query);
            pairs.extend_pairs(version);
        }
        Ok(url)
    }
}

fn check(url: &Url) -> Result<(), BuildError> {
    if !is_https_or_loopback(url) {
        return Err(BuildError::new(
            "the endpoint must be an https address without user name (http on a loopback address)",
        ));
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(BuildError::new("the endpoint must have neither query nor fragment"));
    }
    Ok(())
}

pub(crate) fn host_of(url: &Url) -> String {
    url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_hosts_of_the_service_and_loopback_are_taken() {
        for (text, good) in [
            ("https://acme.services.ai.azure.com/api/projects/p", true),
            ("https://ACME.services.ai.azure.com/api/projects/_project/", true),
            ("https://acme.openai.azure.us/api/projects/p", true),
            ("http://127.0.0.1:8080/api/projects/p", true),
            ("http://localhost:1", true),
            ("http://acme.services.ai.azure.com/api/projects/p", false),
            ("https://services.ai.azure.com/api/projects/p", false),
            ("https://services.ai.azure.com.evil.example/api/projects/p", false),
            ("https://evilservices.ai.azure.com/api/projects/p", false),
            ("https://evil.example/api/projects/p", false),
            ("https://acme.services.ai.azure.com@evil.example/p", false),
            ("https://user:pw@acme.services.ai.azure.com/api/projects/p", false),
            ("https://acme.services.ai.azure.com/api/projects/p?x=1", false),
            ("https://acme.services.ai.azure.com/api/projects/p#x", false),
            ("https://acme.services.ai.azure.com", false),
            ("file:///etc/passwd", false),
            ("acme", false),
        ] {
            assert_eq!(Endpoint::parse(text, &[]).is_ok(), good, "{text}");
        }
        let own = ["foundry.contoso.example".to_owned()];
        assert!(Endpoint::parse("https://foundry.contoso.example/api/projects/p", &own).is_ok());
        assert!(Endpoint::parse("https://x.foundry.contoso.example/api/projects/p", &own).is_err());
    }

    #[test]
    fn ids_cannot_leave_their_segment() {
        let endpoint = Endpoint::parse("http://localhost:9/api/projects/p/", &[]).unwrap();
        let url = |id: &str| endpoint.openai(&["conversations", id, "items"]).map(String::from);
        let base = "http://localhost:9/api/projects/p/openai/v1/conversations";
        assert_eq!(url("conv_1").unwrap(), format!("{base}/conv_1/items"));
        assert_eq!(url("a/../b?c#d").unwrap(), format!("{base}/a%2F..%2Fb%3Fc%23d/items"));
        assert_eq!(url("%2e%2e").unwrap(), format!("{base}/%252e%252e/items"));
        for bad in ["", ".", "..", "a\nb", &"x".repeat(2_000)] {
            assert!(url(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn each_base_has_its_own_path_and_version() {
        let endpoint = Endpoint::parse("http://localhost:9/api/projects/p", &[]).unwrap();
        let base = "http://localhost:9/api/projects/p";
        let url = |target: Target| endpoint.clone().with_target(target);
        let text = |url: Result<Url, Error>| url.unwrap().to_string();
        assert_eq!(text(url(Target::Project).openai(&["responses"])), format!("{base}/openai/v1/responses"));
        let agent = url(Target::Agent("help/desk".to_owned()));
        assert_eq!(
            text(agent.openai(&["responses"])),
            format!("{base}/agents/help%2Fdesk/endpoint/protocols/openai/responses?api-version=v1")
        );
        assert_eq!(text(agent.foundry(&["agents"])), format!("{base}/agents?api-version=v1"));
        assert_eq!(text(url(Target::Base).openai(&["responses"])), format!("{base}/responses"));
        assert!(url(Target::Base).foundry(&["agents"]).is_err());
        let own = vec![("api-version".to_owned(), "v2".to_owned()), ("x".to_owned(), "y z".to_owned())];
        let own = endpoint.with_query(own);
        assert_eq!(text(own.foundry(&["agents"])), format!("{base}/agents?api-version=v2&x=y+z"));
    }
}
