//! App registrations, their credentials, consent, and conditions on users.

use std::collections::{HashMap, HashSet};
use std::io;
use std::sync::Mutex;

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use crate::constants::{
    AUTH_APP_ID, BOT_APP_ID, BOT_APP_SECRET, BOT_EXPIRED_SECRET, CERT_APP_ID, CLI_APP_ID, CONNECTOR_RESOURCE,
    FOUNDRY_RESOURCE, GRAPH_APP_ID, GRAPH_RESOURCE, HOME_TENANT, MANAGED_IDENTITY_APP_ID, OTHER_APP_ID,
    OTHER_APP_SECRET, RESOURCE_TENANT, SERVICE_APP_ID, SERVICE_APP_SECRET, SERVICE_RESOURCE, SSO_RESOURCE,
    TEAMS_CLIENT_ID, TOKEN_EXCHANGE_RESOURCE, VAULT_RESOURCE, WEB_APP_ID, WEB_APP_SECRET, WEB_REDIRECT_URI,
    WEB_SIGNED_OUT_URI,
};
use crate::der::{self, CertificateFacts};
use crate::keys;
use crate::state::{lock, uuid};
use crate::tokens::Version;

/// Permission of a client to call a resource for a user, or for all users of the home tenant.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Consent {
    /// App id of the client.
    pub client: String,
    /// App id or identifier URI of the resource.
    pub resource: String,
    /// Object id of the user; absent for consent an administrator gave for everyone.
    #[serde(default)]
    pub user: Option<String>,
}

impl Consent {
    /// Consent of an administrator, for every user.
    pub fn of_admin(client: &str, resource: &str) -> Self {
        Self { client: client.to_owned(), resource: resource.to_owned(), user: None }
    }

    /// Consent of one user.
    pub fn of_user(oid: &str, client: &str, resource: &str) -> Self {
        Self { client: client.to_owned(), resource: resource.to_owned(), user: Some(oid.to_owned()) }
    }

    /// The same with the resource by the name the directory keeps.
    fn canonical(&self) -> Self {
        let resource = resource(&self.resource).map_or_else(|| self.resource.clone(), |found| found.id.to_owned());
        Self { resource, client: self.client.to_ascii_lowercase(), user: self.user.clone() }
    }
}

/// An API that tokens are issued for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resource {
    /// App id.
    pub(crate) id: &'static str,
    /// Names a client may ask it by, beside the id.
    pub(crate) uris: &'static [&'static str],
    /// `aud` of its tokens.
    pub(crate) audience: &'static str,
    /// Token generation of its registration.
    pub(crate) version: Version,
    /// Delegated permissions it offers; `.default` stands for all.
    pub(crate) scopes: &'static [&'static str],
    /// The claim of `roles` an app-only token carries.
    pub(crate) roles: &'static [&'static str],
}

/// App id of the Foundry data plane as the sandbox names it.
const FOUNDRY_APP_ID: &str = "18a66f5f-dbdf-4c17-9dd7-1634712a9cbe";
/// App id of the connector as the sandbox names it.
const CONNECTOR_APP_ID: &str = "7f1b3d52-0000-4000-8000-00000000bf00";

/// App id of Key Vault.
const VAULT_APP_ID: &str = "cfa8b339-82a2-471a-a3c9-0fc0be7a4093";

/// App id of the resource whose tokens are client assertions.
const TOKEN_EXCHANGE_APP_ID: &str = "fb60f99c-7a34-4190-8149-302f77469936";

