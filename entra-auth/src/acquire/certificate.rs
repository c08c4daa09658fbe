use std::{fmt, sync::Arc};

use aws_lc_rs::{
    digest::{SHA256, digest},
    rand::SystemRandom,
    rsa::KeyPair as RsaKeyPair,
    signature::{KeyPair as _, RSA_PSS_SHA256},
};
use base64::{
    Engine as _,
    engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD},
};
use rustls_pki_types::pem::{PemObject, SectionKind};
use serde_json::json;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::BuildError;

/// A certificate with its private key, with which a client proves who it is instead of a secret.
///
/// It is sent as a signed assertion (PS256 with `x5t#S256`,
/// <https://learn.microsoft.com/entra/identity-platform/certificate-credentials>), a fresh one for each request.
#[derive(Clone)]
pub struct Certificate {
    inner: Arc<Inner>,
    send_chain: bool,
}

struct Inner {
    key: RsaKeyPair,
    /// The certificate that belongs to the key, then the rest of the chain in the order of the file.
    chain: Vec<Vec<u8>>,
    thumbprint: String,
}

impl Certificate {
    /// Reads PEM text that holds an RSA private key (PKCS#1 or PKCS#8, at least 2048 bits, not encrypted) and the
    /// certificate, optionally with its chain, in any order.
    ///
    /// # Errors
    ///
    /// When key or certificate is missing, the key is not RSA, too short or encrypted, or no certificate belongs to it.
    pub fn from_pem(pem: &[u8]) -> Result<Self, BuildError> {
        if pem.windows(21).any(|window| window == b"ENCRYPTED PRIVATE KEY") {
            return Err(BuildError::new(
                "the private key is encrypted; decrypt it with: openssl pkey -in key.pem -out plain.pem",
            ));
        }
        let mut key = None;
        let mut certificates = Vec::new();
        for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
            let (kind, der) = section.map_err(|_| BuildError::new("the certificate file is no valid PEM"))?;
            let der = Zeroizing::new(der);
            match kind {
                SectionKind::Certificate => certificates.push(der.to_vec()),
                SectionKind::PrivateKey => key = Some(RsaKeyPair::from_pkcs8(&der)),
                SectionKind::RsaPrivateKey => key = Some(RsaKeyPair::from_der(&der)),
                SectionKind::EcPrivateKey => {
                    return Err(BuildError::new("the private key is not RSA; Entra takes RSA certificates"));
                }
                _ => {}
            }
        }
        let key = key
            .ok_or_else(|| {
                BuildError::new("the PEM holds no private key; expected a section 'PRIVATE KEY' or 'RSA PRIVATE KEY'")
            })?
            .map_err(|_| BuildError::new("the private key is no RSA key of 2048 to 8192 bits"))?;
        if certificates.is_empty() {
            return Err(BuildError::new("the PEM holds a key but no certificate; append the section 'CERTIFICATE'"));
        }
        // A certificate holds its public key in the very bytes of the key's own encoding, so no X.509 parser is needed
        // to find the one that belongs to the key.
        let public_key = key.public_key().as_ref();
        let at = certificates
            .iter()
            .position(|der| der.windows(public_key.len()).any(|window| window == public_key))
            .ok_or_else(|| BuildError::new("no certificate in the PEM belongs to the private key"))?;
        let leaf = certificates.remove(at);
        let thumbprint = URL_SAFE_NO_PAD.encode(digest(&SHA256, &leaf));
        certificates.insert(0, leaf);
        let inner = Arc::new(Inner { key, chain: certificates, thumbprint });
        Ok(Self { inner, send_chain: false })
    }

    /// Sends the chain (`x5c`) along, for registrations that trust a subject name and issuer.
    #[must_use]
    pub const fn send_chain(mut self) -> Self {
        self.send_chain = true;
        self
    }

    /// The base64url SHA-256 of the certificate (`x5t#S256`), by which the portal and the logs name it.
    #[must_use]
    pub fn thumbprint(&self) -> &str {
        &self.inner.thumbprint
    }

    /// A signed assertion for one request to `audience`, the token endpoint.
    pub(crate) fn assertion(&self, client_id: &str, audience: &str, now: OffsetDateTime) -> Result<String, SignError> {
        let mut header = json!({"alg": "PS256", "typ": "JWT", "x5t#S256": self.inner.thumbprint});
        if self.send_chain
            && let Some(header) = header.as_object_mut()
        {
            header.insert("x5c".into(), self.inner.chain.iter().map(|der| STANDARD.encode(der)).collect());
        }
        let now = now.unix_timestamp();
        let claims = json!({
            "aud": audience,
            "iss": client_id,
            "sub": client_id,
            "jti": super::random_id().ok_or(SignError)?,
            "nbf": now,
            "iat": now,
            "exp": now + LIFETIME_SECONDS,
        });
        let mut jwt = URL_SAFE_NO_PAD.encode(header.to_string());
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(claims.to_string(), &mut jwt);
        let mut signature = vec![0; self.inner.key.public_modulus_len()];
        self.inner
            .key
            .sign(&RSA_PSS_SHA256, &SystemRandom::new(), jwt.as_bytes(), &mut signature)
            .map_err(|_| SignError)?;
        jwt.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut jwt);
        Ok(jwt)
    }
}

/// Entra names five to ten minutes; ten leave room for clocks that differ.
const LIFETIME_SECONDS: i64 = 600;

/// The key or the system's random source would not sign.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the assertion could not be signed")]
pub(crate) struct SignError;

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("thumbprint", &self.inner.thumbprint).finish_non_exhaustive()
    }
}
