//! The bot's key in Azure Key Vault: the vault signs, the broker never has the key. A renewed certificate is taken up
//! without a restart.

use std::{str::FromStr, sync::Arc, time::Duration};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use entra_auth::{
    Audience, Body, BuildError, Certificate, CertificateSource, ClientAssertion, ClientCredential, Deadline, Error,
    ErrorKind, HttpTransport, ManagedIdentityCredential, ReqwestTransport, RetryPolicy, SignRequest, SystemClock,
    TokenCredential, TokenRequest, is_loopback, retry_after,
};
use http::{Method, Request, StatusCode, header};
use serde::Deserialize;
use serde_json::json;
use tokio::time::Instant;
use url::Url;

/// <https://learn.microsoft.com/rest/api/keyvault/>
const API_VERSION: &str = "7.4";
/// A signer has 8 s, its token included.
const ATTEMPT: Duration = Duration::from_secs(5);
const MAX_ANSWER: usize = 256 << 10;
/// A renewal is looked for this often, and besides when Entra or the vault refuses the certificate.
const PERIOD: Duration = Duration::from_secs(3600);
/// Domains of vaults, and what tokens for them are asked for.
const CLOUDS: [(&str, &str); 3] = [
    (".vault.azure.net", "https://vault.azure.net/.default"),
    (".vault.usgovcloudapi.net", "https://vault.usgovcloudapi.net/.default"),
    (".vault.azure.cn", "https://vault.azure.cn/.default"),
];

/// A certificate in a vault, by its address.
#[derive(Clone, Debug)]
pub(crate) struct VaultAddress {
    /// The vault, without collection and name.
    vault: Url,
    name: String,
    /// The newest one when there is none.
    version: Option<String>,
    audience: Audience,
}

/// A vault that has not been asked yet, and the identity that may ask it.
#[derive(Clone, Debug)]
pub(crate) struct Vault {
    pub(crate) address: VaultAddress,
    pub(crate) identity: ManagedIdentityCredential,
}

/// `https://{vault}/certificates/{name}[/{version}]`, or the same with `keys`. On loopback there may be a path in front.
impl FromStr for VaultAddress {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, &'static str> {
        const EXPECTED: &str =
            "expected https://{vault}.vault.azure.net/certificates/{name}, with or without a version";
        let url = Url::parse(text).map_err(|_| EXPECTED)?;
        let mut segments: Vec<String> = url.path_segments().ok_or(EXPECTED)?.map(str::to_owned).collect();
        segments.pop_if(|last| last.is_empty());
        let at = segments.iter().rposition(|part| matches!(part.as_str(), "certificates" | "keys")).ok_or(EXPECTED)?;
        let mut named = segments.split_off(at).into_iter().skip(1);
        let is_name = |text: &String| {
            (1..=127).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        };
        let (name, version) = (named.next().filter(is_name).ok_or(EXPECTED)?, named.next());
        if named.next().is_some() || version.as_ref().is_some_and(|version| !is_name(version)) || url.query().is_some()
        {
            return Err(EXPECTED);
        }
        // The token of the vault goes to vaults alone.
        let local = is_loopback(&url) && matches!(url.scheme(), "http" | "https");
        let host = url.host_str().unwrap_or_default();
        let cloud = CLOUDS.iter().find(|(domain, _)| host.ends_with(domain));
        let scope = match cloud {
            Some((_, scope)) if url.scheme() == "https" && url.port().is_none() && segments.is_empty() => scope,
            None if local => "https://vault.azure.net/.default",
            _ => return Err(EXPECTED),
        };
        let mut vault = url;
        vault.set_path(&segments.join("/"));
        let audience = Audience::new(scope.parse().map_err(|_| EXPECTED)?, [&vault]).map_err(|_| EXPECTED)?;
        Ok(Self { vault, name, version, audience })
    }
}

/// Stands for the certificate until [`Vault::open`] has it.
pub(crate) fn closed() -> ClientCredential {
    let refuse =
        |_| async { Err(Error::new(ErrorKind::ClientCredential, "the vault of the bot's key is not open yet")) };
    ClientAssertion::from_fn(refuse).into()
}

