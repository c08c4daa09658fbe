use std::borrow::Cow;

use super::activity::Activity;
use super::entity::Mention;
use super::error::ModelError;
use super::vocabulary::TextFormat;

/// Mentions in the text.
impl Activity {
    /// Everybody who is mentioned, in order.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when `entities` is no list of objects, or
    /// a mention's body is odd.
    #[inline]
    pub fn mentions(&self) -> Result<Vec<Mention>, ModelError> {
        let mut mentions = Vec::new();
        for entity in self.entities()? {
            mentions.extend(entity.read::<Mention>()?);
        }
        Ok(mentions)
    }

    /// Whether the receiver of this activity is mentioned: in a channel, whether the bot was addressed.
    /// Odd entities count as no mention.
    #[must_use]
    #[inline]
    pub fn mentions_recipient(&self) -> bool {
        self.recipient_mentions().next().is_some()
    }

    /// The text without the words that mention the receiver, and without spaces at both ends. Empty when
    /// there is no text. Mentions of others stay.
    ///
    /// ```
    /// use botframework_activity::Activity;
    ///
    /// let activity = Activity::from_json(br#"{
    ///     "type": "message", "text": "<at>Helper</at> what is <at>Ada</at> doing?\n",
    ///     "recipient": {"id": "28:bot"},
    ///     "entities": [
    ///         {"type": "mention", "text": "<at>Helper</at>", "mentioned": {"id": "28:bot"}},
    ///         {"type": "mention", "text": "<at>Ada</at>", "mentioned": {"id": "29:ada"}}
    ///     ]
    /// }"#)?;
    /// assert_eq!(activity.text_without_mentions(), "what is <at>Ada</at> doing?");
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn text_without_mentions(&self) -> Cow<'_, str> {
        let mut text = Cow::Borrowed(self.text.as_deref().unwrap_or_default());
        for mention in self.recipient_mentions() {
            let words = match (mention.text, mention.mentioned.and_then(|account| account.name)) {
                (Some(words), _) if !words.is_empty() => words,
                (_, Some(name)) if !name.is_empty() => format!("<at>{name}</at>"),
                _ => continue,
            };
            if text.contains(&words) {
                text = Cow::Owned(text.replace(&words, ""));
            }
        }
        let is_space = |c: char| c.is_whitespace() || c == '\u{200b}' || c == '\u{feff}';
        match text {
            Cow::Borrowed(text) => Cow::Borrowed(trim_entities(text.trim_matches(is_space))),
            Cow::Owned(text) => Cow::Owned(trim_entities(text.trim_matches(is_space)).to_owned()),
        }
    }

    /// The text as a person or a model should read it: without the words that mention the receiver, the names of others
    /// in plain words, no `<at>` tag of any spelling, plain spaces and line ends, nothing invisible, no spaces at both
    /// ends. In a group or a channel this is what a model gets.
    ///
    /// Character entities are decoded in names, and everywhere when `textFormat` is `xml`; `&nbsp;` always is.
    ///
    /// ```
    /// use botframework_activity::Activity;
    ///
    /// let activity = Activity::from_json(br#"{
    ///     "type": "message", "text": "<at>Helper</at>&nbsp;what is <at>Ada</at> doing?\r\n",
    ///     "recipient": {"id": "28:bot", "name": "Helper"},
    ///     "entities": [{"type": "mention", "text": "<at>Helper</at>", "mentioned": {"id": "28:bot"}}]
    /// }"#)?;
    /// assert_eq!(activity.prompt_text(), "what is Ada doing?");
    /// # Ok::<(), botframework_activity::ModelError>(())
    /// ```
    #[must_use]
    #[inline]
    pub fn prompt_text(&self) -> Cow<'_, str> {
        let text = self.text.as_deref().unwrap_or_default();
        if !text.contains(['<', '&', '\r', '\u{a0}']) && !text.contains(is_invisible) && self.entities.is_none() {
            return Cow::Borrowed(text.trim());
        }
        let mut text = text.replace("\r\n", "\n").replace('\r', "\n").replace("&nbsp;", " ").replace('\u{a0}', " ");
        text.retain(|c| !is_invisible(c));
        for mention in self.recipient_mentions() {
            if let Some(words) = mention.text.filter(|words| !words.is_empty()) {
                cut_words(&mut text, &words.replace("&nbsp;", " "));
            }
        }
        let own_name = self.recipient.as_ref().and_then(|account| account.name.as_deref()).unwrap_or_default();
        let mut text = without_tags(&text, own_name.trim());
        if self.text_format == Some(TextFormat::XML) {
            text = decoded(&text);
        }
        Cow::Owned(text.trim().to_owned())
    }

    #[inline]
    fn recipient_mentions(&self) -> impl Iterator<Item = Mention> {
        let recipient = self.recipient.as_ref().and_then(|account| account.id.as_deref());
        let entities = match recipient {
            Some(_) => self.entities().unwrap_or_default(),
            None => Vec::new(),
        };
        entities.into_iter().filter_map(move |entity| {
            let mention = entity.read::<Mention>().ok()??;
            (mention.mentioned.as_ref()?.id.as_deref() == recipient).then_some(mention)
        })
    }
}

