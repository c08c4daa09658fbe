//! A certificate with its key, and the assertions that are signed with it.

mod pem;
#[cfg(feature = "pfx")]
mod pfx;
mod x509;

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use aws_lc_rs::{
    digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest},
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{
        KeyPair as _, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256,
        RSA_PSS_SHA256,
    },
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use bytes::Bytes;
use serde_json::json;
use time::OffsetDateTime;

use super::{
    credential::Occasion,
    signer::{SignRequest, SignatureAlgorithm, Signer},
};
use crate::{BuildError, Error, ErrorKind, Secret, flight::Boxed};

/// A certificate with its private key, with which a client proves who it is instead of a secret.
///
/// It is sent as a signed assertion (PS256 with `x5t#S256`,
/// <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>), a fresh one for each request, good
/// for ten minutes. A certificate that has ended makes no assertion: the token request fails at once with
/// [`ErrorKind::ClientCredential`] and a message that says when it ended; one that ends within 30 days is warned of
/// when the client is built. For a certificate that is renewed while the process runs see [`CertificateFile`] and
/// [`CertificateSource`].
///
/// [`CertificateFile`]: crate::CertificateFile
/// [`CertificateSource`]: crate::CertificateSource
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<dyn Signing>,
    style: Style,
}

/// How assertions are to look.
#[derive(Clone, Copy, Default)]
pub(super) struct Style {
    pub(super) send_chain: bool,
    pub(super) ad_fs: bool,
}

/// A certificate whose key signs. A trait, so that only programs with certificates compile it.
#[async_trait]
trait Signing: fmt::Debug + Send + Sync {
    fn thumbprint(&self) -> &str;
    fn expires_on(&self) -> OffsetDateTime;
    async fn assertion(&self, style: Style, occasion: &Occasion<'_>) -> Result<Secret, Error>;
}

struct Inner {
    key: Key,
    /// The certificate that belongs to the key, then the rest of the chain in the order of the file.
    chain: Vec<Vec<u8>>,
    sha256: String,
    sha1: String,
    not_after: OffsetDateTime,
}

enum Key {
    Here(RsaKeyPair),
    Elsewhere { signer: Signer, public_key: Vec<u8> },
}

impl Certificate {
    /// Reads PEM text that holds an RSA private key (PKCS#1 or PKCS#8, at least 2048 bits, not encrypted) and the
    /// certificate, optionally with its chain, in any order.
    ///
    /// # Errors
    ///
    /// When key or certificate is missing, the key is not RSA, too short or encrypted, or no certificate belongs to
    /// it. The message says which, and what to do.
    #[inline]
    pub fn from_pem(pem: &[u8]) -> Result<Self, BuildError> {
        if !pem.windows(11).any(|window| window == b"-----BEGIN ") && pem.first() == Some(&0x30) {
            return Err(BuildError::new(
                "the certificate is not PEM but DER, perhaps PKCS#12 (.pfx, .p12): read it with \
                 Certificate::from_pkcs12 (feature `pfx`), or convert it with: openssl pkcs12 -in x.pfx -nodes -out x.pem",
            ));
        }
        if is_encrypted(pem) {
            return Err(BuildError::new(
                "the private key is encrypted; read it with Certificate::from_encrypted_pem (feature `pfx`), or \
                 decrypt it with: openssl pkey -in key.pem -out plain.pem",
            ));
        }
        let sections = pem::read(pem)?;
        if sections.keys.is_empty() {
            return Err(BuildError::new(
                "the PEM holds no private key; expected a section 'PRIVATE KEY' or 'RSA PRIVATE KEY'",
            ));
        }
        Self::assemble(sections.keys, sections.certificates)
    }

