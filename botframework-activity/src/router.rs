use std::fmt;

use crate::invoke::InvokeKind;
use crate::{Activity, ActivityType, EventName, InvokeName, ModelError};

/// Finds the closure for an activity: by its type, by the name of an invoke, by the name of an event.
///
/// It is a table and nothing else: no middleware, no state, no order of calls. `C` is what a closure gets, a turn of
/// yours or the activity itself; `Out` is what it returns, a value or a future. What is most particular wins: a name,
/// then a type, then [`Router::otherwise`].
///
/// ```
/// use botframework_activity::{Activity, ActivityType, InvokeResponse, ModelError, Router, invoke};
///
/// let router: Router<Activity, Result<InvokeResponse, ModelError>> = Router::new()
///     .on(ActivityType::MESSAGE, |_message| Ok(InvokeResponse::new(202)))
///     .on_invoke::<invoke::TaskFetch>(|request, _activity| {
///         let theme = request?.context.and_then(|context| context.theme).unwrap_or_default();
///         invoke::respond::<invoke::TaskFetch>(&invoke::TaskAnswer::message(theme))
///     })
///     .otherwise(|_activity| Ok(InvokeResponse::not_implemented()));
///
/// let activity = Activity::from_json(br#"{"type":"invoke","name":"task/fetch","value":{"context":{"theme":"dark"}}}"#)?;
/// let response = router.route(activity).map_err(|_unhandled| "no handler").unwrap()?;
/// assert_eq!(response.body.unwrap().get(), r#"{"task":{"type":"message","value":"dark"}}"#);
/// # Ok::<(), ModelError>(())
/// ```
///
/// With asynchronous handlers `Out` is a boxed future:
///
/// ```
/// use std::{future::Future, pin::Pin};
/// use botframework_activity::{Activity, ActivityType, Router};
///
/// type Answer = Pin<Box<dyn Future<Output = String> + Send>>;
///
/// async fn hello(activity: Activity) -> String {
///     format!("You said {}", activity.prompt_text())
/// }
///
/// let router = Router::<Activity, Answer>::new().on(ActivityType::MESSAGE, |activity| Box::pin(hello(activity)));
/// ```
pub struct Router<C, Out> {
    routes: Vec<(Route, Handler<C, Out>)>,
    otherwise: Option<Handler<C, Out>>,
}

/// A closure of a [`Router`].
pub type Handler<C, Out> = Box<dyn Fn(C) -> Out + Send + Sync>;

#[derive(Debug, PartialEq, Eq)]
enum Route {
    Type(ActivityType),
    Invoke(InvokeName),
    Event(EventName),
}

impl Route {
    #[inline]
    fn fits(&self, activity: &Activity) -> bool {
        let named = |kind: ActivityType, name: &str| activity.kind == kind && activity.name.as_deref() == Some(name);
        match self {
            Self::Type(kind) => activity.kind == *kind,
            Self::Invoke(name) => named(ActivityType::INVOKE, name.as_str()),
            Self::Event(name) => named(ActivityType::EVENT, name.as_str()),
        }
    }

    #[inline]
    fn is_type(&self) -> bool {
        matches!(self, Self::Type(_))
    }
}

