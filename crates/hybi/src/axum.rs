//! WebSockets in a server of axum's: the extractor of an opening handshake.
//!
//! It is [`upgrade`](mod@crate::upgrade) behind axum's traits, over HTTP/1 and HTTP/2, and judges
//! nothing by itself. Over HTTP/2 a handshake is a CONNECT: route it with `any`.

use std::fmt;

use axum_core::body::Body;
use axum_core::extract::{FromRequestParts, OptionalFromRequestParts};
use axum_core::response::{IntoResponse, Response};
use http::Request;
use http::request::Parts;

use crate::upgrade;

/// The opening handshake, as an argument of a handler; as an `Option` where the route serves plain
/// requests, too.
///
/// ```
/// use axum::{Router, response::Response, routing::any};
/// use hybi::{Request, Result, WebSocket, axum::Upgrade};
///
/// async fn echo(mut ws: WebSocket, _: Request<()>) -> Result<()> {
///     while let Some(message) = ws.recv().await? {
///         ws.send(message).await?;
///     }
///     Ok(())
/// }
///
/// async fn socket(upgrade: Upgrade) -> Response {
///     upgrade.protocols(["v1"]).on_upgrade(echo)
/// }
///
/// let app: Router = Router::new().route("/socket", any(socket));
/// ```
pub type Upgrade = upgrade::Upgrade<Body>;

/// The request is no opening handshake: it is answered 426.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection;

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Rejection> {
        take(parts).ok_or(Rejection)
    }
}

impl<S: Sync> OptionalFromRequestParts<S> for Upgrade {
    type Rejection = Rejection;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Option<Self>, Rejection> {
        Ok(take(parts))
    }
}

/// What stands beside it among the handler's arguments may need the head, too.
fn take(parts: &Parts) -> Option<Upgrade> {
    upgrade::upgrade(&mut Request::from_parts(parts.clone(), ()))
}

impl IntoResponse for Rejection {
    fn into_response(self) -> Response {
        upgrade::required()
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a WebSocket handshake was expected, and this is a plain request")
    }
}

impl std::error::Error for Rejection {}
