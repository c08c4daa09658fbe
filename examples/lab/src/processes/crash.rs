//! G8: two brokers on one Redis, killed again and again in the middle of their work.
//!
//! What counts is what the sandbox's connector has seen in the end: every message answered, none twice, at most one
//! orphan placeholder a kill.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};
use m365_sandbox::{
    Author, Conversation, Entry, Fault as Failure, Sandbox, Teams, Wait,
    constants::{USER_ONE, USER_TWO},
};
use serde_json::Value;
use tokio::{task::JoinSet, time::sleep};

use super::{PLACEHOLDER, Program, RESPONSES, Redis, Replicas, Store};
use crate::{Fault, Options, Outcome, Random, Setting, world};

/// How often a process is killed.
pub const KILLS: Setting = Setting::new("kills", "200", "12");
/// How many conversations go on at the same time. Each turn that a kill hits can leave one orphan.
pub const LANES: Setting = Setting::new("lanes", "8", "8");
/// `short` answers in groups and personal chats, or `stream` in two personal chats, whose answers grow for seconds.
pub const ANSWERS: Setting = Setting::new("answers", "short", "short");
/// How many seconds are left for answers after the last kill: some leases run out one after the other.
pub const REST: Setting = Setting::new("rest", "90", "90");

/// How long a lost lease holds its lane, in seconds; renewed every third of it.
const LEASE: &str = "3";

/// What is killed in the middle of what.
struct Plan {
    lanes: usize,
    /// Milliseconds between two kills.
    pause: std::ops::Range<u64>,
    /// What messages begin with.
    prefix: &'static str,
}

/// Measures the broker.
///
/// # Errors
///
/// When the measurement itself fails, for example without Redis.
pub fn run(options: &Options) -> Result<Outcome, Fault> {
    let redis = Redis::start()?;
    check(options, &Program::find(options)?, Store::Shared(&redis))
}

/// Measures this program.
///
/// # Errors
///
/// When the measurement itself fails.
pub fn check(options: &Options, program: &Program, store: Store<'_>) -> Result<Outcome, Fault> {
    let kills = options.number(&KILLS)?;
    let plan = match options.text(&ANSWERS) {
        "short" => Plan { lanes: options.number(&LANES)?, pause: 400..2000, prefix: "" },
        "stream" => Plan { lanes: 2, pause: 4000..9000, prefix: "sandbox:slow-agent " },
        _ => return Err("--answers is short or stream".into()),
    };
    let rest = Duration::from_secs(options.number(&REST)? as u64);
    let mut random = Random::new(options.seed);
    world::real()?.block_on(async {
        let sandbox = Sandbox::builder().start().await?;
        // Long enough that kills hit turns in the middle.
        sandbox.fault(Failure::on(RESPONSES).delay(Duration::from_millis(150)));
        let replicas = Replicas::start(program, 2, &sandbox, store, &[("TURN_LEASE_SECONDS", LEASE)]).await?;
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
            let (over, random, prefix) = (Arc::clone(&over), random.fork(n as u64 + 1), plan.prefix);
            lanes.spawn(async move { talk(&teams, &conversation, prefix, random, &over).await });
        }
        let mut killing = async || -> Result<(), Fault> {
            for _ in 0..kills {
                let pause = plan.pause.start + random.below(plan.pause.end - plan.pause.start);
                sleep(Duration::from_millis(pause)).await;
                let victim = random.index(replicas.count());
                replicas.kill(victim)?;
                sleep(Duration::from_millis(random.below(300))).await;
                replicas.run(victim)?;
            }
            Ok(())
        };
        let killed = killing().await;
        over.store(true, Ordering::Relaxed);
        let conversations = lanes.join_all().await.into_iter().collect::<Result<Vec<_>, Fault>>()?;
        killed?;
        let count = settle(&conversations, rest).await;
        Ok(Outcome::new(count.lost + count.second, 0)
            .require("no turn is lost", count.lost == 0)
            .require("no turn is answered twice", count.second == 0)
            .require("no answer is an apology", count.apologies == 0)
            .require("at most one orphan placeholder a kill", count.orphans <= kills)
            .require("there was enough to hit", count.turns >= kills)
            .note("kills", kills)
            .note("turns", count.turns)
            .note("lost", count.lost)
            .note("second_answers", count.second)
            .note("apologies", count.apologies)
            .note("orphan_placeholders", count.orphans)
            .note("wrong", Value::from(count.wrong)))
    })
}

/// Writes messages until it is over. A message that is not taken is delivered again, as the channel does it; some are
/// delivered twice for no reason.
async fn talk(
    teams: &Teams,
    conversation: &Conversation,
    prefix: &str,
    mut random: Random,
    over: &AtomicBool,
) -> Result<Conversation, Fault> {
    let patient =
        Wait { placeholders: vec![PLACEHOLDER.to_owned()], first: Duration::from_secs(12), ..Wait::default() };
    let chat = conversation.waiting(patient);
    let hasty = Wait { first: Duration::ZERO, post: Duration::from_secs(5), ..Wait::default() };
    let mut n = 0;
    while !over.load(Ordering::Relaxed) {
        n += 1;
        let exchange = chat.say(&format!("{prefix}Message {n}")).await;
        let mut taken = exchange.posted.is_success();
        let mut again = u64::from(random.once_in(5));
        let start = Instant::now();
        while !taken || again > 0 {
            let transcript = chat.transcript();
            let message = transcript.iter().find(|entry| entry.id == exchange.activity_id);
            let message = &message.ok_or("a message is not in its own chat")?.activity;
            let json = HeaderValue::from_static("application/json");
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, json)]);
            let posted = teams.send_raw_waiting(headers, Bytes::from(message.to_string()), &hasty).await.posted;
            if taken {
                again -= 1;
            } else {
                taken = posted.is_success();
                sleep(Duration::from_millis(100)).await;
            }
            if start.elapsed() > Duration::from_secs(120) {
                return Err("nobody takes a message".into());
            }
        }
        sleep(Duration::from_millis(random.below(300))).await;
    }
    Ok(chat)
}

#[derive(Default)]
struct Count {
    turns: usize,
    lost: usize,
    second: usize,
    apologies: usize,
    orphans: usize,
    wrong: Vec<String>,
}

/// Counts until nothing is missing, or the time is up.
async fn settle(conversations: &[Conversation], rest: Duration) -> Count {
    let started = Instant::now();
    loop {
        let count = count(conversations);
        if count.lost == 0 || started.elapsed() > rest {
            // What would come twice comes now.
            sleep(Duration::from_secs(5).min(rest)).await;
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
            count.wrong.push(format!("{} answers to nothing: {id}", entries.len()));
        }
    }
    count
}
