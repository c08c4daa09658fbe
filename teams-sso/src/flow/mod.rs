//! The sign-in machine: a pure function of state and event. Whoever drives it loads the state, steps, writes the new
//! state if nobody else did, and only then carries out the effects.

mod event;
mod limit;
mod state;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    event::{Answer, CardReason, CardRefusal, Effect, Event, Exchanged, Redeemed, Refusal, Tell},
    limit::CardLimit,
    state::{Completed, End, Flow, Parked, Pending, Rules},
    step::{Next, step},
};
