//! Goals of the way in and the ways out: what strangers can cause, and where tokens can be made to go.

pub mod exfil;
pub mod garbage;
mod hostile;
