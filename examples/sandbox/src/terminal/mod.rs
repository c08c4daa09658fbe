//! A chat at the terminal with a bot in the same process, and short lines about what happens on the way.
//!
//! Answers go to stdout, a paragraph each, so that they can be piped; everything else goes to stderr.

mod chat;
mod hops;
mod replay;

pub use chat::{Chat, Messages};
pub use hops::Hops;
pub use replay::{Replayed, replay};
