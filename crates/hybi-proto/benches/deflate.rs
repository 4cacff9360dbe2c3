//! 1 KiB of JSON compressed by a server and inflated by a client, over so many connections in turn:
//! what a message costs must not grow with their number.

#![allow(clippy::print_stdout)]

mod support;

use std::hint::black_box;

use bytes::BufMut;
use hybi_proto::connection::{Connection, Role};
use hybi_proto::deflate::{Deflate, Params};
use hybi_proto::limits::Limits;

fn main() {
    support::head("deflate, a message there and back");
    let mut alone = Params::default();
    alone.server_no_context_takeover = true;
    let params = |mut params: Params, bits| {
        params.server_max_window_bits = Some(bits);
        params
    };
    for (name, deflate, params) in [
        ("default", Deflate::new(), params(Params::default(), 12)),
        ("fast", Deflate::fast(), params(Params::default(), 12)),
        ("best", Deflate::best(), params(Params::default(), 15)),
        ("no takeover", Deflate::new(), params(alone, 12)),
    ] {
        for connections in [1, 64, 1000] {
            bench(
                &format!("{name}, {connections} connections"),
                connections,
                &deflate,
                params,
            );
        }
    }
}

fn bench(name: &str, connections: usize, deflate: &Deflate, params: Params) {
    let open = |role| {
        let mut conn = Connection::new(role, Limits::default());
        conn.set_deflate(deflate, params);
        conn
    };
    let pair = |_| (open(Role::Server), open(Role::Client(|| [0; 4])));
    let mut pairs: Vec<_> = (0..connections).map(pair).collect();
    let documents: Vec<String> = (0..512).map(document).collect();
    let (mut turn, mut bytes) = (0, 0);
    support::line(name, 1 << 10, || {
        let document = &documents[turn % documents.len()];
        let (server, client) = &mut pairs[turn % connections];
        turn += 1;
        assert!(server.send_ref(document.as_str().into()).is_ok());
        let frame = server.outbox().piece().unwrap_or_default();
        bytes += frame.len();
        client.inbox().put_slice(frame);
        server.sent(usize::MAX);
        assert!(matches!(black_box(client.next()), Ok(Some(_))));
    });
    println!("{:>40} bytes a message", bytes / turn);
}

/// A record of a feed, of which no two are equal.
fn document(n: usize) -> String {
    let mut text = String::from("[");
    for trade in 0.. {
        let n = (n * 7 + trade) * 7919;
        let next = format!(
            r#"{{"id":{n},"symbol":"S{}","price":{}.{:02},"size":{},"side":"{}"}},"#,
            n % 37,
            n % 1000,
            n % 97,
            n % 500,
            if n.is_multiple_of(3) { "buy" } else { "sell" },
        );
        if text.len() + next.len() > 1 << 10 {
            return text;
        }
        text.push_str(&next);
    }
    text
}
