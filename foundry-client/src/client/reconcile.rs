//! After a create whose answer was lost: is the answer in the conversation?

use crate::client::Shared;
use crate::client::call::{Call, parse};
use crate::client::conversations::list_call;
use crate::client::error::{Delivery, Error};
use crate::client::lists::{ListItems, Order};
use crate::conversation::Page;
use crate::items::Item;
use crate::raw::RawJson;
use crate::request::CreateResponse;
use crate::response::Response;
use crate::vocabulary::{ItemStatus, Role};

impl Shared {
    /// The answer that the service stored although it failed to send it; `error` when there is none.
    pub(crate) async fn reconcile(
        &self,
        call: &Call,
        request: &CreateResponse,
        error: Error,
    ) -> Result<Response, Error> {
        let (Some(conversation), Some(anchor)) = (request.conversation_id(), request.answered_item_id()) else {
            return Err(error);
        };
        if error.delivery() != Delivery::Ambiguous {
            return Err(error);
        }
        // The service may still be writing; a deadline that has passed leaves no time to look.
        if let Some(wait) = self.retry.delay(1, error.retry_after()) {
            tokio::time::sleep_until((tokio::time::Instant::now() + wait).min(call.deadline())).await;
        }
        let query = ListItems::new().limit(100).order(Order::Ascending).after(anchor);
        let page: Page<Item> = match list_call(self, conversation, &query) {
            Ok(list) => match self.run(&list.until(call.deadline())).await.and_then(|reply| parse(&reply)) {
                Ok(page) => page,
                Err(_) => return Err(error),
            },
            Err(_) => return Err(error),
        };
        match answer(conversation, page) {
            Some(response) => {
                tracing::Span::current().record("foundry.reconciled", true);
                Ok(response)
            }
            None => Err(error),
        }
    }
}

/// The response made of the items behind our own, when a finished message of the agent is among them.
fn answer(conversation: &str, page: Page<Item>) -> Option<Response> {
    let mut items = Vec::new();
    let mut found = false;
    for item in page.data {
        match item.as_message() {
            // The next turn begins.
            Some(message) if message.role != Role::ASSISTANT && found => break,
            Some(message) if message.role != Role::ASSISTANT => continue,
            Some(message) => {
                let finished = message.status.as_ref().is_none_or(|status| *status == ItemStatus::COMPLETED);
                if !finished {
                    return None;
                }
                found |= !message.is_commentary();
            }
            None => {}
        }
        items.push(item);
    }
    if !found {
        return None;
    }
    let id = items.iter().rev().find_map(Item::response_id).unwrap_or_default();
    let json = serde_json::json!({
        "id": id, "object": "response", "status": "completed", "conversation": {"id": conversation}, "output": items,
    });
    Response::from_raw(RawJson::from_value(&json).ok()?).ok().map(Response::reconciled)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn found(items: &Value) -> Option<Response> {
        answer("conv_1", serde_json::from_value(json!({"data": items, "has_more": false})).unwrap())
    }

    fn message(role: &str, text: &str) -> Value {
        json!({"type": "message", "role": role, "response_id": "resp_9",
               "content": [{"type": "output_text", "text": text}]})
    }

    #[test]
    fn a_finished_message_of_the_agent_is_the_answer() {
        let response = found(&json!([message("user", "q"), {"type": "reasoning"}, message("assistant", "a")])).unwrap();
        assert_eq!((response.output_text().as_str(), response.id.as_str()), ("a", "resp_9"));
        assert_eq!(response.conversation_id.as_deref(), Some("conv_1"));
        assert!(response.is_reconciled() && response.output.len() == 2);
    }

    #[test]
    fn the_answer_of_the_next_turn_is_not_ours() {
        let items = json!([message("assistant", "a"), message("user", "q2"), message("assistant", "b")]);
        assert_eq!(found(&items).unwrap().output_text(), "a");
    }

    #[test]
    fn anything_less_is_no_answer() {
        let mut open = message("assistant", "a");
        open["status"] = json!("in_progress");
        let mut commentary = message("assistant", "a");
        commentary["phase"] = json!("commentary");
        for items in [
            json!([]),
            json!([message("user", "q")]),
            json!([{"type": "function_call", "call_id": "c", "name": "n"}]),
            json!([open]),
            json!([commentary]),
        ] {
            assert!(found(&items).is_none(), "{items}");
        }
    }
}
