//! The command line: what can be typed, what it means, what it defaults to.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, Subcommand};
use http::{HeaderName, HeaderValue};
use hybi::Deflate;

use crate::report::STATUSES;

/// WebSocket for the terminal: an echo server, and a client.
///
/// Without a command it starts `serve` on 127.0.0.1:9001.
#[derive(Parser, Debug)]
#[command(name = "hybi", version, after_help = STATUSES)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Subcommand, Debug)]
pub(crate) enum Command {
    Serve(Serve),
    Connect(Connect),
}

/// Echo every message of every WebSocket, and serve a page to try it at GET /.
#[derive(clap::Args, Debug)]
#[command(after_help = STATUSES)]
pub(crate) struct Serve {
    /// Name or address to listen on
    #[arg(long, default_value = HOST)]
    pub(crate) host: String,

    /// TCP port to listen on; 0 lets the system choose a free one
    #[arg(long, default_value_t = PORT)]
    pub(crate) port: u16,

    /// Largest message accepted, 0 for no limit [default: 16 MiB]
    #[arg(long, value_name = "BYTES")]
    pub(crate) max_message: Option<usize>,

    /// Time a client has for its handshake, 0 for no limit [default: 10]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) handshake_timeout: Option<Duration>,

    /// Time a client has to answer a close, 0 for no limit [default: 30]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) close_timeout: Option<Duration>,

    /// Time without a byte in the middle of a message, 0 for no limit [default: 60]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) message_timeout: Option<Duration>,

    /// Time in which a client takes no byte of what waits for it, 0 for no limit [default: 60]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) write_timeout: Option<Duration>,

    /// Silence after which a client is sent a ping, 0 for no heartbeat [default: 0]
    #[arg(long, value_name = "SECS", value_parser = seconds)]
    pub(crate) heartbeat: Option<Duration>,

    /// Time a client has to answer the ping of the heartbeat [default: 10]
    #[arg(long, value_name = "SECS", value_parser = some_seconds, requires = "heartbeat")]
    pub(crate) heartbeat_timeout: Option<Duration>,

    /// Compress messages for clients that offer it (permessage-deflate)
    #[arg(long)]
    pub(crate) deflate: bool,

    #[command(flatten)]
    pub(crate) deflate_options: DeflateOptions,

    /// Certificate chain in PEM, to serve wss: and https:
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    pub(crate) tls_cert: Option<PathBuf>,

    /// Its key in PEM
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    pub(crate) tls_key: Option<PathBuf>,

    /// Origin that may connect, as https://example.com; may be given again [default: any]
    #[arg(long, value_parser = origin)]
    pub(crate) origin: Vec<String>,

    /// Unix socket to listen on, instead of a port
    #[arg(long, value_name = "PATH", conflicts_with_all = ["host", "port"])]
    pub(crate) unix: Option<PathBuf>,

    /// Let other processes listen on the same port, and share the clients with them
    #[arg(long, conflicts_with = "unix")]
    pub(crate) reuse_port: bool,

    /// Path, as /chat or /rooms/{name}, where what a client sends goes to all that are connected
    /// to the same path, itself too, rather than back; may be given again
    ///
    /// A client that does not read what the others send is closed with 1013 when 1 MiB waits for
    /// it. Processes that share a port do not share their clients.
    #[arg(long, value_name = "PATH", value_parser = path)]
    pub(crate) broadcast: Vec<String>,

    /// Worker threads [default: one for each core]
    #[arg(long, value_name = "N", value_parser = threads)]
    pub(crate) threads: Option<usize>,
}

impl Default for Serve {
    fn default() -> Self {
        Serve {
            host: HOST.into(),
            port: PORT,
            max_message: None,
            handshake_timeout: None,
            close_timeout: None,
            message_timeout: None,
            write_timeout: None,
            heartbeat: None,
            heartbeat_timeout: None,
            deflate: false,
            deflate_options: DeflateOptions::default(),
            tls_cert: None,
            tls_key: None,
            origin: Vec::new(),
            unix: None,
            reuse_port: false,
            broadcast: Vec::new(),
            threads: None,
        }
    }
}

