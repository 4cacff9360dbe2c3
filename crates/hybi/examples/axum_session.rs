//! A server of axum's where a browser logs in, and whose WebSocket knows the session.
//!
//!     cargo run -p hybi --features axum --example axum_session [ADDRESS]
//!
//! Then open http://127.0.0.1:9001/ in a browser.
#![allow(clippy::print_stdout)] // it says where it listens

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{AppendHeaders, Html, IntoResponse, Response};
use axum::routing::{any, get, post};
use hybi::WebSocket;
use hybi::axum::Upgrade;
use tokio::net::TcpListener;

/// The users who are logged in, by their session.
type Sessions = Arc<Mutex<HashMap<String, String>>>;

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let addr = std::env::args().nth(1);
    let listener = TcpListener::bind(addr.as_deref().unwrap_or("127.0.0.1:9001")).await?;
    println!("listening on {}", listener.local_addr()?);
    let app = axum::Router::new()
        .route("/", get(|| async { Html(PAGE) }))
        .route("/login", post(login))
        .route("/logout", post(logout))
        .route("/chat", any(chat))
        .with_state(Sessions::default());
    Ok(axum::serve(listener, app).await?)
}

/// Would ask for a password.
async fn login(State(sessions): State<Sessions>, name: String) -> impl IntoResponse {
    let id = format!("{:032x}", rand::random::<u128>());
    let cookie = format!("session={id}; Path=/; HttpOnly; SameSite=Strict");
    let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.insert(id, name);
    AppendHeaders([(SET_COOKIE, cookie)])
}

async fn logout(State(sessions): State<Sessions>, headers: HeaderMap) {
    let mut sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    sessions.remove(session(&headers).unwrap_or_default());
}

/// A WebSocket for who is logged in.
async fn chat(State(sessions): State<Sessions>, headers: HeaderMap, upgrade: Upgrade) -> Response {
    let sessions = sessions.lock().unwrap_or_else(PoisonError::into_inner);
    match sessions.get(session(&headers).unwrap_or_default()).cloned() {
        Some(name) => upgrade.on_upgrade(|ws, _request| greet(ws, name)),
        None => (StatusCode::UNAUTHORIZED, "log in first").into_response(),
    }
}

async fn greet(mut ws: WebSocket, name: String) -> hybi::Result<()> {
    ws.send(format!("hello {name}")).await?;
    while let Some(message) = ws.recv().await? {
        let text = message.as_text().unwrap_or("something");
        ws.send(format!("{name} says {text}")).await?;
    }
    Ok(())
}

fn session(headers: &HeaderMap) -> Option<&str> {
    let cookies = headers.get(COOKIE)?.to_str().ok()?.split("; ");
    let mut sessions = cookies.filter_map(|cookie| cookie.strip_prefix("session="));
    sessions.next()
}

const PAGE: &str = r#"<!doctype html>
<title>hybi and axum</title>
<button onclick="login()">log in</button>
<button onclick="fetch('/logout', { method: 'POST' })">log out</button>
<button onclick="open_socket()">open a WebSocket</button>
<pre id="log"></pre>
<script>
const say = text => log.textContent += text + "\n"
const login = () => fetch("/login", { method: "POST", body: prompt("your name?") })
function open_socket() {
    const ws = new WebSocket(`ws://${location.host}/chat`)
    ws.onopen = () => ws.send("I am here")
    ws.onmessage = event => say(event.data)
    ws.onclose = event => say(`closed with ${event.code}`)
}
</script>"#;
