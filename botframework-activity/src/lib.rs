#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]
// Functions that few programs use are `#[inline]`: they are compiled by those who call them.

#[cfg(feature = "axum")]
mod axum;
#[cfg(feature = "connector")]
mod connector;
#[cfg(feature = "inbound")]
mod inbound;
mod model;
mod router;
#[cfg(feature = "connector")]
mod streaming;
#[cfg(feature = "turns")]
mod turns;

#[cfg(feature = "connector")]
#[cfg_attr(docsrs, doc(cfg(feature = "connector")))]
pub use connector::*;
#[cfg(feature = "inbound")]
#[cfg_attr(docsrs, doc(cfg(feature = "inbound")))]
pub use inbound::*;
pub use model::*;
pub use router::{Handler, Router};
#[cfg(feature = "connector")]
#[cfg_attr(docsrs, doc(cfg(feature = "connector")))]
pub use streaming::*;
#[cfg(feature = "turns")]
#[cfg_attr(docsrs, doc(cfg(feature = "turns")))]
pub use turns::*;
