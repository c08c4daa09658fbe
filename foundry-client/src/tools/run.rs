//! The loop: ask the agent, run the functions it calls, tell it the results, until it answers.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::timeout;
use tracing::Instrument;

use crate::client::{Error, FoundryClient, Target};
use crate::decision::{ApprovalRequest, ConsentRequest};
use crate::events::{ResponseEvent, word};
use crate::input::InputItem;
use crate::item::FunctionCall;
use crate::items::Item;
use crate::request::CreateResponse;
use crate::response::Response;
use crate::tool::Tool;
use crate::tools::{ToolFunction, ToolSet};

/// How long a conversation is put right after the loop was cut short.
const SETTLE: Duration = Duration::from_secs(5);

/// Lets an agent answer with the help of functions.
///
/// Every call gets a result, be it that it failed: a call without one would make the conversation unusable. Functions of
/// one round run at the same time unless one is [alone](ToolFunction::alone).
///
/// ```no_run
/// # use foundry_client::tools::{ToolError, ToolFunction, ToolLoop, ToolSet};
/// # use foundry_client::{CreateResponse, FoundryClient};
/// # async fn example(client: FoundryClient) -> Result<(), Box<dyn std::error::Error>> {
/// #[derive(serde::Deserialize, schemars::JsonSchema)]
/// struct Where {
///     city: String,
/// }
/// let weather = ToolFunction::typed("get_weather", "The weather of now", async |place: Where| {
///     Ok::<_, ToolError>(format!("rain in {}", place.city))
/// })?;
/// let functions = ToolSet::new().with(weather);
/// let request = CreateResponse::new().agent("helpdesk").text("Do I need an umbrella in Ghent?");
/// let outcome = ToolLoop::new(&client, &functions).run(request).await?;
/// for request in outcome.approvals() {
///     println!("may {} run {}?", request.server_label, request.tool);
/// }
/// println!("{}", outcome.response.answer_text());
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct ToolLoop<'a> {
    client: &'a FoundryClient,
    functions: &'a ToolSet,
    max_rounds: u32,
    timeout: Duration,
    parallel: usize,
}

/// How the loop ended: with an answer, or with questions to the user.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Outcome {
    /// The last response.
    pub response: Response,
    /// How often the agent was asked.
    pub rounds: u32,
    /// What was run, in order.
    pub runs: Vec<ToolRun>,
    /// Results that the agent has not seen yet, because it also asks the user something. They must be part of the next
    /// request; [`follow_up`](Self::follow_up) takes care of it.
    pub pending: Vec<InputItem>,
    request: CreateResponse,
}

/// One run of a function.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ToolRun {
    /// The function, as the model named it.
    pub name: String,
    /// The call.
    pub call_id: String,
    /// How it went.
    pub result: ToolResult,
}

/// How a run of a function went.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ToolResult {
    /// It returned something.
    Done,
    /// It failed; the agent was told its text.
    Failed,
    /// It took too long.
    TimedOut,
    /// The arguments do not fit the schema; it did not run.
    BadArguments,
    /// There is no function of that name.
    Unknown,
}

/// Why the loop has no outcome.
#[non_exhaustive]
#[derive(Debug, thiserror::Error)]
pub enum ToolLoopError {
    /// A call to the service failed.
    #[error(transparent)]
    Foundry(#[from] Error),
    /// The agent still called functions after this many rounds.
    #[error("the agent still called functions after {0} rounds")]
    TooManyRounds(u32),
    /// The caller ended it.
    #[error("the turn was cancelled")]
    Cancelled,
}

impl Outcome {
    /// Remote tools that wait for the user's approval.
    #[must_use]
    pub fn approvals(&self) -> Vec<ApprovalRequest> {
        self.response.approval_requests()
    }

    /// Connections that wait for the user's sign-in.
    #[must_use]
    pub fn consents(&self) -> Vec<ConsentRequest> {
        self.response.consent_requests()
    }

    /// Whether the agent waits for the user.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        self.response.output.iter().any(is_question)
    }

    /// The next request with the user's decisions, and with the results the agent has not seen.
    #[must_use]
    pub fn follow_up(&self, decisions: impl IntoIterator<Item = InputItem>) -> CreateResponse {
        let input = self.pending.iter().cloned().chain(decisions).collect();
        self.request.follow_up(&self.response.id, input)
    }
}

fn is_question(item: &Item) -> bool {
    matches!(item, Item::McpApprovalRequest(_) | Item::OAuthConsentRequest(_))
}

