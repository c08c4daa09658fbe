use std::{
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use http::{Request, Response, header::AUTHORIZATION};
use tower_layer::Layer;
use tower_service::Service;

use crate::{AccessTokenValidator, RequestIdentity, TokenError, ValidatedToken, identity::refusal};

/// Lets requests through that carry a good bearer token, for any service that takes `http` requests.
///
/// The token is judged before the service sees the request. Others are answered with 401 or 403 and `WWW-Authenticate`
/// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750#section-3)); which rule was broken is in the log alone. Behind the
/// layer the token is in the request's extensions as [`RequestIdentity`] and, while the service works on the request, in
/// [`RequestIdentity::current`]. The request's body is not touched.
///
/// To be authenticated is not to be authorised: name the scope and the role that everyone must have, and let each
/// operation ask for more ([`UserToken::require_scope`](crate::UserToken::require_scope)).
///
/// ```
/// # fn layer(validator: entra_auth::AccessTokenValidator) -> entra_auth::BearerLayer {
/// use entra_auth::BearerLayer;
///
/// BearerLayer::new(validator).user_scope("access_as_user").app_role("Jobs.Run")
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct BearerLayer(Arc<Rules>);

#[derive(Clone, Debug)]
struct Rules {
    validator: AccessTokenValidator,
    user_scope: Option<String>,
    app_role: Option<String>,
}

impl BearerLayer {
    /// A layer that lets through what this validator accepts.
    #[must_use]
    pub fn new(validator: AccessTokenValidator) -> Self {
        Self(Arc::new(Rules { validator, user_scope: None, app_role: None }))
    }

    /// The scope that tokens of users must carry. Default: whatever the validator accepts.
    #[must_use]
    pub fn user_scope(self, scope: impl Into<String>) -> Self {
        self.change(|rules| rules.user_scope = Some(scope.into()))
    }

    /// The role that tokens of applications must carry. Default: whatever the validator accepts, which without
    /// [`app_callers`](crate::AccessTokenValidatorBuilder::app_callers) is none.
    #[must_use]
    pub fn app_role(self, role: impl Into<String>) -> Self {
        self.change(|rules| rules.app_role = Some(role.into()))
    }

    fn change(self, edit: impl FnOnce(&mut Rules)) -> Self {
        let mut rules = Arc::unwrap_or_clone(self.0);
        edit(&mut rules);
        Self(Arc::new(rules))
    }
}

impl Rules {
    async fn judge(&self, headers: &http::HeaderMap) -> Result<RequestIdentity, TokenError> {
        let token = self.validator.authenticate(headers).await?;
        match (&token, &self.user_scope, &self.app_role) {
            (ValidatedToken::User(user), Some(scope), _) => user.require_scope(scope)?,
            (ValidatedToken::App(app), _, Some(role)) => app.require_role(role)?,
            (ValidatedToken::User(_) | ValidatedToken::App(_), _, _) => {}
        }
        Ok(token.into())
    }
}

impl<S> Layer<S> for BearerLayer {
    type Service = BearerService<S>;

    fn layer(&self, inner: S) -> BearerService<S> {
        BearerService { inner, rules: Arc::clone(&self.0) }
    }
}

/// What [`BearerLayer`] makes of a service.
#[derive(Clone, Debug)]
pub struct BearerService<S> {
    inner: S,
    rules: Arc<Rules>,
}

impl<S, In, Out> Service<Request<In>> for BearerService<S>
where
    S: Service<Request<In>, Response = Response<Out>> + Clone + Send + 'static,
    S::Future: Send,
    In: Send + 'static,
    Out: Default,
{
    type Response = Response<Out>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Out>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<In>) -> Self::Future {
        // The one that is ready works on this request; its copy gets ready for the next.
        let copy = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, copy);
        let rules = Arc::clone(&self.rules);
        Box::pin(async move {
            match rules.judge(request.headers()).await {
                Ok(identity) => {
                    // Whoever prints the headers from here on does not print the token.
                    if let Some(value) = request.headers_mut().get_mut(AUTHORIZATION) {
                        value.set_sensitive(true);
                    }
                    request.extensions_mut().insert(identity.clone());
                    identity.scope(async move { inner.call(request).await }).await
                }
                Err(error) => Ok(refusal(&error)),
            }
        })
    }
}