const RESOURCES: [Resource; 8] = [
    Resource {
        id: TOKEN_EXCHANGE_APP_ID,
        uris: &[TOKEN_EXCHANGE_RESOURCE],
        audience: TOKEN_EXCHANGE_RESOURCE,
        version: Version::V2,
        scopes: &[],
        roles: &[],
    },
    Resource {
        id: AUTH_APP_ID,
        uris: &[],
        audience: AUTH_APP_ID,
        version: Version::V2,
        scopes: &["access_as_user"],
        roles: &[],
    },
    Resource {
        id: VAULT_APP_ID,
        uris: &[VAULT_RESOURCE],
        audience: VAULT_RESOURCE,
        version: Version::V1,
        scopes: &["user_impersonation"],
        roles: &[],
    },
    Resource {
        id: CONNECTOR_APP_ID,
        uris: &[CONNECTOR_RESOURCE],
        audience: CONNECTOR_RESOURCE,
        version: Version::V1,
        scopes: &[],
        roles: &[],
    },
    Resource {
        id: FOUNDRY_APP_ID,
        uris: &[FOUNDRY_RESOURCE],
        audience: FOUNDRY_RESOURCE,
        version: Version::V1,
        scopes: &["user_impersonation"],
        roles: &[],
    },
    Resource {
        id: GRAPH_APP_ID,
        uris: &[GRAPH_RESOURCE],
        audience: GRAPH_RESOURCE,
        version: Version::V1,
        scopes: &["User.Read", "Files.Read", "profile", "openid", "email"],
        roles: &["User.Read.All", "GroupMember.Read.All"],
    },
    Resource {
        id: BOT_APP_ID,
        uris: &[SSO_RESOURCE],
        audience: BOT_APP_ID,
        version: Version::V2,
        scopes: &["access_as_user"],
        roles: &[],
    },
    Resource {
        id: SERVICE_APP_ID,
        uris: &[SERVICE_RESOURCE],
        audience: SERVICE_APP_ID,
        version: Version::V2,
        scopes: &["access_as_user"],
        roles: &["Service.Call"],
    },
];

/// The API with this app id or identifier URI. URIs are compared exactly, ids without case.
pub(crate) fn resource(name: &str) -> Option<&'static Resource> {
    let name = name.strip_suffix('/').unwrap_or(name);
    RESOURCES.iter().find(|resource| resource.id.eq_ignore_ascii_case(name) || resource.uris.contains(&name))
}

/// A client registration.
#[derive(Debug, Clone)]
pub(crate) struct App {
    /// App id.
    pub(crate) id: String,
    /// Name in error texts.
    pub(crate) name: String,
    /// Tenants that have its service principal.
    pub(crate) tenants: Vec<&'static str>,
    /// Whether it has no credential, so that none may be sent.
    pub(crate) is_public: bool,
    /// Whether its id tokens name the user's groups.
    pub(crate) group_claims: bool,
    redirect_uris: Vec<String>,
    secrets: Vec<Secret>,
    certificates: Vec<Certificate>,
    /// The managed identity of [`RESOURCE_TENANT`] that it trusts, by its app id.
    pub(crate) federated: Option<&'static str>,
    /// Whether it accepts every certificate of the vault's authority, registered or not.
    pub(crate) trusts_authority: bool,
}

#[derive(Debug, Clone)]
struct Secret {
    value: String,
    expired: bool,
}

/// A certificate of an app.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    /// SHA-256 of the DER, base64url.
    pub(crate) sha256: String,
    /// SHA-1 of the DER, base64url.
    pub(crate) sha1: String,
    /// Key and validity.
    pub(crate) facts: CertificateFacts,
}

impl Certificate {
    /// From its DER.
    pub(crate) fn read(der: &[u8]) -> Option<Self> {
        let facts = der::certificate(der)?;
        let hash = |algorithm| URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(algorithm, der));
        Some(Self {
            sha256: hash(&aws_lc_rs::digest::SHA256),
            sha1: hash(&aws_lc_rs::digest::SHA1_FOR_LEGACY_USE_ONLY),
            facts,
        })
    }
}

/// What came of a secret check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SecretCheck {
    /// It is one of the app's.
    Good,
    /// It was one of the app's.
    Expired,
    /// It never was.
    Wrong,
}

