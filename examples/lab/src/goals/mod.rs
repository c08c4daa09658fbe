//! The goals: one claim each, a limit, and a command that measures it.
//!
//! Each module has `run`, which measures the crates, and `check`, which measures whatever it is given: the tests give it
//! things that do it wrong, so that no checker can pass without looking.

use crate::{Fault, Options, Outcome, Setting, fuzz, inbound, processes, turns};

pub mod blocked;
pub mod cancel;
pub mod conversations;
pub mod day;
pub mod dead_sts;
pub mod error_stampede;
pub mod isolation;
pub mod key_refresh;
pub mod kid_flood;
pub mod million_users;
pub mod refresh_behind;
pub mod stampede;

/// One row of the table.
#[derive(Debug)]
pub struct Goal {
    /// As on the command line.
    pub name: &'static str,
    /// Its number among the goals of reliability (`G`) and performance (`P`).
    pub id: &'static str,
    /// What is claimed, with the limit.
    pub claim: &'static str,
    /// How long the long form takes on two cores.
    pub takes: &'static str,
    /// What can be set, besides the seed.
    pub settings: &'static [Setting],
    /// Measures it.
    pub run: fn(&Options) -> Result<Outcome, Fault>,
}

/// All goals.
pub const ALL: &[Goal] = &[
    Goal {
        name: "stampede",
        id: "G1",
        claim: "10,000 concurrent cold callers of one key make exactly 1 token request",
        takes: "1 s",
        settings: &[stampede::CALLERS],
        run: stampede::run,
    },
    Goal {
        name: "error-stampede",
        id: "G2",
        claim: "10,000 callers of an endpoint that answers 503: at most 3 requests in 5 s, 10 in 60 s, a typed error each",
        takes: "3 s",
        settings: &[error_stampede::CALLERS, error_stampede::SECONDS],
        run: error_stampede::run,
    },
    Goal {
        name: "kid-flood",
        id: "G3",
        claim: "1,000,000 tokens with random key ids in an hour: at most 12 key requests, no false accept, p99 at most 2x",
        takes: "30 s",
        settings: &[kid_flood::TOKENS],
        run: kid_flood::run,
    },
    Goal {
        name: "garbage",
        id: "G4",
        claim: "requests without a good token: no outbound request, no signature, refused at 1.5x reading a header",
        takes: "60 s",
        settings: &[inbound::garbage::REQUESTS],
        run: inbound::garbage::run,
    },
    Goal {
        name: "dedupe",
        id: "G5",
        claim: "10,000 activities delivered 1 to 5 times to 3 replicas, shuffled: each runs exactly once, none is lost",
        takes: "2 s",
        settings: &[turns::dedupe::ACTIVITIES, turns::dedupe::REPLICAS, turns::REDIS],
        run: turns::dedupe::run,
    },
    Goal {
        name: "order",
        id: "G6",
        claim: "1,000 conversations x 20 turns: no overlap, no reorder, wall at most 1.2x the longest conversation",
        takes: "5 s",
        settings: &[turns::order::CONVERSATIONS, turns::order::TURNS, turns::REDIS],
        run: turns::order::run,
    },
    Goal {
        name: "million-users",
        id: "G7",
        claim: "1,000,000 users through the On-Behalf-Of cache of 64 MiB: resident memory grows by at most 96 MiB",
        takes: "40 s",
        settings: &[million_users::USERS, million_users::CACHE_MIB, million_users::TOKEN_BYTES],
        run: million_users::run,
    },
    Goal {
        name: "crash",
        id: "G8",
        claim: "2 brokers on one Redis, 200 SIGKILLs: no turn lost, none answered twice, at most 1 orphan a kill",
        takes: "6 min",
        settings: &[
            processes::crash::KILLS,
            processes::crash::LANES,
            processes::crash::ANSWERS,
            processes::crash::REST,
            processes::BROKER,
        ],
        run: processes::crash::run,
    },
    Goal {
        name: "day",
        id: "G9",
        claim: "24 hours with rotations, removals, outages, clock steps: no false accept or reject, no token error seen",
        takes: "15 s",
        settings: &[day::STEP],
        run: day::run,
    },
    Goal {
        name: "cancel",
        id: "G15",
        claim: "10,000 callers, 9 of 10 dropped at random: 1 request, no task left, the others get their token",
        takes: "1 s",
        settings: &[cancel::CALLERS],
        run: cancel::run,
    },
    Goal {
        name: "sigterm",
        id: "G17",
        claim: "SIGTERM during 500 turns: 503 within 100 ms, over within 25 s, exit code 0, no turn lost",
        takes: "100 s",
        settings: &[
            processes::sigterm::TURNS,
            processes::sigterm::REFUSAL_MS,
            processes::sigterm::STOP_MS,
            processes::sigterm::REST,
            processes::BROKER,
        ],
        run: processes::sigterm::run,
    },
    Goal {
        name: "exfil",
        id: "G18",
        claim: "300 hostile addresses at 5 doors: no request leaves for a host that is not allowed, no credential",
        takes: "5 s",
        settings: &[inbound::exfil::URLS],
        run: inbound::exfil::run,
    },
    Goal {
        name: "isolation",
        id: "G19",
        claim: "users x tenants x scopes x assertions, interleaved, with eviction and sign-outs: no wrong owner",
        takes: "10 s",
        settings: &[isolation::OPERATIONS],
        run: isolation::run,
    },
    Goal {
        name: "dead-sts",
        id: "G21",
        claim: "p99 of turns with a cached token while the token endpoint is dead: at most 1.25x",
        takes: "15 s",
        settings: &[dead_sts::TURNS],
        run: dead_sts::run,
    },
    Goal {
        name: "slowloris",
        id: "G23",
        claim: "2,000 clients that send a byte a second are cut off within 10 s; others' p99 2x, memory 64 MiB",
        takes: "20 s",
        settings: &[processes::slowloris::CLIENTS, processes::slowloris::SECONDS, processes::BROKER],
        run: processes::slowloris::run,
    },
    Goal {
        name: "key-refresh",
        id: "P1.4",
        claim: "a key refresh that hangs or fails delays no validation whose key is known",
        takes: "2 s",
        settings: &[key_refresh::TOKENS],
        run: key_refresh::run,
    },
    Goal {
        name: "blocked",
        id: "P2.4",
        claim: "no key waits for another key's fetch",
        takes: "1 s",
        settings: &[blocked::KEYS],
        run: blocked::run,
    },
    Goal {
        name: "refresh-behind",
        id: "P2.5",
        claim: "a token in its refresh window is served at once while exactly one refresh runs",
        takes: "1 s",
        settings: &[refresh_behind::CALLERS],
        run: refresh_behind::run,
    },
    Goal {
        name: "conversations",
        id: "P5.5",
        claim: "a turn costs at most 1.2x as much among 10,000 conversations as among 200",
        takes: "20 s",
        settings: &[conversations::TURNS, conversations::ROUNDS, conversations::MANY, conversations::VERY_MANY],
        run: conversations::run,
    },
    Goal {
        name: "fuzz",
        id: "G13",
        claim: "hostile input: no panic, no hang over 100 ms, no false accept, no empty token, no growth",
        takes: "240 s",
        settings: &[fuzz::TARGET, fuzz::ITERS, fuzz::THREADS],
        run: fuzz::run,
    },
];
