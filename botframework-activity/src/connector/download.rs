//! Where files of users may be fetched from, and with what.

use entra_auth::{BuildError, is_loopback};
use url::{Host, Url};

use crate::{ChannelCloud, ServiceUrl};

/// Hosts that files may be fetched from without a token, beside the connector itself.
#[derive(Clone, Debug)]
pub(super) struct DownloadHosts {
    suffixes: &'static [&'static str],
    extra: Vec<Box<str>>,
}

/// How a file is fetched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Access {
    /// An attachment in the store of the connector: with the bot's token.
    Connector,
    /// An address that carries its own permission: without any token.
    Public,
}

impl DownloadHosts {
    /// The document stores of the cloud. A namespace in which anyone can register a name, such as that of storage
    /// accounts, is none of them.
    pub(super) const fn of(cloud: ChannelCloud) -> Self {
        let suffixes: &[&str] = match cloud {
            ChannelCloud::Public | ChannelCloud::Gcc => &[".sharepoint.com", ".svc.ms"],
            ChannelCloud::GccHigh => &[".sharepoint.us"],
            ChannelCloud::Dod => &[".sharepoint-mil.us"],
            ChannelCloud::China => &[".sharepoint.cn"],
        };
        Self { suffixes, extra: Vec::new() }
    }

    /// Adds an exact host name; on loopback it may have a port.
    pub(super) fn add(&mut self, host: &str) -> Result<(), BuildError> {
        const WHY: &str = "a download host is an exact host name without scheme, port, path or wildcard; a port only on \
             loopback";
        let url = Url::parse(&format!("https://{host}/")).map_err(|_| BuildError::new(WHY))?;
        let plain = url.path() == "/" && url.query().is_none() && url.username().is_empty() && !host.contains('*');
        let named = matches!(url.host(), Some(Host::Domain(name)) if name.contains('.')) && url.port().is_none();
        if !plain || !(named || is_loopback(&url)) {
            return Err(BuildError::new(WHY));
        }
        self.extra.push(host.to_ascii_lowercase().into());
        Ok(())
    }

    /// How this address may be fetched by a bot that talks to the connector `at`; `None` when it may not.
    pub(super) fn access(&self, at: &ServiceUrl, url: &Url) -> Option<Access> {
        if !url.username().is_empty() || url.password().is_some() {
            return None;
        }
        if is_stored_attachment(at, url) {
            return Some(Access::Connector);
        }
        let host = url.host_str()?;
        let named = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
        if self.extra.iter().any(|extra| **extra == *named || (is_loopback(url) && **extra == *host)) {
            return (url.scheme() == "https" || is_loopback(url)).then_some(Access::Public);
        }
        let in_domain = |suffix: &&str| host.strip_suffix(*suffix).is_some_and(|name| !name.is_empty());
        let stores_files = matches!(url.host(), Some(Host::Domain(_))) && self.suffixes.iter().any(in_domain);
        (url.scheme() == "https" && url.port().is_none() && stores_files).then_some(Access::Public)
    }
}

/// Whether the address is one of the connector's own attachments: the same origin, below its path, in `v3/attachments`.
fn is_stored_attachment(at: &ServiceUrl, url: &Url) -> bool {
    let base = at.url();
    let below = base.path().trim_end_matches('/');
    let rest = url.path().strip_prefix(below);
    url.origin() == base.origin()
        && rest.is_some_and(|rest| rest.starts_with("/v3/attachments/") && !rest.contains("//"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(url: &str) -> Option<Access> {
        let at = ServiceUrl::loopback_dev("https://localhost:8443/emea/").unwrap();
        let mut hosts = DownloadHosts::of(ChannelCloud::Public);
        hosts.add("files.contoso.example").unwrap();
        hosts.add("127.0.0.1:9000").unwrap();
        hosts.access(&at, &Url::parse(url).unwrap())
    }

    #[test]
    fn a_token_goes_to_the_store_of_the_connector_and_nowhere_else() {
        use Access::{Connector, Public};
        for (url, expected) in [
            ("https://localhost:8443/emea/v3/attachments/0-eus/views/original", Some(Connector)),
            ("https://localhost:8443/v3/attachments/0-eus/views/original", None),
            ("https://localhost:8443/emea/v3/attachments/../../other", None),
            ("https://localhost:8443/emea/v3/conversations/a", None),
            ("https://localhost:9443/emea/v3/attachments/0/views/original", None),
            ("http://localhost:8443/emea/v3/attachments/0/views/original", None),
            ("https://u:p@localhost:8443/emea/v3/attachments/0/views/original", None),
            ("https://contoso.sharepoint.com/personal/x/_layouts/15/download.aspx?tempauth=1", Some(Public)),
            ("https://contoso-my.sharepoint.com/a", Some(Public)),
            ("http://contoso.sharepoint.com/a", None),
            ("https://contoso.sharepoint.com:8443/a", None),
            ("https://contoso.sharepoint.com.evil.example/a", None),
            ("https://sharepoint.com/a", None),
            ("https://evilsharepoint.com/a", None),
            ("https://account.blob.core.windows.net/a", None),
            ("https://files.contoso.example/a", Some(Public)),
            ("https://other.files.contoso.example/a", None),
            ("http://files.contoso.example/a", None),
            ("http://127.0.0.1:9000/a", Some(Public)),
            ("http://127.0.0.1:9001/a", None),
            ("http://169.254.169.254/metadata/identity", None),
            ("https://[::ffff:169.254.169.254]/a", None),
            ("file:///etc/passwd", None),
            ("data:text/plain,x", None),
        ] {
            assert_eq!(access(url), expected, "{url}");
        }
    }

    #[test]
    fn hosts_are_exact_names() {
        let mut hosts = DownloadHosts::of(ChannelCloud::China);
        for bad in [
            "",
            "*.contoso.example",
            "https://a.example",
            "a.example/x",
            "a.example:8443",
            "localdomain",
            "u@a.example",
        ] {
            assert!(hosts.add(bad).is_err(), "{bad}");
        }
    }
}
