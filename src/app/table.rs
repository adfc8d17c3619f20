//! Routes that cannot be declared without saying who may use them.

use axum::{
    Router,
    extract::FromRef,
    handler::Handler,
    http::Method,
    middleware::from_fn_with_state,
    routing::{MethodRouter, delete, get, patch, post},
};

use crate::{
    accounts::http::{Access, AccountsState, guard},
    knowledge::http::upload_limit,
};

/// A route as it was declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    /// `GET`, `POST`, …
    pub method: Method,
    /// With its parameters in braces: `/chat/{conversation}`.
    pub path: &'static str,
    /// Who may come in.
    pub access: Access,
}

/// Routes in the making: each stands behind the guard for its [`Access`], and on the list.
#[must_use]
pub struct Table<S> {
    state: S,
    router: Router<S>,
    list: Vec<Declared>,
}

impl<S> Table<S>
where
    S: Clone + Send + Sync + 'static,
    AccountsState: FromRef<S>,
{
    /// None yet.
    pub fn new(state: S) -> Self {
        Self { state, router: Router::new(), list: Vec::new() }
    }

    /// A route that reads.
    pub fn get<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::GET, path, access, get(handler))
    }

    /// A route that does something.
    pub fn post<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::POST, path, access, post(handler))
    }

    /// A route that takes files: their size is limited one by one, while they are read.
    pub fn upload<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::POST, path, access, post(handler).layer(upload_limit()))
    }

    /// A route that takes a file in pieces.
    pub fn patch<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::PATCH, path, access, patch(handler).layer(upload_limit()))
    }

    /// A route that removes something.
    pub fn delete<H: Handler<T, S>, T: 'static>(self, path: &'static str, access: Access, handler: H) -> Self {
        self.add(Method::DELETE, path, access, delete(handler))
    }

    /// The router, and every route in it.
    pub fn finish(self) -> (Router, Vec<Declared>) {
        (self.router.with_state(self.state), self.list)
    }

    fn add(mut self, method: Method, path: &'static str, access: Access, handler: MethodRouter<S>) -> Self {
        let guarded = (AccountsState::from_ref(&self.state), access);
        self.router = self.router.route(path, handler.layer(from_fn_with_state(guarded, guard)));
        self.list.push(Declared { method, path, access });
        self
    }
}
