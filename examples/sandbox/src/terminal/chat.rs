//! The chat itself: where messages come from, and what is shown of an exchange.

use std::io::{self, IsTerminal as _, Write as _};

use tokio::io::{AsyncBufRead, AsyncBufReadExt as _, AsyncReadExt as _, BufReader, stdin};

use super::Hops;
use crate::channel::{Conversation, Exchange, Failure, Stage, Wait};

/// Where the user's messages come from.
#[derive(Debug)]
pub enum Messages {
    /// Given in advance; the chat ends after the last one.
    Given(Vec<String>),
    /// The lines of a pipe or a file, each answered before the next is read; a demonstration when there is none.
    Piped,
    /// Typed at a terminal, until Ctrl-D.
    Typed,
}

/// Longest line of stdin, bytes. Teams takes less; a pipe that never sends the end of a line shall not fill the memory.
const LONGEST_LINE: usize = 1 << 20;

/// What is played when nobody says anything: the third turn needs what the first one told.
const DEMONSTRATION: [&str; 3] =
    ["Hello! My name is Ada and my favourite colour is green.", "What can you do?", "What is my name?"];

impl Messages {
    /// The messages of the command line; without any, the lines of a piped stdin; at a terminal, what is typed.
    #[must_use]
    pub fn of(given: Vec<String>) -> Self {
        match given.is_empty() {
            false => Self::Given(given),
            true if io::stdin().is_terminal() => Self::Typed,
            true => Self::Piped,
        }
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
            Messages::Given(messages) => self.say_all(&messages).await,
            Messages::Piped => {
                let mut stdin = BufReader::new(stdin());
                let (mut all, mut any) = (true, false);
                while let Some(line) = next(&mut stdin).await? {
                    if !line.trim().is_empty() {
                        any = true;
                        all &= self.say_all(&[line]).await?;
                    }
                }
                if any { Ok(all) } else { self.say_all(&DEMONSTRATION.map(str::to_owned)).await }
            }
            Messages::Typed => {
                eprintln!("Type a message; Ctrl-D ends the chat.");
                let mut stdin = BufReader::new(stdin());
                loop {
                    eprint!("you> ");
                    io::stderr().flush()?;
                    let Some(line) = next(&mut stdin).await? else { break };
                    self.say(&line).await?;
                }
                eprintln!();
                Ok(true)
            }
        }
    }

    async fn say_all(&self, messages: &[String]) -> io::Result<bool> {
        let mut all = true;
        for message in messages {
            eprintln!("you> {message}");
            all &= self.say(message).await?;
        }
        Ok(all)
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

/// A line without its end. Bytes that are no UTF-8 become replacement characters rather than an end of the chat.
async fn next<R: AsyncBufRead + Unpin>(stdin: &mut R) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    // One byte more than the limit tells a line that is too long from one that just fits.
    let read = stdin.take(LONGEST_LINE as u64 + 1).read_until(b'\n', &mut line).await?;
    if read == 0 {
        return Ok(None);
    }
    if read > LONGEST_LINE {
        let problem = "a line of standard input is longer than 1 MiB: a message is one line, end it with a newline";
        return Err(io::Error::new(io::ErrorKind::InvalidData, problem));
    }
    let line = line.strip_suffix(b"\n").unwrap_or(&line);
    let line = line.strip_suffix(b"\r").unwrap_or(line);
    Ok(Some(String::from_utf8_lossy(line).into_owned()))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn lines_of_any_bytes() {
        let mut stdin = &b"one\r\n\ntwo \xff\xfe three\nlast"[..];
        for expected in [Some("one"), Some(""), Some("two \u{fffd}\u{fffd} three"), Some("last"), None] {
            assert_eq!(next(&mut stdin).await.unwrap().as_deref(), expected);
        }
    }

    #[tokio::test]
    async fn a_line_without_end_is_an_error_and_not_all_memory() {
        let mut fits = vec![b'a'; LONGEST_LINE - 1];
        fits.push(b'\n');
        assert!(next(&mut &fits[..]).await.unwrap().is_some());
        let mut endless = BufReader::new(tokio::io::repeat(b'a'));
        let error = next(&mut endless).await.unwrap_err();
        assert!(error.to_string().contains("longer than 1 MiB"), "{error}");
    }
}
