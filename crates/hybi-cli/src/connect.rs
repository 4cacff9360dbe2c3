//! `hybi connect`: from the command line to a connection, and how that has ended.
//!
//! What happens in between is in [`talk`], and with `--reconnect` in [`session`].

use std::fs;
use std::io::{self, IsTerminal};
use std::path::Path;

use http::header::HOST;
use hybi::{
    Backoff, Client, ClientTls, CloseInfo, Connect, Deflate, Error, HandshakeError, Options, Proxy,
    WebSocket,
};

use crate::args;
use crate::escape::escape;
use crate::report::{Status, complain, say};
use crate::session;
use crate::talk::{self, End};

/// Talks until one side closes.
pub(crate) async fn run(args: args::Connect) -> Status {
    let again = args.reconnect;
    let connect = match connect(args) {
        Ok(connect) => connect,
        Err(Wrong(what, error)) => {
            complain(what, &*error);
            return Status::Usage;
        }
    };
    if again {
        let mut session = connect.reconnect(Backoff::new());
        let talked = session::talk(&mut session).await;
        return end(talked, session.close_info());
    }
    // Until here Ctrl-C ends the process by itself: there is nothing to close yet.
    let mut ws = match connect.await {
        Ok(ws) => ws,
        Err(error) => return not_connected(&error),
    };
    greet(&ws);
    let talked = talk::talk(&mut ws).await;
    end(talked, ws.close_info().as_ref())
}

/// An option that asks for what cannot be, and why it cannot.
struct Wrong(&'static str, Box<dyn std::error::Error>);

/// Says which option an error is about.
fn about<T, E: std::error::Error + 'static>(
    what: &'static str,
) -> impl Fn(Result<T, E>) -> Result<T, Wrong> {
    move |result| result.map_err(|error| Wrong(what, error.into()))
}

/// What the command line asks for.
fn connect(args: args::Connect) -> Result<Connect, Wrong> {
    let mut client = Client::new();
    if let Some(proxy) = &args.proxy {
        client = match proxy.as_str() {
            "env" => client.proxy_from_env(),
            url => client.proxy(about("--proxy")(Proxy::parse(url))?),
        };
    }
    if args.follow {
        client = client.redirects(REDIRECTS);
    }
    client = client.tls(tls(&args)?);
    let url = match &args.unix {
        Some(_) if has_user(&args.url) => {
            let why = "a URL with a user cannot be taken there; use --header 'Authorization: ...'";
            return Err(Wrong("--unix", why.into()));
        }
        Some(path) => at_socket(&args.url, path),
        None => args.url,
    };
    let mut connect = client.connect(url).http2(args.http2);
    for (name, value) in args.header {
        connect = match value.to_str() {
            Ok(host) if name == HOST => connect.host(host),
            _ => connect.header(name, value),
        };
    }
    for protocol in args.protocol {
        connect = connect.protocol(protocol);
    }
    if let Some(origin) = args.origin {
        connect = connect.origin(origin);
    }
    let deflate = (!args.no_deflate).then(|| Deflate::from(&args.deflate_options));
    Ok(connect.options(Options::new().deflate(deflate)))
}

fn tls(args: &args::Connect) -> Result<ClientTls, Wrong> {
    let mut tls = ClientTls::new();
    if let Some(path) = &args.cacert {
        let pem = about("--cacert")(fs::read(path))?;
        tls = about("--cacert")(tls.root_certificate_pem(pem))?;
    }
    if let (Some(cert), Some(key)) = (&args.cert, &args.key) {
        let chain = about("--cert")(fs::read(cert))?;
        let key = about("--key")(fs::read(key))?;
        tls = about("--cert and --key")(tls.identity_pem(chain, key))?;
    }
    if args.insecure {
        tls = tls.danger_accept_invalid_certs();
    }
    Ok(tls)
}

/// Whether the URL has a user name or a password.
fn has_user(url: &str) -> bool {
    let (_, rest) = url.split_once("://").unwrap_or_default();
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    authority.contains('@')
}

