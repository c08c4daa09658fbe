//! Two brokers on one Redis, killed again and again in the middle of their work. What counts is what the sandbox's
//! connector has seen in the end: every message answered, none twice, at most one orphan placeholder a kill.
//!
//! `CRASH_KILLS=200 cargo test --release -p broker --test crash -- --nocapture` is the long form.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, header};
use m365_sandbox::{
    Author, Conversation, Entry, Fault, Sandbox, Teams, Wait,
    constants::{USER_ONE, USER_TWO},
};
use serde_json::json;
use support::{PLACEHOLDER, RESPONSES, redis::Redis, replicas::Replicas};
use tokio::{task::JoinSet, time::sleep};

/// How long a lost lease holds its lane; renewed every third of it.
const LEASE: &str = "3";
/// The time of an answer after the last kill: some leases run out one after the other.
const REST: Duration = Duration::from_secs(90);

/// Random numbers from one seed.
struct Dice(AtomicU64);

impl Dice {
    fn below(&self, n: u64) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % n
    }
}

fn number(name: &str, default: u64) -> u64 {
    #[allow(clippy::disallowed_methods)] // how long the test takes is decided outside
    let text = std::env::var(name).ok();
    text.and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// What is killed in the middle of what.
struct Plan {
    name: &'static str,
    lanes: usize,
    kills: u64,
    /// Milliseconds between two kills.
    pause: std::ops::Range<u64>,
    /// What messages begin with.
    prefix: &'static str,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_kill_loses_a_turn_or_answers_twice() {
    let kills = number("CRASH_KILLS", 12);
    // Each turn that a kill hits can leave one orphan, so few run at a time.
    let lanes = usize::try_from(number("CRASH_LANES", 8)).unwrap();
    run(Plan { name: "G8", lanes, kills, pause: 400..2000, prefix: "" }).await;
}

/// Personal chats whose answers grow for some seconds.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_kill_in_the_middle_of_a_stream_does_either() {
    let kills = number("CRASH_STREAM_KILLS", 3);
    run(Plan { name: "G8 mid-stream", lanes: 2, kills, pause: 4000..9000, prefix: "sandbox:slow-agent " }).await;
}

async fn run(plan: Plan) {
    let Some(redis) = Redis::start() else { return };
    let kills = plan.kills;
    let seed = number("CRASH_SEED", RandomState::new().hash_one("crash"));
    let dice = Arc::new(Dice(AtomicU64::new(seed)));
    let sandbox = Sandbox::builder().start().await.unwrap();
    // Long enough that kills hit turns in the middle.
    sandbox.fault(Fault::on(RESPONSES).delay(Duration::from_millis(150)));
    let replicas = Replicas::start(2, &sandbox, &redis, &[("TURN_LEASE_SECONDS", LEASE)], &[]).await;

    let started = Instant::now();
    let over = Arc::new(AtomicBool::new(false));
    let mut lanes = JoinSet::new();
    for n in 0..plan.lanes {
        // Two personal chats, the rest are groups.
        let teams = sandbox.teams();
        let conversation = match n {
            0 => teams.user(USER_ONE).conversation(),
            1 => teams.user(USER_TWO).conversation(),
            _ => teams.user(USER_ONE).group(&format!("group {n}"), &[USER_TWO]),
        };
        let (over, dice) = (Arc::clone(&over), Arc::clone(&dice));
        let prefix = plan.prefix;
        lanes.spawn(async move { talk(&teams, &conversation, prefix, &dice, &over).await });
    }
    for _ in 0..kills {
        sleep(Duration::from_millis(plan.pause.start + dice.below(plan.pause.end - plan.pause.start))).await;
        let victim = usize::try_from(dice.below(replicas.count() as u64)).unwrap();
        replicas.kill(victim);
        sleep(Duration::from_millis(dice.below(300))).await;
        replicas.run(victim);
    }
    over.store(true, Ordering::Relaxed);
    let conversations = lanes.join_all().await;
    let count = settle(&conversations).await;

    let pass = count.lost == 0 && count.second == 0 && count.apologies == 0 && count.orphans <= kills;
    let value = json!({
        "kills": kills, "turns": count.turns, "lost": count.lost, "second_answers": count.second,
        "apologies": count.apologies, "orphan_placeholders": count.orphans, "seed": seed,
        "seconds": started.elapsed().as_secs(),
    });
    let limit = json!({"lost": 0, "second_answers": 0, "apologies": 0, "orphan_placeholders": kills});
    println!("{}", json!({"goal": plan.name, "value": value, "limit": limit, "pass": pass}));
    assert!(pass, "{:#?}", count.wrong);
    assert!(count.turns >= kills, "there was enough to hit");
}

