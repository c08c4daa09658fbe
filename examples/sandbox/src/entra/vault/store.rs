//! The versions of the vault's certificate, and the authority that issues some of them.

use std::io;
use std::sync::{Mutex, MutexGuard};

use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
use aws_lc_rs::rsa::KeyPair;
use aws_lc_rs::rsa::KeySize;
use rustls_pki_types::PrivatePkcs8KeyDer;

use crate::constants::VAULT_CERTIFICATE;
use crate::entra::directory::{block, section};
use crate::keys;
use crate::state::{Shared, lock, uuid};

/// The first version of everything in the vault.
pub(crate) const FIRST: &str = "0123456789abcdef0123456789abcdef";

/// How a new version of the vault's certificate comes about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Renewal {
    /// It vouches for itself; an app accepts it when it is registered.
    SelfSigned,
    /// It is issued by an authority of this sandbox. The bot's registration accepts all certificates of that authority,
    /// without their being registered, when the assertion carries the chain.
    Issued,
}

/// One version: the key never leaves the vault.
#[derive(Clone)]
pub(crate) struct Version {
    pub(crate) id: String,
    /// PKCS#8.
    pub(crate) key: Vec<u8>,
    /// DER.
    pub(crate) certificate: Vec<u8>,
    /// The certificate of the authority, DER.
    pub(crate) authority: Option<Vec<u8>>,
    pub(crate) enabled: bool,
}

impl Version {
    /// The certificate and what vouches for it, PEM.
    pub(crate) fn chain(&self) -> String {
        [Some(&self.certificate), self.authority.as_ref()]
            .into_iter()
            .flatten()
            .map(|der| block("CERTIFICATE", der))
            .collect()
    }
}

/// The vault's own state.
#[derive(Default)]
pub(crate) struct Certificates {
    /// The newest one last.
    versions: Mutex<Vec<Version>>,
    authority: Mutex<Option<Authority>>,
}

#[derive(Clone)]
struct Authority {
    /// PKCS#8.
    key: Vec<u8>,
    /// DER.
    certificate: Vec<u8>,
}

impl Certificates {
    /// All versions; the first one is the certificate of the directory.
    fn versions(&self, shared: &Shared) -> MutexGuard<'_, Vec<Version>> {
        let mut versions = lock(&self.versions);
        if versions.is_empty() {
            let pem = shared.directory().certificate_pem().to_owned();
            if let Some((key, certificate)) = section(&pem, "PRIVATE KEY").zip(section(&pem, "CERTIFICATE")) {
                versions.push(Version { id: FIRST.to_owned(), key, certificate, authority: None, enabled: true });
            }
        }
        versions
    }

    /// A version of a certificate; the newest one when none is named.
    pub(crate) fn find(&self, shared: &Shared, name: &str, version: Option<&str>) -> Option<Version> {
        let versions = self.versions(shared);
        let found = match version {
            None => versions.last(),
            Some(id) => versions.iter().find(|version| version.id == id),
        };
        found.filter(|_| name == VAULT_CERTIFICATE).cloned()
    }

    /// Makes a new version, which is the newest one from now on. Its certificate, PEM.
    pub(crate) fn renew(&self, shared: &Shared, renewal: Renewal) -> io::Result<String> {
        let authority = match renewal {
            Renewal::SelfSigned => None,
            Renewal::Issued => Some(self.authority()?),
        };
        let key = new_key()?;
        let certificate = match &authority {
            None => keys::self_signed(&key, "m365-sandbox vault")?,
            Some(authority) => issued(&key, authority)?,
        };
        let pem = block("CERTIFICATE", &certificate);
        let id = uuid().replace('-', "");
        let authority = authority.map(|authority| authority.certificate);
        self.versions(shared).push(Version { id, key, certificate, authority, enabled: true });
        Ok(pem)
    }

    /// The vault signs with the newest version alone.
    pub(crate) fn disable_old(&self, shared: &Shared) {
        if let Some((_, old)) = self.versions(shared).split_last_mut() {
            old.iter_mut().for_each(|version| version.enabled = false);
        }
    }

    /// The certificate of the authority, when it has issued anything.
    pub(crate) fn trusted_authority(&self) -> Option<Vec<u8>> {
        lock(&self.authority).as_ref().map(|authority| authority.certificate.clone())
    }

    fn authority(&self) -> io::Result<Authority> {
        let mut authority = lock(&self.authority);
        if let Some(authority) = &*authority {
            return Ok(authority.clone());
        }
        let key = new_key()?;
        let pair = pair(&key)?;
        let certificate = authority_params().self_signed(&pair).map_err(io::Error::other)?.der().to_vec();
        Ok(authority.insert(Authority { key, certificate }).clone())
    }
}

fn authority_params() -> rcgen::CertificateParams {
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "m365-sandbox issuing CA (tests only)");
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Constrained(0));
    params.key_usages = vec![rcgen::KeyUsagePurpose::KeyCertSign];
    params
}

fn issued(key: &[u8], authority: &Authority) -> io::Result<Vec<u8>> {
    let issuer = rcgen::Issuer::new(authority_params(), pair(&authority.key)?);
    let mut params = rcgen::CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, "bot.sandbox.example");
    let certificate = params.signed_by(&pair(key)?, &issuer).map_err(io::Error::other)?;
    Ok(certificate.der().to_vec())
}

fn pair(pkcs8: &[u8]) -> io::Result<rcgen::KeyPair> {
    let key = PrivatePkcs8KeyDer::from(pkcs8);
    rcgen::KeyPair::from_pkcs8_der_and_sign_algo(&key, &rcgen::PKCS_RSA_SHA256).map_err(io::Error::other)
}

fn new_key() -> io::Result<Vec<u8>> {
    let failed = || io::Error::other("RSA key generation failed");
    let pair = KeyPair::generate(KeySize::Rsa2048).map_err(|_| failed())?;
    let pkcs8: Pkcs8V1Der<'static> = pair.as_der().map_err(|_| failed())?;
    Ok(pkcs8.as_ref().to_vec())
}