impl<'a> ToolLoop<'a> {
    /// A loop with these functions: at most 8 rounds, 30 s a run, 8 runs at the same time.
    pub fn new(client: &'a FoundryClient, functions: &'a ToolSet) -> Self {
        Self { client, functions, max_rounds: 8, timeout: Duration::from_secs(30), parallel: 8 }
    }

    /// How often the agent is asked at most.
    pub fn max_rounds(mut self, rounds: u32) -> Self {
        self.max_rounds = rounds.max(1);
        self
    }

    /// The longest time of one run, for functions without a time of their own.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.timeout = time;
        self
    }

    /// How many functions run at the same time; 1 for one after the other.
    pub fn parallel(mut self, runs: usize) -> Self {
        self.parallel = runs.max(1);
        self
    }

    /// Runs the loop.
    ///
    /// A request without an agent is told the functions; an agent knows its own. Dropping the future drops the request
    /// under way, and with it the connection; it leaves calls without results. [`run_until`](Self::run_until) ends
    /// cleanly.
    ///
    /// # Errors
    ///
    /// See [`ToolLoopError`].
    pub async fn run(&self, request: CreateResponse) -> Result<Outcome, ToolLoopError> {
        self.run_until(request, |_| {}, std::future::pending()).await
    }

    /// Runs the loop, shows its events as they come, and ends it when `cancel` is ready.
    ///
    /// Cancelled: the functions under way are dropped, the stream is closed, a background response is cancelled at the
    /// service, and open calls in a conversation get a result that says so, so that its next turn works.
    ///
    /// # Errors
    ///
    /// See [`ToolLoopError`].
    pub async fn run_until(
        &self,
        request: CreateResponse,
        mut on_event: impl FnMut(&ResponseEvent) + Send,
        cancel: impl Future<Output = ()> + Send,
    ) -> Result<Outcome, ToolLoopError> {
        let mut cancel = pin!(cancel);
        let mut request = self.declared(request);
        let mut runs = Vec::new();
        for round in 1..=self.max_rounds {
            let mut id = None;
            let Some(response) = until(cancel.as_mut(), self.respond(&request, &mut on_event, &mut id)).await else {
                self.stop(&request, id).await;
                return Err(ToolLoopError::Cancelled);
            };
            let response = response?;
            let calls = open_calls(&response);
            let waiting = response.output.iter().any(is_question);
            if calls.is_empty() {
                return Ok(Outcome { response, rounds: round, runs, pending: Vec::new(), request });
            }
            if round == self.max_rounds {
                self.settle(&request, &calls, "not run: too many rounds").await;
                break;
            }
            let Some(results) = until(cancel.as_mut(), self.call_all(&calls)).await else {
                self.settle(&request, &calls, "not run: the turn was cancelled").await;
                return Err(ToolLoopError::Cancelled);
            };
            let (outputs, done): (Vec<_>, Vec<_>) = results.into_iter().unzip();
            runs.extend(done);
            if waiting {
                return Ok(Outcome { response, rounds: round, runs, pending: outputs, request });
            }
            request = request.follow_up(&response.id, outputs);
        }
        Err(ToolLoopError::TooManyRounds(self.max_rounds))
    }

    fn declared(&self, request: CreateResponse) -> CreateResponse {
        if request.agent_name().is_some() || matches!(self.client.target(), Target::Agent(_)) {
            return request;
        }
        self.functions.declarations().fold(request, |request, tool| request.tool(&Tool::from(tool.clone())))
    }

    async fn respond(
        &self,
        request: &CreateResponse,
        on_event: &mut (impl FnMut(&ResponseEvent) + Send),
        id: &mut Option<String>,
    ) -> Result<Response, Error> {
        let mut stream = self.client.responses().stream(request.clone()).await?;
        while let Some(event) = stream.next().await {
            let event = event?;
            if id.is_none() {
                *id = stream.response_id().map(str::to_owned);
            }
            on_event(&event);
        }
        stream.finish().await
    }

    /// A response that goes on without a listener is stopped.
    async fn stop(&self, request: &CreateResponse, id: Option<String>) {
        if let Some(id) = id.filter(|_| request.is_background())
            && !matches!(timeout(SETTLE, self.client.responses().cancel(&id)).await, Ok(Ok(_)))
        {
            tracing::warn!(target: "foundry_client", "the response could not be cancelled");
        }
    }

    /// Gives open calls of a conversation a result.
    async fn settle(&self, request: &CreateResponse, calls: &[&FunctionCall], why: &str) {
        let Some(conversation) = request.conversation_id() else {
            return;
        };
        let text = json!({ "error": why }).to_string();
        let outputs = calls.iter().map(|call| InputItem::function_call_output(&call.call_id, &text));
        let items = self.client.items(conversation);
        for group in outputs.collect::<Vec<_>>().chunks(20) {
            if !matches!(timeout(SETTLE, items.create(group.iter().cloned())).await, Ok(Ok(_))) {
                tracing::warn!(target: "foundry_client", "open calls of a conversation got no result");
                return;
            }
        }
    }

    /// Runs the functions; the results are in the order of the calls.
    async fn call_all(&self, calls: &[&FunctionCall]) -> Vec<(InputItem, ToolRun)> {
        let mut results = Vec::with_capacity(calls.len());
        let alone = |call: &&&FunctionCall| self.functions.get(&call.name).is_some_and(|function| function.alone);
        let mut rest = calls;
        while let Some(first) = rest.first() {
            let together =
                if alone(&first) { 1 } else { rest.iter().take_while(|call| !alone(call)).count().min(self.parallel) };
            let (group, later) = rest.split_at(together);
            results.extend(join(group.iter().map(|call| self.call(call)).collect()).await);
            rest = later;
        }
        results
    }

    async fn call(&self, call: &FunctionCall) -> (InputItem, ToolRun) {
        let span = tracing::info_span!(
            target: "foundry_client",
            "foundry.tool",
            gen_ai.operation.name = "execute_tool",
            gen_ai.tool.name = word(&call.name),
            gen_ai.tool.call.id = word(&call.call_id),
            foundry.tool.result = tracing::field::Empty,
        );
        let (result, output) = match self.functions.get(&call.name) {
            None => (ToolResult::Unknown, Err("there is no such function".to_owned())),
            Some(function) => self.invoke(function, &call.arguments).instrument(span.clone()).await,
        };
        span.record("foundry.tool.result", result.as_str());
        let output = match output {
            Ok(Value::String(text)) => text,
            Ok(value) => value.to_string(),
            Err(text) => json!({ "error": text }).to_string(),
        };
        let run = ToolRun { name: call.name.clone(), call_id: call.call_id.clone(), result };
        (InputItem::function_call_output(&call.call_id, output), run)
    }

    async fn invoke(&self, function: &ToolFunction, arguments: &str) -> (ToolResult, Result<Value, String>) {
        // A function without arguments is called with nothing at all by some models.
        let arguments = if arguments.trim().is_empty() { "{}" } else { arguments };
        let Ok(arguments) = serde_json::from_str::<Value>(arguments) else {
            return (ToolResult::BadArguments, Err("the arguments are not JSON".to_owned()));
        };
        if let Err(violation) = function.schema.check(&arguments) {
            return (ToolResult::BadArguments, Err(format!("the arguments do not fit the schema: {violation}")));
        }
        let time = function.timeout.unwrap_or(self.timeout);
        match timeout(time, (function.run)(arguments)).await {
            Ok(Ok(value)) => (ToolResult::Done, Ok(value)),
            Ok(Err(error)) => (ToolResult::Failed, Err(error.to_string())),
            Err(_) => (ToolResult::TimedOut, Err(format!("no result within {} s", time.as_secs()))),
        }
    }
}

