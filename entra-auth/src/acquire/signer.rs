//! The signer: a key that stays elsewhere, such as in a vault or a hardware module.

use std::{fmt, sync::Arc};

use bytes::Bytes;

use crate::Error;

/// How the signature of a client assertion is made.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SignatureAlgorithm {
    /// RSASSA-PSS with SHA-256, MGF1 with SHA-256 and a salt of 32 bytes.
    Ps256,
    /// RSASSA-PKCS1-v1_5 with SHA-256, for AD FS.
    Rs256,
}

impl SignatureAlgorithm {
    /// The name in the header of a JWT and in the API of Key Vault: `PS256` or `RS256`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ps256 => "PS256",
            Self::Rs256 => "RS256",
        }
    }
}

/// What a signer must sign. Signers that hash take [`SignRequest::signing_input`], those that do not (Key Vault's
/// `sign`, most hardware) take [`SignRequest::digest`].
#[derive(Clone)]
pub struct SignRequest {
    algorithm: SignatureAlgorithm,
    input: Bytes,
    digest: [u8; 32],
}

impl SignRequest {
    #[inline]
    pub(super) fn new(algorithm: SignatureAlgorithm, input: Bytes) -> Self {
        let mut sha256 = [0; 32];
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &input);
        sha256.iter_mut().zip(digest.as_ref()).for_each(|(to, from)| *to = *from);
        Self { algorithm, input, digest: sha256 }
    }

    /// Which kind of signature is wanted.
    #[must_use]
    pub const fn algorithm(&self) -> SignatureAlgorithm {
        self.algorithm
    }

    /// The bytes to sign: header and claims of the assertion, as they are sent.
    #[must_use]
    pub fn signing_input(&self) -> &[u8] {
        &self.input
    }

    /// The SHA-256 of these bytes.
    #[must_use]
    pub const fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

impl fmt::Debug for SignRequest {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignRequest").field("algorithm", &self.algorithm).finish_non_exhaustive()
    }
}

/// What a function of the user gives, in a box.
pub(super) type Boxed<T> = crate::flight::Boxed<'static, Result<T, Error>>;

/// A boxed asynchronous function that signs.
#[derive(Clone)]
pub(super) struct Signer(Arc<dyn Fn(SignRequest) -> Boxed<Vec<u8>> + Send + Sync>);

impl Signer {
    pub(super) fn new<F, Fut>(sign: F) -> Self
    where
        F: Fn(SignRequest) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<Vec<u8>, Error>> + Send + 'static,
    {
        Self(Arc::new(move |request| Box::pin(sign(request))))
    }

    #[inline]
    pub(super) async fn sign(&self, request: SignRequest) -> Result<Vec<u8>, Error> {
        (self.0)(request).await
    }
}