/// What of a certificate is used: <https://learn.microsoft.com/rest/api/keyvault/certificates/get-certificate>
#[derive(Deserialize)]
struct Bundle {
    kid: String,
    sid: Option<String>,
    /// The certificate, DER as base64.
    cer: String,
    #[serde(default)]
    policy: Policy,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Policy {
    key_props: KeyProperties,
    secret_props: SecretProperties,
    issuer: Issuer,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct KeyProperties {
    exportable: Option<bool>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct SecretProperties {
    #[serde(rename = "contentType")]
    content_type: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Issuer {
    name: Option<String>,
}

/// <https://learn.microsoft.com/rest/api/keyvault/secrets/get-secret>
#[derive(Deserialize)]
struct Secret {
    value: String,
}

impl Bundle {
    /// A certificate that vouches for itself has no chain. What is not known is tried.
    fn is_issued(&self) -> bool {
        self.policy.issuer.name.as_deref() != Some("Self")
    }

    /// Where the chain is. When the key can be exported, it would come along; then nobody asks.
    fn chain(&self) -> Option<&str> {
        let pem = self.policy.secret_props.content_type.as_deref() == Some("application/x-pem-file");
        let safe = self.policy.key_props.exportable == Some(false);
        self.sid.as_deref().filter(|_| self.is_issued() && pem && safe)
    }
}

/// <https://learn.microsoft.com/rest/api/keyvault/keys/sign>
#[derive(Deserialize)]
struct Signature {
    value: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Failure {
    error: Code,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Code {
    code: String,
    innererror: Option<Box<Self>>,
}

impl Vault {
    /// Reads the certificate and lets the vault sign once, so that what is missing is known at start.
    pub(crate) async fn open(self) -> Result<ClientCredential, BuildError> {
        let named = |error: Error| {
            let wait = error.retry_after().map_or_else(String::new, |wait| format!(" after {} s", wait.as_secs()));
            BuildError::new(format!("BOT_CERTIFICATE_VAULT_URL: {error}{wait}"))
        };
        let transport: Arc<dyn HttpTransport> = Arc::new(ReqwestTransport::new()?);
        let fixed = self.address.version.is_some();
        let asking = Arc::new(Asking { vault: self, transport });
        let (certificate, key) = asking.patiently(|| asking.certificate()).await.map_err(named)?;
        asking.patiently(|| asking.sign(&key, "PS256", &[0; 32])).await.map_err(named)?;
        if fixed {
            return Ok(certificate.into());
        }
        let fetch = move || {
            let asking = Arc::clone(&asking);
            async move { asking.certificate().await.map(|(certificate, _)| certificate) }
        };
        Ok(CertificateSource::new(certificate, PERIOD, fetch).into())
    }
}

/// The certificate first, then what else of the chain is in `more`.
fn chain(certificate: &str, more: &str) -> String {
    let mut sections = vec![certificate.to_owned()];
    for part in more.split("-----BEGIN CERTIFICATE-----").skip(1) {
        let body = part.split("-----END CERTIFICATE-----").next().unwrap_or_default();
        let body: String = body.split_whitespace().collect();
        if body != certificate {
            sections.push(body);
        }
    }
    let pem = |body: &String| {
        let lines: Vec<&str> = body.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
        format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
    };
    sections.iter().map(pem).collect()
}

struct Asking {
    vault: Vault,
    transport: Arc<dyn HttpTransport>,
}

impl Asking {
    /// The certificate as it is now, with its chain when an authority issued it, and the address of its key.
    async fn certificate(self: &Arc<Self>) -> Result<(Certificate, Url), Error> {
        let bundle = self.bundle().await?;
        let key = self.own(&bundle.kid, "/keys/")?;
        let more = match bundle.chain() {
            None => String::new(),
            Some(sid) => self.secret(sid).await.unwrap_or_else(|error| {
                tracing::warn!(%error, "the chain of the bot's certificate cannot be read: it goes along without");
                String::new()
            }),
        };
        let (asking, at) = (Arc::clone(self), key.clone());
        let sign = move |request: SignRequest| {
            let (asking, key) = (Arc::clone(&asking), at.clone());
            async move { asking.sign(&key, request.algorithm().as_str(), request.digest()).await }
        };
        let certificate = Certificate::with_signer(chain(&bundle.cer, &more).as_bytes(), sign)
            .map_err(|error| Error::new(ErrorKind::ClientCredential, error.to_string()))?;
        // For registrations that trust a subject name and issuer, so that a renewed certificate need not be registered.
        Ok((if bundle.is_issued() { certificate.send_chain() } else { certificate }, key))
    }

    async fn secret(&self, sid: &str) -> Result<String, Error> {
        let secret: Secret = self.ask(Method::GET, self.own(sid, "/secrets/")?, Body::empty()).await?;
        Ok(secret.value)
    }

    async fn bundle(&self) -> Result<Bundle, Error> {
        let VaultAddress { vault, name, version, .. } = &self.vault.address;
        let mut url = vault.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(["certificates", name]).extend(version);
        }
        self.ask(Method::GET, url, Body::empty()).await
    }

    /// An address that the vault names, which must be in the same vault: tokens go there.
    fn own(&self, text: &str, collection: &str) -> Result<Url, Error> {
        let vault = &self.vault.address.vault;
        let own = |url: &Url| url.origin() == vault.origin() && url.path().contains(collection);
        let url = Url::parse(text).ok().filter(own);
        url.ok_or_else(|| Error::new(ErrorKind::Protocol, "the vault names a key or secret that is not its own"))
    }

    async fn sign(&self, key: &Url, algorithm: &str, digest: &[u8; 32]) -> Result<Vec<u8>, Error> {
        let mut url = key.clone();
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().push("sign");
        }
        let body = json!({"alg": algorithm, "value": URL_SAFE_NO_PAD.encode(digest)}).to_string();
        let signature: Signature = self.ask(Method::POST, url, body.into()).await?;
        let text = signature.value.trim_end_matches('=');
        URL_SAFE_NO_PAD.decode(text).map_err(|_| Error::new(ErrorKind::Protocol, "the vault's signature is none"))
    }

    async fn ask<T: serde::de::DeserializeOwned>(&self, method: Method, mut url: Url, body: Body) -> Result<T, Error> {
        url.query_pairs_mut().append_pair("api-version", API_VERSION);
        let audience = &self.vault.address.audience;
        let token = self.vault.identity.get_token(&TokenRequest::new(audience.scopes().clone())).await?;
        let mut request = Request::builder()
            .method(method)
            .uri(url.as_str())
            .header(header::CONTENT_TYPE, "application/json")
            .body(body)
            .map_err(|_| Error::new(ErrorKind::Configuration, "the address of the vault is none"))?;
        request.extensions_mut().insert(Deadline(Instant::now() + ATTEMPT));
        token.authorize(&mut request, audience)?;
        let (head, body) = self.transport.send(request).await?.into_parts();
        let body = body.collect(MAX_ANSWER).await?;
        if head.status != StatusCode::OK {
            let wait = retry_after(&head.headers, entra_auth::Clock::now(&SystemClock));
            return Err(refused(head.status, &body).with_retry_after(wait));
        }
        serde_json::from_slice(&body)
            .map_err(|_| Error::new(ErrorKind::Protocol, "the answer is not Key Vault's; look for a proxy in between"))
    }

    /// At start nobody waits for an answer yet: passing faults are waited out, for a while.
    async fn patiently<T, F>(&self, ask: impl Fn() -> F) -> Result<T, Error>
    where
        F: Future<Output = Result<T, Error>>,
    {
        let retry = RetryPolicy::new(3, Duration::from_millis(500), Duration::from_secs(2));
        let mut attempt = 1;
        loop {
            let error = match ask().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            let pause = retry.delay(attempt, error.retry_after()).filter(|_| error.is_retryable());
            match pause {
                Some(pause) if pause <= Duration::from_secs(5) => tokio::time::sleep(pause).await,
                _ => return Err(error),
            }
            attempt += 1;
        }
    }
}

/// What the vault's refusal means, and who mends it. Its text is not repeated: it names identities.
fn refused(status: StatusCode, body: &[u8]) -> Error {
    let failure: Failure = serde_json::from_slice(body).unwrap_or_default();
    let inner = failure.error.innererror.map(|inner| inner.code).unwrap_or_default();
    let (kind, text) = match (status.as_u16(), inner.as_str()) {
        (401, _) => (
            ErrorKind::ClientCredential,
            "Key Vault does not accept the managed identity (401); vault and identity must be of one tenant",
        ),
        (403, "ForbiddenByFirewall") => (
            ErrorKind::Configuration,
            "the firewall of Key Vault keeps this machine out (403); add its network or a private endpoint",
        ),
        (403, "KeyDisabled") => (
            ErrorKind::Configuration,
            "this version of the key is disabled in Key Vault (403); enable it, or the version that follows it",
        ),
        (403, _) => (
            ErrorKind::Configuration,
            "Key Vault does not let the managed identity do that (403); give it the roles 'Key Vault Certificate User' \
             and 'Key Vault Crypto User', or the permissions certificates/get and keys/sign",
        ),
        (404, _) => {
            (ErrorKind::Configuration, "Key Vault has no certificate of this name and version (404); check the address")
        }
        (429, _) => (ErrorKind::Throttled, "Key Vault asks for fewer requests (429); try again"),
        (500..=599, _) => (ErrorKind::Transient, "Key Vault has a passing fault; try again"),
        _ => (ErrorKind::Protocol, "Key Vault refuses the request; is the key an RSA key of 2048 bits or more?"),
    };
    Error::new(kind, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let good = |text: &str| text.parse::<VaultAddress>().unwrap();
        let address = good("https://kv.vault.azure.net/certificates/bot");
        assert_eq!((address.vault.as_str(), address.name.as_str()), ("https://kv.vault.azure.net/", "bot"));
        assert!(address.version.is_none());
        let address = good("https://kv.vault.usgovcloudapi.net/keys/bot/0123456789abcdef/");
        assert_eq!(address.version.as_deref(), Some("0123456789abcdef"));
        assert_eq!(address.audience.scopes().as_str(), "https://vault.usgovcloudapi.net/.default");
        assert_eq!(good("http://127.0.0.1:9/vault/certificates/bot").vault.as_str(), "http://127.0.0.1:9/vault");
        for bad in [
            "kv.vault.azure.net/certificates/bot",
            "http://kv.vault.azure.net/certificates/bot",
            "https://kv.vault.azure.net",
            "https://kv.vault.azure.net/certificates",
            "https://kv.vault.azure.net/certificates/",
            "https://kv.vault.azure.net/secrets/bot",
            "https://kv.vault.azure.net/certificates/bot/1/2",
            "https://kv.vault.azure.net/certificates/b%2fot",
            "https://kv.vault.azure.net/x/certificates/bot",
            "https://kv.vault.azure.net:8443/certificates/bot",
            "https://kv.vault.azure.net/certificates/bot?x=1",
            "https://vault.azure.net.evil.example/certificates/bot",
            "https://evil.example/certificates/bot",
            "https://evilvault.azure.net/certificates/bot",
        ] {
            assert!(bad.parse::<VaultAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn refusals_say_who_mends_them_and_quote_nothing() {
        let body = |inner: &str| json!({"error": {"code": "x", "message": "marker", "innererror": {"code": inner}}});
        for (status, inner, kind, text) in [
            (401, "", ErrorKind::ClientCredential, "one tenant"),
            (403, "ForbiddenByRbac", ErrorKind::Configuration, "Key Vault Crypto User"),
            (403, "ForbiddenByFirewall", ErrorKind::Configuration, "firewall"),
            (403, "KeyDisabled", ErrorKind::Configuration, "disabled"),
            (404, "", ErrorKind::Configuration, "no certificate"),
            (429, "", ErrorKind::Throttled, "fewer requests"),
            (503, "", ErrorKind::Transient, "passing"),
            (400, "", ErrorKind::Protocol, "RSA"),
        ] {
            let error = refused(StatusCode::from_u16(status).unwrap(), body(inner).to_string().as_bytes());
            assert_eq!(error.kind(), kind, "{status}");
            assert!(error.to_string().contains(text) && !error.to_string().contains("marker"), "{error}");
        }
        assert_eq!(refused(StatusCode::FORBIDDEN, b"<html>marker").kind(), ErrorKind::Configuration);
    }

    #[test]
    fn the_chain_begins_with_the_certificate_and_names_it_once() {
        let section = |body: &str| format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n");
        assert_eq!(chain("AAAA", ""), section("AAAA"));
        let more = format!("Bag Attributes\r\n{}{}", section("BBBB").replace('\n', "\r\n"), section("AA\nAA"));
        assert_eq!(chain("AAAA", &more), section("AAAA") + &section("BBBB"));
    }

    #[test]
    fn a_chain_is_asked_for_only_where_no_key_comes_along() {
        let bundle = |exportable: serde_json::Value, kind: &str, issuer: &str| -> Bundle {
            let policy = json!({
                "key_props": {"exportable": exportable}, "secret_props": {"contentType": kind}, "issuer": {"name": issuer},
            });
            serde_json::from_value(json!({"kid": "k", "sid": "s", "cer": "c", "policy": policy})).unwrap()
        };
        const PEM: &str = "application/x-pem-file";
        assert_eq!(bundle(json!(false), PEM, "DigiCert").chain(), Some("s"));
        for other in [
            bundle(json!(true), PEM, "DigiCert"),
            bundle(json!(null), PEM, "DigiCert"),
            bundle(json!(false), "application/x-pkcs12", "DigiCert"),
            bundle(json!(false), PEM, "Self"),
            serde_json::from_value(json!({"kid": "k", "cer": "c"})).unwrap(),
        ] {
            assert_eq!(other.chain(), None);
        }
    }
}
