//! G7: more users than the token cache has room for.

use std::sync::Arc;

use tokio::runtime::Builder;

use crate::{
    Fault, Options, Outcome, Random, Setting,
    world::{self, Behaviour, EPOCH, Issued, MakeUserSource, Sts, TENANT, WorldClock},
};

/// How many users.
pub const USERS: Setting = Setting::new("users", "1000000", "7000");
/// The memory that the cache may take, in MiB.
pub const CACHE_MIB: Setting = Setting::new("cache-mib", "64", "16");

/// The size of each token, in bytes.
pub const TOKEN_BYTES: Setting = Setting::new("token-bytes", "2000", "10000");

const MIB: usize = 1 << 20;
/// What there may be besides the cache: 96 MiB for a cache of 64 MiB.
const HEADROOM: usize = 32 * MIB;
/// The last users are asked for again: what was used a moment ago is still there.
const RECENT: usize = 100;

/// Measures the client of the crate.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    check(options, world::user_client)
}

/// Measures whatever `make` makes.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, make: MakeUserSource) -> Result<Outcome, Fault> {
    let (users, cache) = (options.number(&USERS)?, options.number(&CACHE_MIB)? * MIB);
    let token_bytes = options.number(&TOKEN_BYTES)?;
    let limit = cache + HEADROOM;
    Builder::new_current_thread().enable_time().build()?.block_on(async {
        let sts = Arc::new(Sts::new(Behaviour::AT_ONCE, token_bytes, Random::new(options.seed)));
        let source = make(sts.clone(), Arc::new(WorldClock::new()), cache)?;
        let request = world::request("https://graph.microsoft.com/User.Read")?;
        let (mut wrong, mut errors) = (0, 0);
        let start = world::resident();
        let mut peak = start;
        for number in 0..users {
            let (user, raw) = user(number);
            let assertion = world::user_token(TENANT, &user, EPOCH + 86_400, raw.clone())?;
            match source.on_behalf_of(assertion).get_token(&request).await {
                Ok(token) => {
                    let owner = Issued::read(&token).is_some_and(|issued| issued.owner == raw.trim_end_matches('.'));
                    wrong += u64::from(!owner);
                }
                Err(_) => errors += 1,
            }
            if number % 1000 == 0 {
                peak = peak.max(world::resident());
            }
        }
        peak = peak.max(world::resident());
        let sent = sts.requests();
        for number in users.saturating_sub(RECENT)..users {
            let (user, raw) = user(number);
            let assertion = world::user_token(TENANT, &user, EPOCH + 86_400, raw)?;
            source.on_behalf_of(assertion).get_token(&request).await?;
        }
        let missed = sts.requests() - sent;
        let growth = peak.saturating_sub(start);
        Ok(Outcome::new(mib(growth), mib(limit))
            .require("memory grows by at most 32 MiB more than the cache may hold", growth <= limit)
            .require("every user gets a token of their own", wrong == 0 && errors == 0)
            .require("every new user costs one request", sent == users as u64)
            .require("recent users are still in the cache", missed == 0)
            .note("users", users)
            .note("cache_mib", mib(cache))
            .note("token_bytes", token_bytes)
            .note("tokens_mib", mib(users * token_bytes))
            .note("requests", sent)
            .note("start_mib", mib(start))
            .note("recent_missed", missed))
    })
}

/// A user and the text of their token, two kilobytes of it.
fn user(number: usize) -> (String, String) {
    (format!("dddddddd-0000-0000-0000-{number:012}"), format!("u{number:.<2000}"))
}

fn mib(bytes: usize) -> f64 {
    (bytes as f64 / MIB as f64 * 10.0).round() / 10.0
}
