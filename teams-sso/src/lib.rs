#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Functions that few programs use are `#[inline]`: they are compiled by those who call them.

#[cfg(feature = "sign-in")]
mod flow;
mod invoke;
#[cfg(feature = "sign-in")]
mod sign_in;
#[cfg(all(test, feature = "sign-in"))]
mod test_support;
#[cfg(feature = "sign-in")]
mod token_service;
#[cfg(feature = "sign-in")]
mod tree;

pub use crate::invoke::SignInFailureCode;
#[cfg(feature = "sign-in")]
#[cfg_attr(docsrs, doc(cfg(feature = "sign-in")))]
pub use crate::sign_in::{
    Access, Connection, SignIn, SignInBuilder, SignInError, SignInErrorKind, SignInNotice, SignInNoticeKind, SignedIn,
};
#[cfg(feature = "sign-in")]
#[cfg_attr(docsrs, doc(cfg(feature = "sign-in")))]
pub use crate::token_service::{
    ChannelUser, NoUser, ServiceToken, SignInResource, TokenServiceClient, TokenServiceClientBuilder,
    TokenServiceError, TokenServiceErrorKind,
};
pub use botframework_activity::card::{OAuthCard, TokenExchangeResource, TokenPostResource};
