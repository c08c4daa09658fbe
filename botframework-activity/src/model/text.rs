use std::borrow::Cow;

use super::activity::Activity;
use super::entity::Mention;
use super::error::ModelError;

/// Mentions in the text.
impl Activity {
    /// Everybody who is mentioned, in order.
    ///
    /// # Errors
    /// [`ModelErrorKind::Shape`](crate::ModelErrorKind::Shape) when `entities` is no list of objects, or
    /// a mention's body is odd.
    pub fn mentions(&self) -> Result<Vec<Mention>, ModelError> {
        let mut mentions = Vec::new();
        for entity in self.entities()? {
            mentions.extend(entity.parse::<Mention>()?);
        }
        Ok(mentions)
    }

    /// Whether the receiver of this activity is mentioned: in a channel, whether the bot was addressed.
    /// Odd entities count as no mention.
    #[must_use]
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

    fn recipient_mentions(&self) -> impl Iterator<Item = Mention> {
        let recipient = self.recipient.as_ref().and_then(|account| account.id.as_deref());
        let entities = match recipient {
            Some(_) => self.entities().unwrap_or_default(),
            None => Vec::new(),
        };
        entities.into_iter().filter_map(move |entity| {
            let mention = entity.parse::<Mention>().ok()??;
            (mention.mentioned.as_ref()?.id.as_deref() == recipient).then_some(mention)
        })
    }
}

/// Teams leaves `&nbsp;` where a mention stood.
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
