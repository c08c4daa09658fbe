//! A small Entra inside this process: a token endpoint, key documents, tokens, and a clock that can be wrong.
//!
//! Nothing here leaves the process; what plays the network implements `HttpTransport`.

mod clock;
mod issuer;
mod memory;
mod sts;
mod subject;

use std::time::Duration;

use tokio::runtime::{Builder, Runtime};

pub use clock::WorldClock;
pub(crate) use issuer::base64;
pub use issuer::{Answers, Issuer, Publisher, Signer, user_claims};
pub use memory::{resident, resident_of, thread_cpu};
pub use sts::{Behaviour, Issued, Sts};
pub use subject::{
    Judge, MakeJudge, MakeSource, MakeUserSource, UserSource, client, judge, request, user_client, user_token,
};

use crate::Fault;

/// The tenant of the application.
pub const TENANT: &str = "11111111-1111-1111-1111-111111111111";
/// The application that acquires tokens.
pub const CLIENT: &str = "22222222-2222-2222-2222-222222222222";
/// The API that validates tokens.
pub const API: &str = "aaaaaaaa-0000-0000-0000-00000000000a";
/// The application through which users come.
pub const CALLER: &str = "bbbbbbbb-0000-0000-0000-00000000000b";
/// Every world begins at this second.
pub const EPOCH: i64 = 1_800_000_000;

/// A runtime whose time stands still until everyone waits: hours pass in milliseconds, and whoever waits is found out.
///
/// # Errors
///
/// When the system gives no runtime.
pub fn paused() -> Result<Runtime, Fault> {
    Ok(Builder::new_current_thread().enable_time().start_paused(true).build()?)
}

/// A runtime in real time on several threads.
///
/// # Errors
///
/// When the system gives no runtime.
pub fn real() -> Result<Runtime, Fault> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

/// Milliseconds, to three decimal places.
#[must_use]
pub fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

/// The value below which 99 of 100 lie.
#[must_use]
pub fn p99(times: &mut [Duration]) -> Duration {
    if times.is_empty() {
        return Duration::ZERO;
    }
    let at = (times.len() * 99 / 100).min(times.len() - 1);
    *times.select_nth_unstable(at).1
}

/// The middle one.
#[must_use]
pub fn median(values: &mut [f64]) -> f64 {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or_default()
}
