//! What the agent said, read from the items that it made, and the message that shows it.

use std::ops::RangeInclusive;

use botframework_activity::{Activity, ModelError, ai};
use foundry_client::{
    ApprovalRequest, Citation, CitationSource, CitedText, ConsentRequest, Item, ResponseEvent, Role, item::Message,
};
use url::Url;

use crate::words;

/// The most sources that are shown with a message.
const MOST_SOURCES: usize = 20;
/// What sources of the service's own search are marked with in a text that is not finished.
const MARK: char = '【';

/// What the agent said and what it asks.
#[derive(Debug, Default)]
pub(crate) struct Said {
    pub(crate) text: CitedText,
    pub(crate) approvals: Vec<ApprovalRequest>,
    pub(crate) consents: Vec<ConsentRequest>,
}

impl Said {
    /// Reads the items of an answer, in order. Thinking aloud counts only when there is nothing else, and a refusal when
    /// there is no text.
    pub(crate) fn of<'a>(items: impl Iterator<Item = &'a Item> + Clone) -> Self {
        let messages = items.clone().filter_map(Item::as_message).filter(|message| message.role == Role::ASSISTANT);
        let mut text = CitedText::of(messages.clone().filter(|message| !message.is_commentary()));
        if text.text.trim().is_empty() {
            text = CitedText::of(messages.clone());
        }
        if text.text.trim().is_empty() {
            text.text = messages.clone().find_map(Message::refusal).unwrap_or_default().to_owned();
        }
        let approvals = items.clone().filter_map(ApprovalRequest::of).collect();
        let consents = items.filter_map(ConsentRequest::of).collect();
        Self { text, approvals, consents }
    }

    /// Whether the agent waits for the user.
    pub(crate) fn asks(&self) -> bool {
        !self.approvals.is_empty() || !self.consents.is_empty()
    }

    /// The message that shows it: the text with its sources, and the label of what a model wrote.
    pub(crate) fn message(&self, before: &str, after: &str) -> Result<Activity, ModelError> {
        let text = match self.text.text.as_str() {
            // An agent may come to nothing, for example after a tool call without a word; silence would look like a fault.
            text if text.trim().is_empty() && self.asks() => words::QUESTION,
            text if text.trim().is_empty() => words::NOTHING,
            text => text,
        };
        let numbers: RangeInclusive<i64> = 1..=i64::MAX;
        let sources = self.text.sources.iter().take(MOST_SOURCES).zip(numbers);
        let info =
            sources.fold(ai::MessageInfo::generated(), |info, (source, number)| info.cite(claim(number, source)));
        Activity::message([before, text, after].concat()).with_ai_info(&info)
    }
}

fn claim(number: i64, citation: &Citation) -> ai::Claim {
    let page = match &citation.source {
        CitationSource::Url(url) => Url::parse(url).ok().filter(is_linkable),
        _ => None,
    };
    let host = page.as_ref().and_then(Url::host_str);
    let name = citation.title.as_deref().or(host).unwrap_or(words::SOURCE);
    let claim = ai::Claim::new(number, name).summary(host.unwrap_or(name));
    match page {
        Some(page) => claim.url(page),
        None => claim,
    }
}

/// The address was found by the service's search or written by a model: only a plain web page becomes a link.
fn is_linkable(url: &Url) -> bool {
    url.scheme() == "https" && url.username().is_empty() && url.password().is_none() && url.host().is_some()
}

/// What of an answer grows before the user's eyes: everything up to the first mark of a source, which the finished answer
/// replaces by a number.
#[derive(Debug, Default)]
pub(crate) struct Growing {
    commentary: Vec<Option<u32>>,
    ended: bool,
}

