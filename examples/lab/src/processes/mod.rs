//! Goals of whole programs: brokers as processes, beside a sandbox and a Redis, killed, stopped and held up.
//!
//! The tests of the broker run the same drivers in their short form.

pub mod crash;
mod program;
mod redis;
mod replicas;
pub mod sigterm;
pub mod slowloris;

pub use program::{Program, Served, settings};
pub use redis::{Redis, free_port};
pub use replicas::{Replicas, Store};

use crate::Setting;

/// The program of the broker; by default the one beside this program.
pub const BROKER: Setting = Setting::new("broker", "", "");

/// What the broker shows while it works.
pub const PLACEHOLDER: &str = "One moment, I am working on it …";

/// The sandbox's route of answers, for counting and for faults.
pub const RESPONSES: &str = "POST /foundry/api/projects/{project}/openai/v1/responses";