impl App {
    fn new(id: &str, name: &str, tenants: &[&'static str], secrets: &[(&str, bool)]) -> Self {
        let secrets =
            secrets.iter().map(|(value, expired)| Secret { value: (*value).to_owned(), expired: *expired }).collect();
        Self {
            id: id.to_owned(),
            name: name.to_owned(),
            tenants: tenants.to_vec(),
            is_public: false,
            group_claims: false,
            redirect_uris: Vec::new(),
            secrets,
            certificates: Vec::new(),
            federated: None,
            trusts_authority: false,
        }
    }

    fn redirects(mut self, uris: &[&str]) -> Self {
        self.redirect_uris.extend(uris.iter().map(|uri| (*uri).to_owned()));
        self
    }

    /// Whether a redirect URI is registered, letter by letter. Of `http` URIs on loopback the port does not count.
    pub(crate) fn may_redirect_to(&self, uri: &str) -> bool {
        self.redirect_uris.iter().any(|known| known == uri || portless(uri).is_some_and(|uri| *known == uri))
    }

    /// Whether users of several tenants may sign in to it.
    pub(crate) fn is_multi_tenant(&self) -> bool {
        self.tenants.len() > 1
    }

    /// Judges a client secret.
    pub(crate) fn secret(&self, given: &str) -> SecretCheck {
        match self.secrets.iter().find(|secret| secret.value == given) {
            Some(secret) if secret.expired => SecretCheck::Expired,
            Some(_) => SecretCheck::Good,
            None => SecretCheck::Wrong,
        }
    }

    /// The registered certificate with this thumbprint, SHA-256 or SHA-1, base64url.
    pub(crate) fn certificate(&self, thumbprint: &str) -> Option<&Certificate> {
        self.certificates
            .iter()
            .find(|certificate| [&certificate.sha256, &certificate.sha1].contains(&&thumbprint.to_owned()))
    }
}

/// A loopback `http` URI without its port.
fn portless(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("http://")?;
    let (authority, path) = rest.find('/').map_or((rest, ""), |at| rest.split_at(at));
    let (host, port) = authority.rsplit_once(':')?;
    let is_port = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    (is_port && ["localhost", "127.0.0.1"].contains(&host)).then(|| format!("http://{host}{path}"))
}

/// Everything Entra knows.
pub(crate) struct Directory {
    apps: HashMap<String, App>,
    consents: HashSet<Consent>,
    used_assertions: HashMap<String, i64>,
    refresh_tokens: HashMap<String, (String, String)>,
    mfa_required: HashSet<String>,
    certificate_pem: String,
}

impl Directory {
    /// The registrations of the constants, full consent, and one generated certificate that both the bot and the
    /// certificate app accept. When the bot is a managed identity, another registration takes its place in the sign-in.
    pub(crate) fn new(bot_is_identity: bool) -> io::Result<Self> {
        let both: &[&str] = &[RESOURCE_TENANT, HOME_TENANT];
        let sso = match bot_is_identity {
            true => App { federated: Some(BOT_APP_ID), ..App::new(AUTH_APP_ID, "Sandbox Sign-in", both, &[]) },
            false => App {
                federated: Some(MANAGED_IDENTITY_APP_ID),
                trusts_authority: true,
                ..App::new(BOT_APP_ID, "Sandbox Bot", both, &[(BOT_APP_SECRET, false), (BOT_EXPIRED_SECRET, true)])
            },
        };
        let sso_id = if bot_is_identity { AUTH_APP_ID } else { BOT_APP_ID };
        let apps = [
            sso,
            App::new(SERVICE_APP_ID, "Sandbox Service", both, &[(SERVICE_APP_SECRET, false)]),
            App::new(CERT_APP_ID, "Sandbox Certificate App", both, &[]),
            App::new(OTHER_APP_ID, "Sandbox Other App", &[RESOURCE_TENANT], &[(OTHER_APP_SECRET, false)])
                .redirects(&[WEB_REDIRECT_URI]),
            App {
                group_claims: true,
                ..App::new(WEB_APP_ID, "Sandbox Web App", both, &[(WEB_APP_SECRET, false)])
                    .redirects(&[WEB_REDIRECT_URI, WEB_SIGNED_OUT_URI])
            },
            App {
                is_public: true,
                ..App::new(CLI_APP_ID, "Sandbox Command Line", both, &[]).redirects(&["http://localhost"])
            },
        ];
        let consents = [
            Consent::of_admin(sso_id, GRAPH_APP_ID),
            Consent::of_admin(sso_id, SERVICE_APP_ID),
            Consent::of_admin(sso_id, sso_id),
            Consent::of_admin(SERVICE_APP_ID, GRAPH_APP_ID),
            Consent::of_admin(SERVICE_APP_ID, FOUNDRY_APP_ID),
            Consent::of_admin(TEAMS_CLIENT_ID, sso_id),
            Consent::of_admin(WEB_APP_ID, GRAPH_APP_ID),
            Consent::of_admin(WEB_APP_ID, SERVICE_APP_ID),
            Consent::of_admin(CLI_APP_ID, GRAPH_APP_ID),
        ];
        let (der, certificate_pem) = generated_certificate()?;
        let mut directory = Self {
            apps: apps.into_iter().map(|app| (app.id.clone(), app)).collect(),
            consents: consents.into_iter().collect(),
            used_assertions: HashMap::new(),
            refresh_tokens: HashMap::new(),
            mfa_required: HashSet::new(),
            certificate_pem,
        };
        for app in [CERT_APP_ID, BOT_APP_ID] {
            // A managed identity has none.
            if directory.app(app).is_some() {
                directory.add_certificate(app, &der).map_err(io::Error::other)?;
            }
        }
        Ok(directory)
    }

