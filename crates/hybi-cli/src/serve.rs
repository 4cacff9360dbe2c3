//! `hybi serve`: every message is sent back, and `GET /` is a page to try it.
//!
//! What goes to many is [`broadcast`]'s.

use std::error::Error as _;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hybi::{Deflate, Error, Heartbeat, Options, Origins, Server, ServerTls, WebSocket};

use crate::args::Serve;
use crate::broadcast;
use crate::escape::escape;
use crate::report::{Status, causes, complain, say};
use crate::stop::Stop;

/// Serves until Ctrl-C or SIGTERM; `program` is how the user calls this command.
pub(crate) async fn run(args: Serve, program: &str) -> Status {
    let (mut stop, mut again) = match Stop::new().and_then(|stop| Ok((stop, Stop::new()?))) {
        Ok(both) => both,
        Err(error) => {
            complain("signals cannot be handled", &error);
            return Status::Failed;
        }
    };
    let tls = match tls(&args) {
        Ok(tls) => tls,
        Err(error) => {
            complain("--tls-cert and --tls-key", &error);
            return Status::Usage;
        }
    };
    let mut server = match bind(&args).await {
        Ok(server) => server,
        Err(error) => {
            not_bound(&args, &error);
            return Status::Failed;
        }
    };
    let greeting = greeting(&server, &args, program);
    if let Some(tls) = tls {
        server = server.tls(tls);
    }
    let serving = broadcast::route(server, &args.broadcast)
        .options(options(&args))
        .origins(origins(&args))
        .fallback(|request: Request<()>| plain(&request))
        .serve_until(|ws, _request| echo(ws), stop.wish());
    let until_twice = async {
        match greeting {
            Ok(greeting) => greet(&greeting),
            Err(error) => complain("the address is not known", &error),
        }
        twice(&mut again).await;
    };
    tokio::select! {
        // Paths that cannot be served are told at once, and then there is nothing to greet for.
        biased;
        ended = serving => match ended {
            Ok(_) => Status::Done,
            Err(error) => {
                complain("the server failed", &error);
                Status::Failed
            }
        },
        // Who asks twice does not want to wait for the clients.
        () = until_twice => Status::Done,
    }
}

async fn bind(args: &Serve) -> Result<Server, Error> {
    #[cfg(unix)]
    if let Some(path) = &args.unix {
        return Server::bind_unix(path).await;
    }
    let builder = Server::builder().reuse_port(args.reuse_port);
    builder.bind((args.host.as_str(), args.port)).await
}

fn tls(args: &Serve) -> Result<Option<ServerTls>, Error> {
    let files = args.tls_cert.as_ref().zip(args.tls_key.as_ref());
    let tls = files.map(|(cert, key)| ServerTls::from_pem_files(cert, key));
    tls.transpose()
}

fn origins(args: &Serve) -> Origins {
    match args.origin.as_slice() {
        // Nothing here is worth protecting from other sites, and an echo server is for trying out.
        [] => Origins::Any,
        list => Origins::List(list.to_vec()),
    }
}

async fn twice(stop: &mut Stop) {
    stop.wish().await;
    stop.wish().await;
}

async fn echo(mut ws: WebSocket) -> Result<(), Error> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}

fn options(args: &Serve) -> Options {
    let mut options = Options::new();
    if let Some(bytes) = args.max_message {
        options = options.max_message(Some(bytes).filter(|&bytes| bytes > 0));
    }
    if let Some(time) = args.handshake_timeout {
        options = options.handshake_timeout(limit(time));
    }
    if let Some(time) = args.close_timeout {
        options = options.close_timeout(limit(time));
    }
    if let Some(time) = args.message_timeout {
        options = options.message_timeout(limit(time));
    }
    if let Some(time) = args.write_timeout {
        options = options.write_timeout(limit(time));
    }
    if args.deflate || args.deflate_options.is_given() {
        options = options.deflate(Deflate::from(&args.deflate_options));
    }
    if let Some(silence) = args.heartbeat.and_then(limit) {
        let heartbeat = Heartbeat::every(silence);
        options = options.heartbeat(match args.heartbeat_timeout {
            Some(time) => heartbeat.timeout(time),
            None => heartbeat,
        });
    }
    options
}

/// On the command line no time is no limit.
fn limit(time: Duration) -> Option<Duration> {
    Some(time).filter(|time| !time.is_zero())
}

/// Answers a request that is no WebSocket handshake.
fn plain(request: &Request<()>) -> Response<&'static str> {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = text(
            StatusCode::METHOD_NOT_ALLOWED,
            "only GET and HEAD are answered here\n",
        );
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/" => page(),
        _ => text(
            StatusCode::NOT_FOUND,
            "the page is at /, and a WebSocket is echoed at any path\n",
        ),
    }
}