    /// A certificate whose private key stays elsewhere, such as in Key Vault or a hardware module: `sign` is called
    /// for each assertion. `chain` is PEM text, the certificate of the key first.
    ///
    /// Each signature is checked against the certificate before it is sent, so a signer that uses another key is
    /// [`ErrorKind::ClientCredential`] here and not a refusal of Entra. Errors of the signer reach the caller as they
    /// are. The signer has 8 s.
    ///
    /// ```no_run
    /// # use entra_auth::{Certificate, Error, SignRequest};
    /// # async fn ask_the_vault(algorithm: &str, digest: &[u8]) -> Result<Vec<u8>, Error> { Ok(Vec::new()) }
    /// # fn example(chain: &[u8]) -> Result<Certificate, entra_auth::BuildError> {
    /// Certificate::with_signer(chain, |request: SignRequest| async move {
    ///     ask_the_vault(request.algorithm().as_str(), request.digest()).await
    /// })
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// When there is no certificate, or the first one is not for an RSA key of 2048 to 8192 bits.
    pub fn with_signer<F, Fut>(chain: &[u8], sign: F) -> Result<Self, BuildError>
    where
        F: Fn(SignRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, Error>> + Send + 'static,
    {
        let chain = pem::read(chain)?.certificates;
        let leaf = chain
            .first()
            .ok_or_else(|| BuildError::new("the PEM holds no certificate; expected a section 'CERTIFICATE'"))?;
        let public_key = x509::read(leaf)
            .ok_or_else(|| BuildError::new("the certificate is no valid X.509 certificate; export it again"))?
            .rsa_key
            .ok_or_else(|| BuildError::new("the certificate is not for an RSA key; Entra takes RSA certificates"))?
            .to_vec();
        ParsedPublicKey::new(&RSA_PSS_2048_8192_SHA256, &public_key)
            .map_err(|_| BuildError::new("the certificate is for no RSA key of 2048 to 8192 bits"))?;
        Self::new(Key::Elsewhere { signer: Signer::new(sign), public_key }, chain)
    }

    /// The key to which a certificate belongs, with that certificate in front.
    #[inline]
    fn assemble(keys: Vec<RsaKeyPair>, mut certificates: Vec<Vec<u8>>) -> Result<Self, BuildError> {
        if certificates.is_empty() {
            return Err(BuildError::new("there is a key but no certificate; append the section 'CERTIFICATE'"));
        }
        for key in keys {
            let public_key = key.public_key();
            let belongs = |der: &Vec<u8>| x509::read(der).and_then(|facts| facts.rsa_key) == Some(public_key.as_ref());
            if let Some(at) = certificates.iter().position(belongs) {
                let leaf = certificates.remove(at);
                certificates.insert(0, leaf);
                return Self::new(Key::Here(key), certificates);
            }
        }
        Err(BuildError::new(
            "no certificate belongs to the private key; put the certificate that was issued for this key beside it",
        ))
    }

    #[inline]
    fn new(key: Key, chain: Vec<Vec<u8>>) -> Result<Self, BuildError> {
        let leaf = chain.first().ok_or_else(|| BuildError::new("there is no certificate"))?;
        let not_after = x509::read(leaf)
            .ok_or_else(|| BuildError::new("the certificate is no valid X.509 certificate; export it again"))?
            .not_after;
        let sha256 = URL_SAFE_NO_PAD.encode(digest(&SHA256, leaf));
        let sha1 = URL_SAFE_NO_PAD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, leaf));
        let inner = Arc::new(Inner { key, chain, sha256, sha1, not_after });
        Ok(Self { inner, style: Style::default() })
    }

    /// Sends the chain (`x5c`) along, for registrations that trust a subject name and issuer.
    #[must_use]
    pub const fn send_chain(mut self) -> Self {
        self.style.send_chain = true;
        self
    }

    /// Signs with RS256 and names the certificate by its SHA-1 (`x5t`), which is what AD FS understands. Entra takes
    /// it too, but the default is the safer one.
    #[must_use]
    pub const fn for_ad_fs(mut self) -> Self {
        self.style.ad_fs = true;
        self
    }

    /// The base64url SHA-256 of the certificate (`x5t#S256`), by which the portal and the logs name it.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        self.inner.thumbprint()
    }

    /// When the certificate ends.
    #[must_use]
    pub fn expires_on(&self) -> OffsetDateTime {
        self.inner.expires_on()
    }

    /// A signed assertion for one request.
    pub(super) fn assertion<'a>(&'a self, occasion: &'a Occasion<'_>) -> Boxed<'a, Result<Secret, Error>> {
        self.inner.assertion(self.style.and(occasion.style), occasion)
    }
}

impl Style {
    const fn and(self, other: Self) -> Self {
        Self { send_chain: self.send_chain || other.send_chain, ad_fs: self.ad_fs || other.ad_fs }
    }
}

#[async_trait]
impl Signing for Inner {
    #[inline]
    fn thumbprint(&self) -> &str {
        &self.sha256
    }

    #[inline]
    fn expires_on(&self) -> OffsetDateTime {
        self.not_after
    }

