use std::fmt;

use url::{Host, Url};

use crate::{BuildError, Secret, is_loopback};

/// Which endpoint of Azure hands out the tokens of a managed identity.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ManagedIdentitySource {
    /// The instance metadata service of virtual machines, scale sets and AKS nodes.
    /// <https://learn.microsoft.com/entra/identity/managed-identities-azure-resources/how-to-use-vm-token>
    Imds,
    /// App Service, Functions and Container Apps, which share one contract.
    /// <https://learn.microsoft.com/azure/app-service/overview-managed-identity>
    AppService,
    /// Azure Machine Learning compute.
    /// <https://learn.microsoft.com/azure/machine-learning/how-to-identity-based-service-authentication>
    AzureMl,
    /// The agent of an Azure Arc-enabled server.
    /// <https://learn.microsoft.com/azure/azure-arc/servers/managed-identity-authentication>
    AzureArc,
    /// Cloud Shell: the identity of the user in the portal.
    /// <https://learn.microsoft.com/azure/cloud-shell/msi-authorization>
    CloudShell,
}

impl fmt::Display for ManagedIdentitySource {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Imds => "IMDS",
            Self::AppService => "App Service",
            Self::AzureMl => "Azure ML",
            Self::AzureArc => "Azure Arc",
            Self::CloudShell => "Cloud Shell",
        })
    }
}

/// Where tokens are asked for, and with which secret of the platform.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) source: ManagedIdentitySource,
    pub(super) url: Url,
    pub(super) secret: Option<Secret>,
}

const IMDS: &str = "http://169.254.169.254";
const IMDS_PATH: &str = "/metadata/identity/oauth2/token";
const ARC: &str = "http://localhost:40342/metadata/identity/oauth2/token";

/// Finds the endpoint by the variables that the platforms set; `arc_agent` says whether the Arc agent is installed.
#[inline]
pub(super) fn select(lookup: &dyn Fn(&str) -> Option<String>, arc_agent: bool) -> Result<Endpoint, BuildError> {
    let identity = lookup("IDENTITY_ENDPOINT");
    let header = lookup("IDENTITY_HEADER");
    let msi = lookup("MSI_ENDPOINT");
    if identity.is_some() && header.is_some() && lookup("IDENTITY_SERVER_THUMBPRINT").is_some() {
        return Err(BuildError::new(
            "managed identity on Service Fabric is not offered: its endpoint has a self-signed certificate that must \
             be pinned before the secret is sent, and the transport port cannot pin; write a TokenCredential whose \
             client does",
        ));
    }
    let (source, name, url, secret) = match (identity, header, msi, lookup("MSI_SECRET")) {
        (Some(url), Some(secret), _, _) => (ManagedIdentitySource::AppService, "IDENTITY_ENDPOINT", url, Some(secret)),
        (_, _, Some(url), Some(secret)) => (ManagedIdentitySource::AzureMl, "MSI_ENDPOINT", url, Some(secret)),
        (Some(url), None, _, _) if lookup("IMDS_ENDPOINT").is_some() => {
            (ManagedIdentitySource::AzureArc, "IDENTITY_ENDPOINT", url, None)
        }
        (_, _, Some(url), None) => (ManagedIdentitySource::CloudShell, "MSI_ENDPOINT", url, None),
        _ if arc_agent => (ManagedIdentitySource::AzureArc, "IDENTITY_ENDPOINT", ARC.to_owned(), None),
        _ => {
            let host = lookup("AZURE_POD_IDENTITY_AUTHORITY_HOST").unwrap_or_else(|| IMDS.to_owned());
            let url = format!("{}{IMDS_PATH}", host.trim_end_matches('/'));
            (ManagedIdentitySource::Imds, "AZURE_POD_IDENTITY_AUTHORITY_HOST", url, None)
        }
    };
    let url = Url::parse(&url).ok().filter(is_local).ok_or_else(|| {
        BuildError::new(format!("{name} must be an http address on a loopback or link-local address"))
    })?;
    Ok(Endpoint { source, url, secret: secret.map(Secret::from) })
}