fn page() -> Response<&'static str> {
    let mut response = text(StatusCode::OK, PAGE);
    for (name, value) in [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn text(status: StatusCode, body: &'static str) -> Response<&'static str> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    for (name, value) in [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ] {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

fn greeting(server: &Server, args: &Serve, program: &str) -> Result<String, Error> {
    if let Some(path) = &args.unix {
        let path = path.display();
        return Ok(format!(
            "hybi echoes at the Unix socket {path}\n\
             type in another terminal: {program} connect --unix {path} ws://localhost/\n"
        ));
    }
    let at = reachable(server.local_addr()?);
    let (ws, http) = match args.tls_cert {
        Some(_) => ("wss", "https"),
        None => ("ws", "http"),
    };
    let broadcasts = args
        .broadcast
        .iter()
        .map(|path| format!("hybi broadcasts at {ws}://{at}{path}\n"));
    Ok(format!(
        "hybi echoes at {ws}://{at}/\n{}\
         open in a browser: {http}://{at}/\n\
         or type in another terminal: {program} connect {ws}://{at}/\n",
        broadcasts.collect::<String>()
    ))
}

fn greet(greeting: &str) {
    let mut out = io::stdout().lock();
    // Nobody has to read this: a server whose stdout is closed goes on.
    let _ = writeln!(out, "{greeting}Ctrl-C stops");
    let _ = out.flush();
}

/// An address that a client on this machine can type: 0.0.0.0 is every address, and no address.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    address
}

fn not_bound(args: &Serve, error: &Error) {
    if let Some(path) = &args.unix {
        let path = path.display().to_string();
        let causes = causes(error);
        return say(format_args!(
            "hybi: cannot listen on {}: {}",
            escape(&path),
            escape(&causes)
        ));
    }
    let (host, port) = (&args.host, args.port);
    let advice = match io_kind(error) {
        Some(io::ErrorKind::AddrInUse) => {
            "; another program listens there: stop it, or take another port with --port (0 for any free one)"
        }
        Some(io::ErrorKind::PermissionDenied) => "; take a port from 1024 up with --port",
        Some(io::ErrorKind::AddrNotAvailable) => "; --host must be an address of this machine",
        _ => "",
    };
    say(format_args!(
        "hybi: cannot listen on {} port {port}: {}{advice}",
        escape(host),
        escape(&causes(error))
    ));
}

fn io_kind(error: &Error) -> Option<io::ErrorKind> {
    if let Error::Io(error) = error {
        return Some(error.kind());
    }
    let source = error.source()?.downcast_ref::<io::Error>()?;
    Some(source.kind())
}

const PAGE: &str = include_str!("page.html");

/// The page may use what stands in it and open a WebSocket, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
    img-src data:; connect-src 'self' ws: wss:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::args::{Args, Command};

    /// What the options of the command line make of the library's.
    fn chosen(line: &[&str]) -> String {
        let line = [&["hybi", "serve"], line].concat();
        match Args::try_parse_from(line)
            .expect("the line is valid")
            .command
        {
            Some(Command::Serve(serve)) => format!("{:?}", options(&serve)),
            other => panic!("not serve but {other:?}"),
        }
    }

    fn shown(options: &Options) -> String {
        format!("{options:?}")
    }

    #[test]
    fn each_time_sets_its_own_limit_and_zero_lifts_it() {
        let (new, second) = (Options::new, Duration::from_secs(1));
        let once = Heartbeat::every(second);
        for (line, library) in [
            (&[][..], new()),
            (
                &["--handshake-timeout", "1"],
                new().handshake_timeout(second),
            ),
            (&["--handshake-timeout", "0"], new().handshake_timeout(None)),
            (&["--close-timeout", "1"], new().close_timeout(second)),
            (&["--close-timeout", "0"], new().close_timeout(None)),
            (&["--message-timeout", "1"], new().message_timeout(second)),
            (&["--message-timeout", "0"], new().message_timeout(None)),
            (&["--write-timeout", "1"], new().write_timeout(second)),
            (&["--write-timeout", "0"], new().write_timeout(None)),
            (&["--heartbeat", "1"], new().heartbeat(once)),
            (&["--heartbeat", "0"], new()),
            (
                &["--heartbeat", "1", "--heartbeat-timeout", "1"],
                new().heartbeat(once.timeout(second)),
            ),
        ] {
            assert_eq!(chosen(line), shown(&library), "{line:?}");
        }
    }

    fn answer(method: Method, path: &'static str) -> Response<&'static str> {
        let mut request = Request::new(());
        *request.method_mut() = method;
        *request.uri_mut() = http::Uri::from_static(path);
        plain(&request)
    }

    #[test]
    fn the_page_is_at_the_root_only() {
        assert_eq!(answer(Method::GET, "/").status(), 200);
        assert_eq!(answer(Method::GET, "/?x").status(), 200);
        assert_eq!(answer(Method::GET, "/x").status(), 404);
    }

    #[test]
    fn other_methods_are_told_which_are_allowed() {
        let response = answer(Method::POST, "/");
        assert_eq!(response.status(), 405);
        assert_eq!(response.headers()[header::ALLOW], "GET, HEAD");
    }

    #[test]
    fn the_page_needs_nothing_from_outside() {
        for outside in ["http://", "https://", "src=", "@import", "url("] {
            let allowed = PAGE.replace("http://www.w3.org/2000/svg", "");
            assert!(!allowed.contains(outside), "{outside}");
        }
    }

    #[test]
    fn an_unspecified_address_is_shown_as_one_that_can_be_typed() {
        for (bound, shown) in [
            ("0.0.0.0:1", "127.0.0.1:1"),
            ("[::]:1", "[::1]:1"),
            ("10.0.0.7:1", "10.0.0.7:1"),
        ] {
            let bound: SocketAddr = bound.parse().expect("an address");
            assert_eq!(reachable(bound).to_string(), shown);
        }
    }
}
