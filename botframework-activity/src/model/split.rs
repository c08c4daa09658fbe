//! One long message as several short ones.

use super::activity::Activity;

impl Activity {
    /// The message in parts whose texts have at most `most` UTF-16 units each, in the order in which they are to be sent.
    ///
    /// Text is cut where a reader would: between paragraphs, else between lines, sentences, words. A block of code that is
    /// cut is closed and opened again, so that Markdown stays what it was. Attachments, suggested actions and entities go
    /// with the last part; id, conversation and addresses with each, except that only the first keeps its `id`. A text that
    /// is short enough is one part.
    ///
    /// Teams counts text in UTF-16. About 28 KB a message are safe there, JSON and all.
    ///
    /// ```
    /// use botframework_activity::Activity;
    ///
    /// let parts = Activity::message("The first paragraph.\n\nThe second one.\n\nThe third.").split(40);
    /// let texts: Vec<_> = parts.iter().filter_map(|part| part.text.as_deref()).collect();
    /// assert_eq!(texts, ["The first paragraph.", "The second one.\n\nThe third."]);
    /// ```
    #[must_use]
    #[inline]
    pub fn split(&self, most: usize) -> Vec<Self> {
        let parts = match self.text.as_deref() {
            Some(text) => split_text(text, most),
            None => Vec::new(),
        };
        if parts.len() < 2 {
            return vec![self.clone()];
        }
        let last = parts.len() - 1;
        let part = |(index, text): (usize, String)| {
            let mut part = self.clone();
            part.text = Some(text);
            if index > 0 {
                part.id = None;
            }
            if index < last {
                part.attachments.clear();
                part.suggested_actions = None;
                part.entities = None;
            }
            part
        };
        parts.into_iter().enumerate().map(part).collect()
    }
}

/// The shortest part that still has room for the marks of a code block.
const LEAST: usize = 32;

/// Cuts text into parts of at most `most` UTF-16 units (at least 32).
#[inline]
pub(crate) fn split_text(text: &str, most: usize) -> Vec<String> {
    let most = most.max(LEAST);
    let mut parts = Vec::new();
    let mut rest = text.trim_end();
    let mut open: Option<String> = None;
    while !rest.is_empty() {
        let opening = open.take().map(|fence| format!("{fence}\n")).unwrap_or_default();
        let room = most - units(&opening).min(most / 2);
        if units(rest) <= room {
            parts.push(opening + rest);
            break;
        }
        // Room to close a block of code that the cut would leave open.
        let cut = cut_before(rest, room - 4);
        let (head, tail) = rest.split_at(cut);
        open = open_fence(&opening, head);
        let mut part = opening + head.trim_end();
        if open.is_some() {
            part.push_str("\n```");
        }
        parts.push(part);
        rest = if open.is_some() { tail.trim_start_matches('\n') } else { tail.trim_start() };
    }
    if parts.is_empty() {
        parts.push(String::new());
    }
    parts
}

/// Where to cut so that what comes before has at most `room` UTF-16 units: never zero, always between characters.
#[inline]
fn cut_before(text: &str, room: usize) -> usize {
    let end = end_of(text, room);
    let head = text.get(..end).unwrap_or(text);
    // A cut that leaves less than a third of the room is not worth its place.
    let worth = |at: &usize| *at > end / 3;
    let after = |mark: &str| head.rfind(mark).map(|at| at + mark.len()).filter(worth);
    after("\n\n")
        .or_else(|| after("\n"))
        .or_else(|| [". ", "! ", "? ", "。"].iter().filter_map(|mark| after(mark)).max())
        .or_else(|| after(" "))
        .unwrap_or(end)
}

/// The byte after the last character that fits.
#[inline]
fn end_of(text: &str, room: usize) -> usize {
    let mut left = room;
    let fits = text.char_indices().take_while(|(_, c)| {
        let fits = c.len_utf16() <= left;
        left = left.saturating_sub(c.len_utf16());
        fits
    });
    match fits.last() {
        Some((at, c)) => at + c.len_utf8(),
        None => text.chars().next().map_or(0, char::len_utf8),
    }
}

/// The opening line of the code block that is open at the end of the text.
#[inline]
fn open_fence(before: &str, text: &str) -> Option<String> {
    let mut open: Option<&str> = None;
    for line in before.lines().chain(text.lines()) {
        let line = line.trim();
        if line.starts_with("```") {
            open = if open.is_some() { None } else { Some(line) };
        }
    }
    // An info string that is no name of a language is not repeated.
    open.map(|line| if line.len() <= 16 { line.to_owned() } else { "```".to_owned() })
}

#[inline]
fn units(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Attachment, ContentType};

    #[test]
    fn cuts_are_where_a_reader_would_cut() {
        let words = "word ".repeat(20);
        for (text, most, expected) in [
            ("short", 40, vec!["short"]),
            ("", 40, vec![""]),
            ("First paragraph.\n\nSecond paragraph.", 32, vec!["First paragraph.", "Second paragraph."]),
            (
                "A first line\nand a second line\nand a third",
                36,
                vec!["A first line\nand a second line", "and a third"],
            ),
            ("One sentence here. Another one there.", 32, vec!["One sentence here.", "Another one there."]),
        ] {
            assert_eq!(split_text(text, most), expected, "{text}");
        }
        assert!(split_text(&words, 40).iter().all(|part| !part.ends_with("wor") && part.len() <= 40));
    }

    #[test]
    fn a_block_of_code_stays_one() {
        let text = format!("Look:\n```rust\n{}```\nDone.", "let x = 1;\n".repeat(8));
        let parts = split_text(&text, 60);
        assert!(parts.len() > 2);
        for part in &parts {
            assert_eq!(part.matches("```").count() % 2, 0, "{part}");
            assert!(units(part) <= 60, "{part}");
        }
        assert!(parts[1].starts_with("```rust\nlet"), "{}", parts[1]);
    }

    #[test]
    fn what_is_not_text_comes_last_and_the_id_first() {
        let mut message = Activity::message("a ".repeat(100)).with_id("m-1");
        message.attachments.push(Attachment::linked(ContentType::from("image/png"), "https://a.example/b.png"));
        let parts = message.split(64);
        assert!(parts.len() > 2);
        assert_eq!(parts.iter().filter(|part| part.id.is_some()).count(), 1);
        assert_eq!(parts[0].id.as_deref(), Some("m-1"));
        assert!(parts[..parts.len() - 1].iter().all(|part| part.attachments.is_empty()));
        assert_eq!(parts[parts.len() - 1].attachments.len(), 1);
        assert_eq!(Activity::typing().split(64).len(), 1);
    }

    proptest! {
        #[test]
        fn nothing_is_lost_and_no_part_is_too_long(text in "[a-z .\n😀é]{0,400}", most in 32_usize..100) {
            let parts = split_text(&text, most);
            for part in &parts {
                prop_assert!(units(part) <= most, "{} > {most}", units(part));
            }
            let seen = |text: &str| text.chars().filter(|c| !c.is_whitespace()).collect::<String>();
            prop_assert_eq!(seen(&parts.concat()), seen(&text));
        }

        #[test]
        fn any_text_is_cut_without_a_panic(text in "\\PC{0,200}", most in 0_usize..80) {
            let parts = split_text(&text, most);
            prop_assert!(parts.iter().all(|part| units(part) <= most.max(LEAST)));
        }
    }
}