/// Secrets of the platform go no further than this machine and its hypervisor.
#[inline]
fn is_local(url: &Url) -> bool {
    let link_local = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_link_local(),
        Some(Host::Ipv6(ip)) => ip.is_unicast_link_local(),
        _ => false,
    };
    url.scheme() == "http"
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none()
        && (link_local || is_loopback(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(pairs: &[(&str, &str)], arc_agent: bool) -> Result<Endpoint, BuildError> {
        select(&|name| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned()), arc_agent)
    }

    #[test]
    fn the_platforms_are_told_apart_in_the_documented_order() {
        use ManagedIdentitySource::{AppService, AzureArc, AzureMl, CloudShell, Imds};
        const L: &str = "http://127.0.0.1:1/x";
        for (variables, arc_agent, source, url) in [
            (&[][..], false, Imds, "http://169.254.169.254/metadata/identity/oauth2/token"),
            (
                &[("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:5/")],
                false,
                Imds,
                "http://127.0.0.1:5/metadata/identity/oauth2/token",
            ),
            (&[("IDENTITY_ENDPOINT", L), ("IDENTITY_HEADER", "h")], true, AppService, L),
            (
                &[
                    ("IDENTITY_ENDPOINT", L),
                    ("IDENTITY_HEADER", "h"),
                    ("MSI_ENDPOINT", "http://127.0.0.1:2"),
                    ("MSI_SECRET", "s"),
                ],
                false,
                AppService,
                L,
            ),
            (&[("MSI_ENDPOINT", L), ("MSI_SECRET", "s")], false, AzureMl, L),
            (&[("IDENTITY_ENDPOINT", L), ("IMDS_ENDPOINT", "http://127.0.0.1:9")], false, AzureArc, L),
            (&[], true, AzureArc, ARC),
            (&[("MSI_ENDPOINT", L)], true, CloudShell, L),
            // One half of a pair names no platform.
            (&[("IDENTITY_ENDPOINT", L)], false, Imds, "http://169.254.169.254/metadata/identity/oauth2/token"),
        ] {
            let endpoint = chosen(variables, arc_agent).unwrap();
            assert_eq!((endpoint.source, endpoint.url.as_str()), (source, url), "{variables:?}");
        }
    }

    #[test]
    fn service_fabric_is_refused_with_the_reason() {
        let variables = [
            ("IDENTITY_ENDPOINT", "https://10.0.0.1:2377/metadata/identity/oauth2/token"),
            ("IDENTITY_HEADER", "marker"),
            ("IDENTITY_SERVER_THUMBPRINT", "AB"),
        ];
        let error = chosen(&variables, false).unwrap_err().to_string();
        assert!(error.contains("pinned") && !error.contains("marker"), "{error}");
    }

    #[test]
    fn secrets_stay_on_the_machine() {
        for (url, good) in [
            ("http://127.0.0.1:41741/msi/token/", true),
            ("http://localhost:42356/msi/token", true),
            ("http://169.254.129.2:8081/msi/token", true),
            ("http://[fe80::1]:8081/msi/token", true),
            ("http://[::1]:8081/msi/token", true),
            ("https://127.0.0.1/x", false),
            ("http://10.0.0.4/x", false),
            ("http://evil.example/msi/token", false),
            ("http://169.254.169.254.evil.example/", false),
            ("http://user@127.0.0.1/x", false),
            ("http://localhost@evil.example/", false),
            ("file:///etc/passwd", false),
            ("", false),
        ] {
            let variables = [("IDENTITY_ENDPOINT", url), ("IDENTITY_HEADER", "marker")];
            let made = chosen(&variables, false);
            assert_eq!(made.is_ok(), good, "{url}");
            assert!(!format!("{made:?}").contains("marker"));
        }
    }
}
