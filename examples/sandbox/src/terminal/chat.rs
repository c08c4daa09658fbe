//! The chat itself: where messages come from, and what is shown of an exchange.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::io::{AsyncBufReadExt as _, BufReader, Lines, Stdin, stdin};

use super::Hops;
use crate::channel::{Conversation, Exchange, Failure, Stage, Wait};

/// Where the user's messages come from.
#[derive(Debug)]
pub enum Messages {
    /// Given in advance; the chat ends after the last one.
    Given(Vec<String>),
    /// Typed at a terminal, until Ctrl-D.
    Typed,
}

/// What is played when nobody says anything: the third turn needs what the first one told.
const DEMONSTRATION: [&str; 3] =
    ["Hello! My name is Ada and my favourite colour is green.", "What can you do?", "What is my name?"];

impl Messages {
    /// The messages of the command line; without any, the lines of a piped stdin; when those are empty, a demonstration
    /// of three turns; at a terminal, what is typed.
    ///
    /// # Errors
    ///
    /// When stdin cannot be read.
    pub async fn of(given: Vec<String>) -> io::Result<Self> {
        if !given.is_empty() {
            return Ok(Self::Given(given));
        }
        if io::stdin().is_terminal() {
            return Ok(Self::Typed);
        }
        let mut lines = BufReader::new(stdin()).lines();
        let mut messages = Vec::new();
        while let Some(line) = next(&mut lines).await? {
            if !line.trim().is_empty() {
                messages.push(line);
            }
        }
        if messages.is_empty() {
            messages = DEMONSTRATION.map(str::to_owned).into();
        }
        Ok(Self::Given(messages))
    }
}

/// A chat of one Teams user with the bot.
#[derive(Debug)]
pub struct Chat {
    conversation: Conversation,
    hops: Hops,
}

impl Chat {
    /// A chat in this conversation. `placeholder` is the text that the bot replaces by its answer.
    pub fn new(conversation: &Conversation, hops: Hops, placeholder: &str) -> Self {
        let wait = Wait { placeholders: vec![placeholder.to_owned()], ..Wait::default() };
        Self { conversation: conversation.waiting(wait), hops }
    }

    /// Says every message and shows what comes back. Returns whether each was answered.
    ///
    /// # Errors
    ///
    /// When the terminal cannot be read or written.
    pub async fn run(&self, messages: Messages) -> io::Result<bool> {
        match messages {
            Messages::Given(messages) => {
                let mut all = true;
                for message in messages {
                    eprintln!("you> {message}");
                    all &= self.say(&message).await?;
                }
                Ok(all)
            }
            Messages::Typed => {
                eprintln!("Type a message; Ctrl-D ends the chat.");
                let mut lines = BufReader::new(stdin()).lines();
                loop {
                    eprint!("you> ");
                    io::stderr().flush()?;
                    let Some(line) = next(&mut lines).await? else { break };
                    self.say(&line).await?;
                }
                eprintln!();
                Ok(true)
            }
        }
    }

    async fn say(&self, message: &str) -> io::Result<bool> {
        self.hops.restart();
        let exchange = self.conversation.say(message).await;
        let mut out = io::stdout().lock();
        // Without an answer all that stands there is the placeholder.
        let text = if exchange.answered { exchange.text() } else { String::new() };
        if !text.is_empty() {
            writeln!(out, "{text}\n")?;
            out.flush()?;
        }
        let trouble = trouble(&exchange);
        if let Some(trouble) = &trouble {
            eprintln!("  {trouble}");
        }
        Ok(trouble.is_none())
    }
}

/// A line of stdin. Bytes that are no UTF-8 become question marks rather than an end of the chat.
async fn next(lines: &mut Lines<BufReader<Stdin>>) -> io::Result<Option<String>> {
    match lines.next_line().await {
        Err(error) if error.kind() == io::ErrorKind::InvalidData => Ok(Some("?".to_owned())),
        other => other,
    }
}

fn trouble(exchange: &Exchange) -> Option<String> {
    if let Some(failure) = exchange.posted.failure {
        return Some(match failure {
            Failure::NoEndpoint | Failure::Connect => "Teams could not reach the bot".to_owned(),
            Failure::Timeout => "the bot did not answer the request in time".to_owned(),
            Failure::Interrupted => "the bot's answer to the request was cut off".to_owned(),
        });
    }
    if !exchange.posted.is_success() {
        return Some(format!("the bot refused the message with status {}", exchange.posted.status));
    }
    if let Some(sign_in) = exchange.sign_in.as_ref().filter(|sign_in| sign_in.stage != Stage::Completed) {
        return Some(format!("a sign-in card is on the screen ({:?})", sign_in.stage));
    }
    (!exchange.answered).then(|| format!("no answer after {:.0} s", exchange.elapsed.as_secs_f64()))
}
