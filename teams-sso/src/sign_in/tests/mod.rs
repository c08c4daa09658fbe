//! The whole sign-in over sockets: messages, cards, invokes, the turn that comes back.

mod crashes;
mod exchange;
mod misc;
mod other_invokes;
mod world;
