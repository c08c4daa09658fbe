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

/// A checked project endpoint: tokens go to its origin only.
#[derive(Clone, Debug)]
pub(crate) struct Endpoint {
    base: Url,
}

impl Endpoint {
    pub(crate) fn parse(text: &str, more_hosts: &[String]) -> Result<Self, BuildError> {
        let url = Url::parse(text.trim()).map_err(|error| {
            BuildError::new("the project endpoint is not a URL; expected https://ACCOUNT.services.ai.azure.com/api/projects/PROJECT")
                .with_source(error)
        })?;
        if !is_https_or_loopback(&url) {
            return Err(BuildError::new(
                "the project endpoint must be an https address without user name (http on a loopback address)",
            ));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(BuildError::new("the project endpoint must have neither query nor fragment"));
        }
        let host = url.host_str().unwrap_or_default().trim_end_matches('.').to_ascii_lowercase();
        let ours = HOSTS.iter().any(|suffix| host.strip_suffix(suffix).is_some_and(|rest| rest.ends_with('.')));
        if !ours && !is_loopback(&url) && !more_hosts.contains(&host) {
            return Err(BuildError::new(
                "the host of the project endpoint is not one of the service; allow it with dangerous().allow_host(…) if it is yours",
            ));
        }
        if url.path().trim_matches('/').is_empty() && !is_loopback(&url) {
            return Err(BuildError::new("the project endpoint has no path; expected …/api/projects/PROJECT"));
        }
        Ok(Self { base: url })
    }

    pub(crate) fn base(&self) -> &Url {
        &self.base
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.base)
    }

    pub(crate) fn host(&self) -> &str {
        self.base.host_str().unwrap_or_default()
    }

    /// A URL of the OpenAI operations: no api-version there.
    pub(crate) fn openai(&self, path: &[&str]) -> Result<Url, Error> {
        let mut url = self.base.clone();
        {
            let mut segments = url.path_segments_mut().map_err(|()| Error::new(ErrorKind::InvalidRequest))?;
            segments.pop_if_empty().extend(["openai", "v1"]);
            for part in path {
                // The URL standard would swallow dots, and a query parser might cut at control characters.
                let bad = part.is_empty() || matches!(*part, "." | "..") || part.len() > MAX_ID;
                if bad || part.chars().any(char::is_control) {
                    return Err(Error::new(ErrorKind::InvalidRequest));
                }
                segments.push(part);
            }
        }
        Ok(url)
    }
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
}