impl<C: 'static, Out: 'static> Router<C, Out> {
    /// An empty table.
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self { routes: Vec::new(), otherwise: None }
    }

    /// Calls this closure for activities of this type. A closure that was set for it before is replaced.
    #[must_use]
    #[inline]
    pub fn on(self, kind: ActivityType, handler: impl Fn(C) -> Out + Send + Sync + 'static) -> Self {
        self.with(Route::Type(kind), Box::new(handler))
    }

    /// Calls this closure for invokes with this name.
    #[must_use]
    #[inline]
    pub fn on_invoke_named(self, name: InvokeName, handler: impl Fn(C) -> Out + Send + Sync + 'static) -> Self {
        self.with(Route::Invoke(name), Box::new(handler))
    }

    /// Calls this closure for events with this name.
    #[must_use]
    #[inline]
    pub fn on_event(self, name: EventName, handler: impl Fn(C) -> Out + Send + Sync + 'static) -> Self {
        self.with(Route::Event(name), Box::new(handler))
    }

    /// Calls this closure for invokes of kind `K`, with the request. An error says that the value is of another shape:
    /// answer 400.
    #[must_use]
    #[inline]
    pub fn on_invoke<K: InvokeKind>(
        self,
        handler: impl Fn(Result<K::Request, ModelError>, C) -> Out + Send + Sync + 'static,
    ) -> Self
    where
        C: AsRef<Activity>,
    {
        let typed = move |context: C| {
            let request = context.as_ref().invoke_as::<K>().and_then(|request| match request {
                Some(request) => Ok(request),
                None => Err(ModelError::of_kind(crate::ModelErrorKind::Shape)),
            });
            handler(request, context)
        };
        self.with(Route::Invoke(K::NAME), Box::new(typed))
    }

    /// Calls this closure for everything else.
    #[must_use]
    #[inline]
    pub fn otherwise(mut self, handler: impl Fn(C) -> Out + Send + Sync + 'static) -> Self {
        self.otherwise = Some(Box::new(handler));
        self
    }

    /// The closure for an activity; `None` when there is none.
    #[must_use]
    #[inline]
    pub fn find(&self, activity: &Activity) -> Option<&Handler<C, Out>> {
        let find = |by_type: bool| {
            let mut routes = self.routes.iter();
            routes.find(|(route, _)| route.is_type() == by_type && route.fits(activity)).map(|(_, handler)| handler)
        };
        find(false).or_else(|| find(true)).or(self.otherwise.as_ref())
    }

    /// Calls the closure for an activity.
    ///
    /// # Errors
    /// Gives the context back when there is no closure: answer an invoke with
    /// [`InvokeResponse::not_implemented`](crate::InvokeResponse::not_implemented), ignore anything else.
    #[inline]
    pub fn route(&self, context: C) -> Result<Out, C>
    where
        C: AsRef<Activity>,
    {
        match self.find(context.as_ref()) {
            Some(handler) => Ok(handler(context)),
            None => Err(context),
        }
    }

    #[inline]
    fn with(mut self, route: Route, handler: Handler<C, Out>) -> Self {
        self.routes.retain(|(other, _)| *other != route);
        self.routes.push((route, handler));
        self
    }
}

impl<C: 'static, Out: 'static> Default for Router<C, Out> {
    #[inline]
    fn default() -> Self {
        Self::new()
    }
}

/// Shows the table, not the closures.
impl<C, Out> fmt::Debug for Router<C, Out> {
    #[inline]
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router")
            .field("routes", &self.routes.iter().map(|(route, _)| route).collect::<Vec<_>>())
            .field("otherwise", &self.otherwise.is_some())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invoke;

    fn router() -> Router<Activity, String> {
        Router::new()
            .on(ActivityType::INVOKE, |_| "any invoke".to_owned())
            .on(ActivityType::MESSAGE, |activity: Activity| format!("message {}", activity.prompt_text()))
            .on_invoke::<invoke::SignInVerifyState>(|request, _| match request {
                Ok(request) => format!("state {}", request.state.unwrap_or_default()),
                Err(error) => error.to_string(),
            })
            .on_event(EventName::MEETING_START, |_| "meeting".to_owned())
    }

    fn route(router: &Router<Activity, String>, json: &str) -> Option<String> {
        router.route(Activity::from_json(json.as_bytes()).unwrap()).ok()
    }

    #[test]
    fn the_most_particular_closure_is_called() {
        let router = router();
        for (json, expected) in [
            (r#"{"type":"message","text":" hi "}"#, Some("message hi")),
            (r#"{"type":"invoke","name":"signin/verifyState","value":{"state":"123456"}}"#, Some("state 123456")),
            (
                r#"{"type":"invoke","name":"signin/verifyState","value":[]}"#,
                Some("unexpected JSON shape in `value` at line 1 column 0"),
            ),
            (r#"{"type":"invoke","name":"task/fetch"}"#, Some("any invoke")),
            (r#"{"type":"invoke"}"#, Some("any invoke")),
            (r#"{"type":"event","name":"application/vnd.microsoft.meetingStart"}"#, Some("meeting")),
            (r#"{"type":"event","name":"signin/verifyState"}"#, None),
            (r#"{"type":"typing"}"#, None),
        ] {
            assert_eq!(route(&router, json).as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_nobody_handles_comes_back_or_goes_to_otherwise() {
        let back = router().route(Activity::typing()).unwrap_err();
        assert_eq!(back.kind, ActivityType::TYPING);
        let router = router().otherwise(|activity| activity.kind.to_string());
        assert_eq!(router.route(Activity::typing()).unwrap(), "typing");
        assert!(format!("{router:?}").contains("verifyState"));
    }

    #[test]
    fn a_later_closure_replaces_the_earlier_one() {
        let router = router().on(ActivityType::MESSAGE, |_| "second".to_owned());
        assert_eq!(router.route(Activity::message("x")).unwrap(), "second");
    }
}
