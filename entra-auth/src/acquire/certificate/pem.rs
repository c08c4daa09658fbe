//! Key and certificates out of PEM text.

use std::borrow::Cow;

use aws_lc_rs::rsa::KeyPair as RsaKeyPair;
use rustls_pki_types::pem::{PemObject, SectionKind};
use zeroize::Zeroizing;

use crate::BuildError;

/// What a file of PEM sections holds.
pub(super) struct Sections {
    pub(super) keys: Vec<RsaKeyPair>,
    pub(super) certificates: Vec<Vec<u8>>,
}

/// Reads all keys and certificates, in any order. Encrypted keys are the caller's.
#[inline]
pub(super) fn read(pem: &[u8]) -> Result<Sections, BuildError> {
    let mut sections = Sections { keys: Vec::new(), certificates: Vec::new() };
    for section in <(SectionKind, Vec<u8>)>::pem_slice_iter(pem) {
        let (kind, der) =
            section.map_err(|_| BuildError::new("the certificate file is no valid PEM; export it again"))?;
        let der = Zeroizing::new(der);
        match kind {
            SectionKind::Certificate => sections.certificates.push(der.to_vec()),
            SectionKind::PrivateKey => sections.keys.push(pkcs8_key(&der)?),
            SectionKind::RsaPrivateKey => {
                sections.keys.push(RsaKeyPair::from_der(&der).map_err(|error| unusable(&error))?);
            }
            SectionKind::EcPrivateKey => {
                return Err(BuildError::new("the private key is not RSA; Entra takes RSA certificates"));
            }
            _ => {}
        }
    }
    Ok(sections)
}

/// A key in the form of PKCS#8.
#[inline]
pub(super) fn pkcs8_key(der: &[u8]) -> Result<RsaKeyPair, BuildError> {
    RsaKeyPair::from_pkcs8(der).map_err(|error| unusable(&error))
}

#[inline]
fn unusable(error: &aws_lc_rs::error::KeyRejected) -> BuildError {
    let text = match error.to_string().as_str() {
        "TooSmall" => {
            "the private key has fewer than 2048 bits, which is no longer safe; make a new certificate, for example: \
             openssl req -x509 -newkey rsa:3072 -nodes -keyout key.pem -out cert.pem -subj /CN=bot"
        }
        _ => "the private key is no RSA key of 2048 to 8192 bits; Entra takes RSA certificates",
    };
    BuildError::new(Cow::Borrowed(text))
}