impl Growing {
    /// What this event adds.
    pub(crate) fn more<'a>(&mut self, event: &'a ResponseEvent) -> Option<&'a str> {
        match event {
            ResponseEvent::OutputItemAdded(added) => {
                if added.item.as_message().is_some_and(Message::is_commentary) {
                    self.commentary.push(added.output_index);
                }
                None
            }
            ResponseEvent::OutputTextDelta(delta)
                if !self.ended && !self.commentary.contains(&delta.output_index()) =>
            {
                let text = delta.delta();
                let end = text.find(MARK);
                self.ended = end.is_some();
                text.get(..end.unwrap_or(text.len()))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use foundry_client::SseFrame;
    use serde_json::{Value, json};

    use super::*;

    fn items(list: Value) -> Vec<Item> {
        serde_json::from_value(list).unwrap()
    }

    fn message(text: &str, annotations: &Value) -> Value {
        let part = json!({"type": "output_text", "text": text, "annotations": annotations});
        json!({"type": "message", "role": "assistant", "status": "completed", "content": [part]})
    }

    #[test]
    fn sources_become_citations_and_only_web_pages_become_links() {
        let url = |url: &str, title: Option<&str>| {
            let mark = json!({"type": "url_citation", "url": url, "title": title, "start_index": 1, "end_index": 2});
            Said::of(items(json!([message("a【", &json!([mark]))])).iter()).message("", "").unwrap()
        };
        let info = |activity: &Activity| activity.entity::<ai::MessageInfo>().unwrap().unwrap();
        let good = url("https://docs.example/guide", Some("Guide"));
        assert!(info(&good).is_generated());
        let cited = info(&good).citation.remove(0);
        let shown = cited.appearance.unwrap();
        assert_eq!((cited.position, shown.name.as_deref()), (Some(1), Some("Guide")));
        assert_eq!(shown.url.as_deref(), Some("https://docs.example/guide"));
        assert_eq!(shown.summary.as_deref(), Some("docs.example"));
        for bad in
            ["http://docs.example/", "javascript:alert(1)", "https://u:p@docs.example/", "file:///etc/passwd", ""]
        {
            let shown = info(&url(bad, None)).citation.remove(0).appearance.unwrap();
            assert_eq!((shown.url, shown.name.as_deref()), (None, Some(words::SOURCE)), "{bad}");
        }
    }

    #[test]
    fn nothing_is_said_in_words_and_a_refusal_in_its_own() {
        let text = |list: Value| Said::of(items(list).iter()).message("", "").unwrap().text.unwrap();
        assert_eq!(text(json!([])), words::NOTHING);
        assert_eq!(text(json!([message(" ", &json!([]))])), words::NOTHING);
        let refusal = json!({"type": "refusal", "refusal": "No."});
        assert_eq!(text(json!([{"type": "message", "role": "assistant", "content": [refusal]}])), "No.");
        let mut aloud = message("hm", &json!([]));
        aloud["phase"] = "commentary".into();
        assert_eq!(text(json!([aloud, message("yes", &json!([]))])), "yes");
        assert_eq!(text(json!([aloud])), "hm");
        let asked =
            json!({"type": "mcp_approval_request", "id": "m", "server_label": "s", "name": "n", "arguments": "{}"});
        assert_eq!(text(json!([asked])), words::QUESTION);
    }

    #[test]
    fn an_answer_grows_up_to_its_first_mark() {
        let mut growing = Growing::default();
        let mut more = |event: Value| {
            let event = ResponseEvent::from_frame(SseFrame::new(None, event.to_string())).unwrap().unwrap();
            growing.more(&event).map(str::to_owned)
        };
        let mut delta = |slot: u32, text: &str| {
            more(json!({"type": "response.output_text.delta", "item_id": "m", "output_index": slot, "content_index": 0,
                        "delta": text, "sequence_number": 1}))
        };
        assert_eq!(delta(0, "It says ").as_deref(), Some("It says "));
        assert_eq!(delta(0, "so【4").as_deref(), Some("so"));
        assert_eq!(delta(0, ":0†map】 and more"), None);
        let aloud = json!({"type": "message", "role": "assistant", "phase": "commentary", "content": []});
        let mut growing = Growing::default();
        let mut more = |event: Value| {
            let event = ResponseEvent::from_frame(SseFrame::new(None, event.to_string())).unwrap().unwrap();
            growing.more(&event).map(str::to_owned)
        };
        more(json!({"type": "response.output_item.added", "output_index": 0, "item": aloud, "sequence_number": 1}));
        let delta = |slot: u32| {
            json!({"type": "response.output_text.delta", "item_id": "m", "output_index": slot,
                                       "content_index": 0, "delta": "x", "sequence_number": 2})
        };
        assert_eq!((more(delta(0)), more(delta(1)).as_deref()), (None, Some("x")));
    }
}
