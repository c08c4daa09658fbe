//! JSON into the model's types and out of them, without code of its own for each type.
//!
//! A type says how it takes its value from a [`Source`] and which [`Datum`] it is; everything else stands here once.
//! [`reader`] and [`writer`] are for JSON text, which is what channels send: they look at each byte once, and what the
//! model keeps raw is skipped without building anything. [`bridge`] connects the same types with serde, so that they
//! can be members of anybody's types, in any format that knows maps.

mod bridge;
mod datum;
mod reader;
mod source;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use bridge::deserialize;
pub(crate) use datum::{Datum, List};
pub(crate) use reader::{member, read, trimmed};
pub(crate) use source::{Source, Stop};
pub(crate) use writer::write;