/// Send the lines of stdin as text messages, and print the messages that come, one a line.
///
/// Stdout gets messages only: control characters are written as \n or \u{1b}, and a binary message
/// as its size and first bytes. All else goes to stderr. Ctrl-D closes and prints what still
/// comes; Ctrl-C does too, and a second one does not wait.
#[derive(clap::Args, Debug)]
#[command(after_help = STATUSES)]
pub(crate) struct Connect {
    /// Where to connect to, as ws://127.0.0.1:9001/
    pub(crate) url: String,

    /// Header to add to the handshake; may be given again
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    pub(crate) header: Vec<(HeaderName, HeaderValue)>,

    /// Subprotocol to offer; may be given again, in order of preference
    #[arg(long, value_name = "NAME", value_parser = protocol)]
    pub(crate) protocol: Vec<String>,

    /// Origin to name in the handshake, as https://example.com
    #[arg(long, value_parser = origin)]
    pub(crate) origin: Option<String>,

    /// Proxy to connect through, as http://proxy:3128 or socks5://user:password@proxy:1080, or
    /// `env` for what HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY say
    #[arg(long, value_name = "URL|env")]
    pub(crate) proxy: Option<String>,

    /// Follow redirects, 10 of them at most
    #[arg(long)]
    pub(crate) follow: bool,

    /// Certificate in PEM of an authority to trust, too
    #[arg(long, value_name = "FILE")]
    pub(crate) cacert: Option<PathBuf>,

    /// Certificate chain in PEM, to show who we are
    #[arg(long, value_name = "FILE", requires = "key")]
    pub(crate) cert: Option<PathBuf>,

    /// Its key in PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    pub(crate) key: Option<PathBuf>,

    /// Trust any certificate: for tests, for anybody may listen then
    #[arg(long)]
    pub(crate) insecure: bool,

    /// Unix socket to connect to, instead of the URL's host and port
    #[arg(long, value_name = "PATH", conflicts_with = "proxy")]
    pub(crate) unix: Option<PathBuf>,

    /// Speak HTTP/2, to a server that is known to
    #[arg(long)]
    pub(crate) http2: bool,

    /// Connect again when the connection is lost, and keep what is typed until then
    #[arg(long)]
    pub(crate) reconnect: bool,

    /// Do not offer to compress messages
    #[arg(long, conflicts_with = "DeflateOptions")]
    pub(crate) no_deflate: bool,

    #[command(flatten)]
    pub(crate) deflate_options: DeflateOptions,
}

/// How messages are compressed; a server to which one of these is given does compress.
#[derive(clap::Args, Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct DeflateOptions {
    /// How hard to compress, 0 (not at all) to 9 [default: 6]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(0..=9))]
    deflate_level: Option<u8>,

    /// Largest window of either side, 9 to 15 bits [default: 12]
    #[arg(long, value_name = "BITS", value_parser = clap::value_parser!(u8).range(9..=15))]
    deflate_window_bits: Option<u8>,

    /// Memory of a compressor, 1 to 9 [default: 5]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=9))]
    deflate_mem_level: Option<u8>,

    /// Shortest message that is compressed [default: 128]
    #[arg(long, value_name = "BYTES")]
    deflate_threshold: Option<usize>,

    /// Compress each message for itself, both ways
    #[arg(long)]
    deflate_no_context_takeover: bool,
}

impl DeflateOptions {
    /// Whether one was given.
    pub(crate) fn is_given(&self) -> bool {
        *self != Self::default()
    }
}

impl From<&DeflateOptions> for Deflate {
    fn from(options: &DeflateOptions) -> Self {
        let mut deflate = Self::new();
        if let Some(level) = options.deflate_level {
            deflate = deflate.level(level);
        }
        if let Some(bits) = options.deflate_window_bits {
            deflate = deflate
                .server_max_window_bits(bits)
                .client_max_window_bits(bits);
        }
        if let Some(level) = options.deflate_mem_level {
            deflate = deflate.mem_level(level);
        }
        if let Some(bytes) = options.deflate_threshold {
            deflate = deflate.threshold(bytes);
        }
        if options.deflate_no_context_takeover {
            deflate = deflate
                .server_no_context_takeover(true)
                .client_no_context_takeover(true);
        }
        deflate
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text
        .split_once(':')
        .ok_or("a header is written as 'Name: value', with a colon")?;
    let name = name
        .parse()
        .map_err(|_| format!("{name:?} cannot be the name of a header"))?;
    let value = value
        .trim()
        .parse()
        .map_err(|_| format!("{value:?} cannot be the value of a header"))?;
    Ok((name, value))
}

fn protocol(text: &str) -> Result<String, String> {
    // RFC 6455 §4.1: the elements MUST be tokens, and so is the name of a header.
    match HeaderName::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("a subprotocol is a word without spaces, commas or quotes".into()),
    }
}

