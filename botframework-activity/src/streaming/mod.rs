//! Answers that grow before the user's eyes.

mod events;
mod refusal;
mod state;
mod teams;

pub use self::{
    events::{ReplyError, ReplyEvents, ReplySender},
    refusal::StreamRefusal,
    state::StreamPace,
    teams::{Streamed, TeamsStream},
};
#[cfg(feature = "turns")]
pub(crate) use self::{
    state::{Closing, Kind, StreamState, is_passing},
    teams::{may_stream, send_piece},
};