/// Writes messages until the test is over. A message that is not taken is delivered again, as the channel does it; some
/// are delivered twice for no reason.
async fn talk(
    teams: &Teams,
    conversation: &Conversation,
    prefix: &str,
    dice: &Dice,
    over: &AtomicBool,
) -> Conversation {
    let patient =
        Wait { placeholders: vec![PLACEHOLDER.to_owned()], first: Duration::from_secs(12), ..Wait::default() };
    let chat = conversation.waiting(patient);
    let hasty = Wait { first: Duration::ZERO, post: Duration::from_secs(5), ..Wait::default() };
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let exchange = chat.say(&format!("{prefix}Message {n}")).await;
        let mut taken = exchange.posted.is_success();
        let mut again = u64::from(dice.below(5) == 0);
        while !taken || again > 0 {
            let transcript = chat.transcript();
            let message = &transcript.iter().find(|entry| entry.id == exchange.activity_id).unwrap().activity;
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, "application/json".parse().unwrap())]);
            let body = Bytes::from(message.to_string());
            let posted = teams.send_raw_waiting(headers, body, &hasty).await.posted;
            if taken {
                again -= 1;
            } else {
                taken = posted.is_success();
                sleep(Duration::from_millis(100)).await;
            }
        }
        sleep(Duration::from_millis(dice.below(300))).await;
    }
    chat
}

#[derive(Default)]
struct Count {
    turns: u64,
    lost: u64,
    second: u64,
    apologies: u64,
    orphans: u64,
    wrong: Vec<String>,
}

/// Counts until nothing is missing, or the time is up.
async fn settle(conversations: &[Conversation]) -> Count {
    let started = Instant::now();
    loop {
        let count = count(conversations);
        if count.lost == 0 || started.elapsed() > REST {
            // What would come twice comes now.
            sleep(Duration::from_secs(5)).await;
            return self::count(conversations);
        }
        sleep(Duration::from_millis(250)).await;
    }
}

fn count(conversations: &[Conversation]) -> Count {
    let mut count = Count::default();
    for conversation in conversations {
        let transcript = conversation.transcript();
        let mut answers: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
        for entry in transcript.iter().filter(|entry| entry.author == Author::Bot && !entry.deleted) {
            if entry.streaming || entry.text() == PLACEHOLDER {
                count.orphans += 1;
            } else if entry.kind() == "message" {
                answers.entry(entry.reply_to.as_deref().unwrap_or_default()).or_default().push(entry);
            }
        }
        // A message that was delivered again stands there again.
        let users = transcript.iter().filter(|entry| entry.author == Author::User);
        for message in users.map(|entry| &*entry.id).collect::<BTreeSet<_>>() {
            count.turns += 1;
            let answers = answers.remove(message).unwrap_or_default();
            match &answers[..] {
                [] => count.lost += 1,
                [answer] if !answer.text().contains("I understood") => count.apologies += 1,
                [_] => continue,
                _ => count.second += 1,
            }
            let texts: Vec<_> = answers.iter().map(|answer| (answer.text(), answer.history.len())).collect();
            count.wrong.push(format!("{message}: {texts:?}"));
        }
        for (id, entries) in answers {
            count.second += 1;
            count.wrong.push(format!("an answer to nothing: {id}, {}", entries[0].text()));
        }
    }
    count
}