/// Calls without a result in the same response: hosted agents answer some themselves.
fn open_calls(response: &Response) -> Vec<&FunctionCall> {
    let answered = |id: &str| {
        response.output.iter().any(|item| matches!(item, Item::FunctionCallOutput(output) if output.call_id == id))
    };
    response.function_calls().filter(|call| !answered(&call.call_id)).collect()
}

/// The value of a future, or none when `cancel` is ready first.
async fn until<T>(mut cancel: Pin<&mut impl Future<Output = ()>>, work: impl Future<Output = T>) -> Option<T> {
    let mut work = pin!(work);
    poll_fn(|cx| {
        if cancel.as_mut().poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        work.as_mut().poll(cx).map(Some)
    })
    .await
}

/// Drives all futures in this task; the values are in their order.
async fn join<T>(futures: Vec<impl Future<Output = T>>) -> Vec<T> {
    let mut running: Vec<_> = futures.into_iter().map(|future| (Box::pin(future), None)).collect();
    poll_fn(|cx| {
        let mut open = false;
        for (future, value) in &mut running {
            if value.is_none() {
                match future.as_mut().poll(cx) {
                    Poll::Ready(done) => *value = Some(done),
                    Poll::Pending => open = true,
                }
            }
        }
        if open { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    running.into_iter().filter_map(|(_, value)| value).collect()
}

impl ToolResult {
    /// A stable word for logs and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Failed => "failed",
            Self::TimedOut => "timed_out",
            Self::BadArguments => "bad_arguments",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for ToolResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