/// Characters without width, but not those that join emoji.
#[inline]
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}' | '\u{2060}' | '\u{feff}' | '\u{200e}' | '\u{200f}' | '\u{ad}')
}

/// Removes words, and one of the two spaces around them.
#[inline]
fn cut_words(text: &mut String, words: &str) {
    let mut from = 0;
    while let Some(at) = text.get(from..).and_then(|rest| rest.find(words)).map(|at| from + at) {
        text.replace_range(at..at + words.len(), "");
        close_gap(text, at);
        from = at;
    }
}

/// Where something was removed between two spaces, one is left.
#[inline]
fn close_gap(text: &mut String, at: usize) {
    let space_before = text.get(..at).is_some_and(|before| before.is_empty() || before.ends_with([' ', '\n']));
    if space_before && text.get(at..).is_some_and(|after| after.starts_with(' ')) {
        text.remove(at);
    }
}

/// Names in place of `<at>…</at>`; nothing in place of the receiver's own.
#[inline]
fn without_tags(text: &str, own_name: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, tag)) = split_tag(rest) {
        out.push_str(before);
        let (name, after) = match find_ignoring_case(tag, "</at>") {
            Some(end) => (tag.get(..end).unwrap_or_default(), tag.get(end + 5..).unwrap_or_default()),
            None => ("", tag),
        };
        // A tag that is opened again before it is closed has no name.
        let name = split_tag(name).map_or(name, |(before, _)| before);
        let name = decoded(name);
        rest = after;
        if name.trim().eq_ignore_ascii_case(own_name) {
            let gap = out.is_empty() || out.ends_with([' ', '\n']);
            rest = if gap { rest.strip_prefix(' ').unwrap_or(rest) } else { rest };
        } else {
            out.push_str(&name);
        }
    }
    out.push_str(rest);
    while let Some(at) = find_ignoring_case(&out, "</at>") {
        out.replace_range(at..at + 5, "");
    }
    out
}

/// What stands before the next `<at …>`, and what after it.
#[inline]
fn split_tag(text: &str) -> Option<(&str, &str)> {
    let mut from = 0;
    loop {
        let at = from + find_ignoring_case(text.get(from..)?, "<at")?;
        let after = text.get(at + 3..)?;
        if after.starts_with(['>', ' ', '\t', '\n', '/']) {
            let end = after.find('>')?;
            return Some((text.get(..at)?, after.get(end + 1..)?));
        }
        from = at + 3;
    }
}

#[inline]
fn find_ignoring_case(text: &str, what: &str) -> Option<usize> {
    text.as_bytes().windows(what.len()).position(|window| window.eq_ignore_ascii_case(what.as_bytes()))
}

/// The five entities of XML.
#[inline]
fn decoded(text: &str) -> String {
    text.replace("&lt;", "<")
        .replace("&gt;", ">")
        .replace("&quot;", "\"")
        .replace("&#39;", "'")
        .replace("&apos;", "'")
        .replace("&amp;", "&")
}