    /// The registration of a client, in any tenant.
    pub(crate) fn app(&self, id: &str) -> Option<&App> {
        self.apps.get(&id.to_ascii_lowercase())
    }

    /// Whether this app is registered as the Azure Bot.
    pub(crate) fn is_bot(&self, id: &str) -> bool {
        id.eq_ignore_ascii_case(BOT_APP_ID)
    }

    /// Private key and certificate of the generated certificate, PEM.
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Registers the first certificate of a PEM text with an app.
    pub(crate) fn register_certificate(&mut self, app: &str, pem: &str) -> Result<(), String> {
        let der = certificate_of(pem).ok_or_else(|| "no certificate in this PEM text".to_owned())?;
        self.add_certificate(app, &der)
    }

    /// Takes the first certificate of a PEM text out of an app's registration. Whether it was there.
    pub(crate) fn unregister_certificate(&mut self, app: &str, pem: &str) -> Result<bool, String> {
        let der = certificate_of(pem).ok_or_else(|| "no certificate in this PEM text".to_owned())?;
        let app = self.apps.get_mut(&app.to_ascii_lowercase()).ok_or_else(|| "no such app".to_owned())?;
        let gone = URL_SAFE_NO_PAD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &der));
        let before = app.certificates.len();
        app.certificates.retain(|certificate| certificate.sha256 != gone);
        Ok(app.certificates.len() < before)
    }

    /// Registers one more redirect URI of an app.
    pub(crate) fn register_redirect_uri(&mut self, app: &str, uri: &str) -> Result<(), String> {
        let app = self.apps.get_mut(&app.to_ascii_lowercase()).ok_or_else(|| "no such app".to_owned())?;
        app.redirect_uris.push(uri.to_owned());
        Ok(())
    }

    /// Whether any app registered this URI to come back to.
    pub(crate) fn knows_redirect_uri(&self, uri: &str) -> bool {
        self.apps.values().any(|app| app.may_redirect_to(uri))
    }

    fn add_certificate(&mut self, app: &str, der: &[u8]) -> Result<(), String> {
        let certificate = Certificate::read(der).ok_or_else(|| "not an X.509 certificate".to_owned())?;
        let app = self.apps.get_mut(&app.to_ascii_lowercase()).ok_or_else(|| "no such app".to_owned())?;
        app.certificates.push(certificate);
        Ok(())
    }

    /// Records consent.
    pub(crate) fn grant(&mut self, consent: &Consent) {
        self.consents.insert(consent.canonical());
    }

    /// Takes consent back. Without a user, everyone's is taken, administrator's and users'.
    pub(crate) fn revoke(&mut self, consent: &Consent) {
        let gone = consent.canonical();
        self.consents.retain(|held| {
            held.client != gone.client
                || held.resource != gone.resource
                || (gone.user.is_some() && held.user != gone.user)
        });
    }

    /// Whether the client may call the resource for this user.
    pub(crate) fn has_consent(&self, oid: &str, client: &str, resource: &str) -> bool {
        [Consent::of_admin(client, resource), Consent::of_user(oid, client, resource)]
            .iter()
            .any(|consent| self.consents.contains(&consent.canonical()))
    }

    /// Makes On-Behalf-Of for this user fail with a claims challenge, or work again.
    pub(crate) fn require_mfa(&mut self, oid: &str, required: bool) {
        if required {
            self.mfa_required.insert(oid.to_owned());
        } else {
            self.mfa_required.remove(oid);
        }
    }

    /// Whether this user must do more to sign in.
    pub(crate) fn needs_mfa(&self, oid: &str) -> bool {
        self.mfa_required.contains(oid)
    }

    /// A refresh token of this app for this user.
    pub(crate) fn issue_refresh(&mut self, client: &str, oid: &str) -> String {
        let token = format!("1.sandbox-{}{}", uuid().replace('-', ""), uuid().replace('-', ""));
        self.refresh_tokens.insert(token.clone(), (client.to_owned(), oid.to_owned()));
        token
    }

    /// The user of a refresh token of this app. Entra leaves the old one valid.
    pub(crate) fn redeem_refresh(&self, client: &str, token: &str) -> Option<String> {
        self.refresh_tokens.get(token).filter(|(owner, _)| owner == client).map(|(_, oid)| oid.clone())
    }

    /// Notes a client assertion; false when its `jti` was seen before within its life.
    pub(crate) fn first_use(&mut self, client: &str, jti: &str, expires: i64, now: i64) -> bool {
        self.used_assertions.retain(|_, end| *end > now);
        self.used_assertions.insert(format!("{client}/{jti}"), expires).is_none()
    }
}