/// The same URL at a Unix socket, as far as it is one; what is not is said by the library.
fn at_socket(url: &str, path: &Path) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.to_owned();
    };
    let secure = matches!(scheme.to_ascii_lowercase().as_str(), "wss" | "https");
    let scheme = if secure { "wss+unix" } else { "ws+unix" };
    let target = rest.find(['/', '?', '#']).map_or("", |at| &rest[at..]);
    let slash = if target.starts_with('/') { "" } else { "/" };
    let mut socket = String::new();
    for b in path.as_os_str().as_encoded_bytes() {
        match b {
            b if b.is_ascii_alphanumeric() || b"/.-_".contains(b) => socket.push(char::from(*b)),
            b => socket.push_str(&format!("%{b:02X}")),
        }
    }
    format!("{scheme}:{socket}:{slash}{target}")
}

fn not_connected(error: &Error) -> Status {
    complain("not connected", error);
    match error {
        Error::Url(_) => Status::Usage,
        Error::Handshake(error) if is_usage(error) => Status::Usage,
        _ => Status::NotConnected,
    }
}

/// How it has ended.
fn end(talked: Result<bool, End>, info: Option<&CloseInfo>) -> Status {
    match talked {
        Ok(unsent) => farewell(info, unsent),
        Err(End::Deaf) => Status::Done,
        Err(End::Impatient) => {
            say(format_args!("hybi: stopped without waiting for the close"));
            Status::Failed
        }
        Err(End::Lost(error)) => {
            complain("connection lost", &error);
            Status::Failed
        }
        Err(End::Local(what, error)) => {
            complain(what, &error);
            Status::Failed
        }
    }
}

/// Whether the request could not even be made from the arguments.
fn is_usage(error: &HandshakeError) -> bool {
    matches!(
        error,
        HandshakeError::Options(_) | HandshakeError::Header(_)
    )
}

fn greet(ws: &WebSocket) {
    let protocol = ws
        .protocol()
        .map(|name| format!(", subprotocol {}", escape(name)));
    let protocol = protocol.unwrap_or_default();
    let hint = if io::stdin().is_terminal() {
        "; Ctrl-D closes"
    } else {
        ""
    };
    let compressed = match ws.extensions().deflate() {
        Some(_) => ", compressed",
        None => "",
    };
    say(format_args!("connected{protocol}{compressed}{hint}"));
}

/// Says how the connection was closed.
fn farewell(info: Option<&CloseInfo>, unsent: bool) -> Status {
    let Some(info) = info else {
        say(format_args!("hybi: connection lost"));
        return Status::Failed;
    };
    let code = info.code.to_string();
    let how = if info.clean { "" } else { ", not cleanly" };
    let colon = if info.reason.is_empty() { "" } else { ": " };
    say(format_args!(
        "closed{how} with {}{colon}{}",
        escape(&code),
        escape(&info.reason)
    ));
    match (info.clean, unsent) {
        (false, _) => Status::Failed,
        (true, true) => Status::Unsent,
        (true, false) => Status::Done,
    }
}

/// As many as browsers would follow, roughly.
const REDIRECTS: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_at_a_socket_keeps_its_path_and_its_scheme() {
        let at = |url| at_socket(url, Path::new("/tmp/a b:c.sock"));
        assert_eq!(at("ws://h/x?y"), "ws+unix:/tmp/a%20b%3Ac.sock:/x?y");
        assert_eq!(at("HTTPS://h:1"), "wss+unix:/tmp/a%20b%3Ac.sock:/");
        assert_eq!(at("ws://h?y"), "ws+unix:/tmp/a%20b%3Ac.sock:/?y");
        assert_eq!(at("no url"), "no url");
    }

    #[test]
    fn a_user_is_found_in_the_authority_only() {
        assert!(has_user("ws://user:secret@h/") && has_user("ws://user@h"));
        assert!(!has_user("ws://h/a@b") && !has_user("ws://h?@") && !has_user("no url"));
    }
}