/// Teams leaves `&nbsp;` where a mention stood.
#[inline]
fn trim_entities(mut text: &str) -> &str {
    loop {
        let shorter = text.strip_prefix("&nbsp;").unwrap_or(text);
        let shorter = shorter.strip_suffix("&nbsp;").unwrap_or(shorter).trim();
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ChannelAccount, RawJson};

    fn message(text: &str, entities: &str) -> Activity {
        let mut activity = Activity::message(text).with_recipient(ChannelAccount::new("28:b"));
        activity.entities = Some(RawJson::from_text(entities).unwrap());
        activity
    }

    const BOT: &str = r#"{"type":"mention","text":"<at>B</at>","mentioned":{"id":"28:b","name":"B"}}"#;

    #[test]
    fn the_bot_is_cut_and_others_stay() {
        let activity = message("<at>B</at>\u{a0} ask <at>B</at> <at>C</at>&nbsp;", &format!("[{BOT}]"));
        assert!(activity.mentions_recipient());
        assert_eq!(activity.text_without_mentions(), "ask  <at>C</at>");
        assert_eq!(activity.mentions().unwrap().len(), 1);
    }

    #[test]
    fn a_mention_without_text_goes_by_the_name() {
        let activity = message("<at>B</at> hi", r#"[{"type":"mention","mentioned":{"id":"28:b","name":"B"}}]"#);
        assert_eq!(activity.text_without_mentions(), "hi");
    }

    #[test]
    fn a_model_never_sees_a_tag() {
        let bot = r#"[{"type":"mention","text":"<at>B</at>","mentioned":{"id":"28:b","name":"B"}}]"#;
        for (text, expected) in [
            ("<at>B</at> hi", "hi"),
            ("hi <at>B</at>", "hi"),
            ("hi <at>B</at> there", "hi there"),
            ("<at>B</at>&nbsp;\u{a0}hi", "hi"),
            ("hi <at>B</at>, there", "hi , there"),
            ("<at id=\"0\">Ada &amp; Co</at> and <AT>Bo</AT>", "Ada & Co and Bo"),
            ("<at>A</at><at>B</at> x", "A x"),
            ("a <at>open", "a open"),
            ("a</at> b", "a b"),
            ("<at><at>B</at></at> x", "x"),
            ("<attach> 1 < 2 &lt; 3", "<attach> 1 < 2 &lt; 3"),
            ("one\r\ntwo\rthree\u{200b}", "one\ntwo\nthree"),
            ("  code\n    indented", "code\n    indented"),
        ] {
            let activity = message(text, bot);
            let text = activity.prompt_text();
            assert_eq!(text, expected);
            assert!(!text.to_lowercase().contains("<at>"), "{text}");
        }
        let mut unnamed = Activity::message("<at>Helper</at> hi <at>Ada</at>");
        unnamed.recipient = Some(ChannelAccount::new("28:b").with_name("Helper"));
        assert_eq!(unnamed.prompt_text(), "hi Ada", "no entity, but the receiver's name");
        let xml = Activity::message("1 &lt; 2 &amp;amp; 3").with_text_format(TextFormat::XML);
        assert_eq!(xml.prompt_text(), "1 < 2 &amp; 3");
        assert!(matches!(Activity::message("plain").prompt_text(), Cow::Borrowed("plain")));
        assert_eq!(Activity::typing().prompt_text(), "");
    }

    #[test]
    fn odd_entities_leave_the_text_alone() {
        for entities in ["[1]", "\"x\"", r#"[{"type":"mention","text":""}]"#, r#"[{"type":"mention","mentioned":1}]"#] {
            let activity = message(" <at>B</at> hi ", entities);
            assert_eq!(activity.text_without_mentions(), "<at>B</at> hi", "{entities}");
            assert!(!activity.mentions_recipient(), "{entities}");
        }
        assert_eq!(Activity::typing().text_without_mentions(), "");
    }

    #[test]
    fn nobody_is_mentioned_when_the_receiver_has_no_id() {
        let mut activity = message("<at>B</at> hi", r#"[{"type":"mention","text":"<at>B</at>","mentioned":{}}]"#);
        activity.recipient = Some(ChannelAccount::default());
        assert!(!activity.mentions_recipient());
        assert_eq!(activity.text_without_mentions(), "<at>B</at> hi");
    }
}