    #[inline]
    async fn assertion(&self, style: Style, occasion: &Occasion<'_>) -> Result<Secret, Error> {
        if self.not_after <= occasion.now {
            return Err(Error::new(
                ErrorKind::ClientCredential,
                format!(
                    "the certificate ended on {}; register its successor and put it in its place (is this machine's \
                     clock right?)",
                    self.not_after.date()
                ),
            ));
        }
        let algorithm = if style.ad_fs { SignatureAlgorithm::Rs256 } else { SignatureAlgorithm::Ps256 };
        let mut jwt = self
            .unsigned(algorithm, style.send_chain, occasion)
            .ok_or_else(|| Error::new(ErrorKind::ClientCredential, "this system has no random numbers to give"))?;
        let signature = match &self.key {
            Key::Here(key) => sign_here(key, algorithm, jwt.as_bytes()),
            Key::Elsewhere { signer, public_key } => {
                let input = Bytes::copy_from_slice(jwt.as_bytes());
                let signature = signer.sign(SignRequest::new(algorithm, input)).await?;
                is_good(public_key, algorithm, jwt.as_bytes(), &signature).then_some(signature)
            }
        };
        let signature = signature.ok_or_else(|| {
            Error::new(
                ErrorKind::ClientCredential,
                "the signature does not belong to the certificate; check which key, and which version of it, signs",
            )
        })?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(jwt.into())
    }
}

impl Inner {
    #[inline]
    fn unsigned(&self, algorithm: SignatureAlgorithm, send_chain: bool, occasion: &Occasion<'_>) -> Option<String> {
        let mut header = match algorithm {
            SignatureAlgorithm::Ps256 => json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.sha256}),
            SignatureAlgorithm::Rs256 => json!({"alg": "RS256", "typ": "JWT", "x5t": self.sha1}),
        };
        if send_chain && let Some(header) = header.as_object_mut() {
            header.insert("x5c".into(), self.chain.iter().map(|der| STANDARD.encode(der)).collect());
        }
        let client_id = occasion.client_id.as_str();
        let now = occasion.now.unix_timestamp();
        let claims = json!({
            "aud": occasion.endpoint.as_str(),
            "iss": client_id,
            "sub": client_id,
            "jti": super::random_id()?,
            "nbf": now,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        });
        let mut jwt = URL_SAFE_NO_PAD.encode(header.to_string());
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut jwt);
        Some(jwt)
    }
}

/// Entra names five to ten minutes; ten leave room for clocks that differ.
const LIFETIME_SECONDS: i64 = 600;

#[inline]
fn sign_here(key: &RsaKeyPair, algorithm: SignatureAlgorithm, input: &[u8]) -> Option<Vec<u8>> {
    let padding: &'static dyn aws_lc_rs::signature::RsaEncoding = match algorithm {
        SignatureAlgorithm::Ps256 => &RSA_PSS_SHA256,
        SignatureAlgorithm::Rs256 => &RSA_PKCS1_SHA256,
    };
    let mut signature = vec![0; key.public_modulus_len()];
    key.sign(padding, &SystemRandom::new(), input, &mut signature).ok()?;
    Some(signature)
}

#[inline]
fn is_good(public_key: &[u8], algorithm: SignatureAlgorithm, input: &[u8], signature: &[u8]) -> bool {
    let parameters = match algorithm {
        SignatureAlgorithm::Ps256 => &RSA_PSS_2048_8192_SHA256,
        SignatureAlgorithm::Rs256 => &RSA_PKCS1_2048_8192_SHA256,
    };
    ParsedPublicKey::new(parameters, public_key).is_ok_and(|key| key.verify_sig(input, signature).is_ok())
}

/// Whether a private key in the PEM needs a password, in the form of PKCS#8 or in the old one of OpenSSL.
#[inline]
fn is_encrypted(pem: &[u8]) -> bool {
    [&b"ENCRYPTED PRIVATE KEY"[..], b"Proc-Type: 4,ENCRYPTED"]
        .iter()
        .any(|mark| pem.windows(mark.len()).any(|window| window == *mark))
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Inner {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate")
            .field("thumbprint", &self.sha256)
            .field("expires_on", &self.not_after)
            .field("key", &if matches!(self.key, Key::Here(_)) { "here" } else { "elsewhere" })
            .finish_non_exhaustive()
    }
}