/// DER of the certificate, and key and certificate as PEM: one for the whole process, so that it survives a restart.
fn generated_certificate() -> io::Result<(Vec<u8>, String)> {
    static CERTIFICATE: Mutex<Option<(Vec<u8>, String)>> = Mutex::new(None);
    let mut certificate = lock(&CERTIFICATE);
    if let Some(certificate) = &*certificate {
        return Ok(certificate.clone());
    }
    let made = generate_certificate()?;
    *certificate = Some(made.clone());
    Ok(made)
}

fn generate_certificate() -> io::Result<(Vec<u8>, String)> {
    let failed = || io::Error::other("certificate generation failed");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| failed())?;
    let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| failed())?;
    let der = keys::self_signed(pkcs8.as_ref(), "m365-sandbox client")?;
    let pem = format!("{}{}", block("PRIVATE KEY", pkcs8.as_ref()), block("CERTIFICATE", &der));
    Ok((der, pem))
}

/// One section of a PEM text.
pub(super) fn block(label: &str, der: &[u8]) -> String {
    let text = STANDARD.encode(der);
    let mut lines = vec![format!("-----BEGIN {label}-----")];
    lines.extend(text.as_bytes().chunks(64).map(|line| String::from_utf8_lossy(line).into_owned()));
    lines.push(format!("-----END {label}-----\n"));
    lines.join("\n")
}

fn certificate_of(pem: &str) -> Option<Vec<u8>> {
    section(pem, "CERTIFICATE")
}

/// The first section of a PEM text with this label, as DER.
pub(crate) fn section(pem: &str, label: &str) -> Option<Vec<u8>> {
    let (_, rest) = pem.split_once(&format!("-----BEGIN {label}-----"))?;
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let packed: String = body.split_whitespace().collect();
    STANDARD.decode(packed).ok()
}