fn origin(text: &str) -> Result<String, String> {
    match HeaderValue::try_from(text) {
        Ok(_) => Ok(text.to_owned()),
        Err(_) => Err("an origin has no control characters".into()),
    }
}

fn path(text: &str) -> Result<String, String> {
    match text.starts_with('/') {
        true => Ok(text.to_owned()),
        false => Err("a path begins with a slash".into()),
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 0..=MAX_SECONDS) => Ok(Duration::from_secs(seconds)),
        _ => Err(format!(
            "a time is a number of seconds from 0 to {MAX_SECONDS}"
        )),
    }
}

fn some_seconds(text: &str) -> Result<Duration, String> {
    match seconds(text) {
        Ok(Duration::ZERO) | Err(_) => Err(format!(
            "a time is a number of seconds from 1 to {MAX_SECONDS}"
        )),
        time => time,
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=MAX_THREADS) => Ok(threads),
        _ => Err(format!("the number of threads is from 1 to {MAX_THREADS}")),
    }
}

const HOST: &str = "127.0.0.1";
const PORT: u16 = 9001;
/// A day: more is a typo.
const MAX_SECONDS: u64 = 86_400;
const MAX_THREADS: usize = 1024;

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    fn parse(line: &[&str]) -> Result<Args, clap::Error> {
        Args::try_parse_from([&["hybi"], line].concat())
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn serve_without_options_is_the_default() {
        let Ok(Args {
            command: Some(Command::Serve(serve)),
        }) = parse(&["serve"])
        else {
            panic!("`hybi serve` is valid");
        };
        assert_eq!(format!("{serve:?}"), format!("{:?}", Serve::default()));
    }

    #[test]
    fn headers_and_protocols_may_be_given_again() {
        let line = [
            "connect",
            "ws://h/",
            "--header",
            "A: b:c",
            "--header",
            "a:",
            "--protocol",
            "x",
            "--protocol",
            "Y",
        ];
        let Ok(Args {
            command: Some(Command::Connect(connect)),
        }) = parse(&line)
        else {
            panic!("the line is valid");
        };
        let headers: Vec<_> = connect
            .header
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_bytes()))
            .collect();
        assert_eq!(headers, [("a", &b"b:c"[..]), ("a", b"")]);
        assert_eq!(connect.protocol, ["x", "Y"]);
    }

    #[test]
    fn what_cannot_be_meant_is_refused_with_status_2() {
        for line in [
            &["frobnicate"][..],
            &["serve", "--port", "65536"],
            &["serve", "--threads", "0"],
            &["serve", "--close-timeout", "-1"],
            &["serve", "--handshake-timeout", "soon"],
            &["serve", "--message-timeout", "1.5"],
            &["serve", "--write-timeout", "86401"],
            &["serve", "--heartbeat", "often"],
            &["serve", "--heartbeat", "1", "--heartbeat-timeout", "0"],
            &["serve", "--heartbeat-timeout", "1"],
            &["serve", "--max-message", "16M"],
            &["serve", "--deflate-level", "10"],
            &["serve", "--deflate-window-bits", "8"],
            &["serve", "--deflate-mem-level", "0"],
            &["serve", "--tls-cert", "a.pem"],
            &["serve", "--tls-key", "a.pem"],
            &["serve", "--unix", "a", "--port", "1"],
            &["serve", "--broadcast", "chat"],
            &["connect", "ws://h/", "--cert", "a.pem"],
            &["connect", "ws://h/", "--unix", "a", "--proxy", "env"],
            &["connect", "ws://h/", "--no-deflate", "--deflate-level", "1"],
            &["connect"],
            &["connect", "ws://h/", "--header", "no colon"],
            &["connect", "ws://h/", "--header", "a b: c"],
            &["connect", "ws://h/", "--header", "a: b\r\nc: d"],
            &["connect", "ws://h/", "--protocol", "a, b"],
            &["connect", "ws://h/", "--protocol", ""],
            &["connect", "ws://h/", "--origin", "a\nb"],
        ] {
            let error = parse(line).expect_err("the line is not valid");
            assert_eq!(error.exit_code(), 2, "{line:?}");
        }
    }
}
