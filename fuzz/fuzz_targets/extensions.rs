//! Lists of `Sec-WebSocket-Extensions` on both sides, beside a naive judge of their grammar and of
//! RFC 7692 §7.1.
//!
//! In a list each byte above 127 stands for a word, so that a few bytes make an offer.
#![no_main]

use arbitrary::Arbitrary;
use http::header::{HeaderMap, HeaderValue, SEC_WEBSOCKET_EXTENSIONS};
use hybi_proto::deflate::{Deflate, Params};
use hybi_proto::error::SendError;
use hybi_proto::handshake::client::{self, verify};
use hybi_proto::handshake::grammar;
use hybi_proto::handshake::server::{self, Via, accept};
use hybi_proto::handshake::{Extensions, Key, RequestError, ResponseError, Target};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    client: Option<Chosen>,
    server: Option<Chosen>,
    lines: Vec<&'a [u8]>,
    /// The most is a list of 256 KiB: it would take a minute if each part took as long as all.
    times: u8,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Chosen {
    bits: [u8; 2],
    alone: [bool; 2],
}

impl Chosen {
    fn deflate(self) -> Deflate {
        Deflate::new()
            .server_max_window_bits(self.bits[0])
            .client_max_window_bits(self.bits[1])
            .server_no_context_takeover(self.alone[0])
            .client_no_context_takeover(self.alone[1])
    }
}

const WORDS: &[&str] = &[
    "permessage-deflate",
    "server_no_context_takeover",
    "client_no_context_takeover",
    "server_max_window_bits",
    "client_max_window_bits",
    "permessage-deflate; client_max_window_bits",
    "; server_no_context_takeover",
    "; client_no_context_takeover",
    "; server_max_window_bits=",
    "; client_max_window_bits",
    "; client_max_window_bits=",
    "7",
    "8",
    "9",
    "12",
    "15",
    "16",
    "08",
    "\"10\"",
    "\"1\\1\"",
    "; ",
    ", ",
    "=",
    "\"",
    "\\",
    "permessage-bzip2",
];

fuzz_target!(|input: Input<'_>| {
    let lines: Vec<String> = input.lines.iter().map(|line| spell(line)).collect();
    grammar_is_as_judged(&lines, input.times);
    let mut headers = HeaderMap::new();
    for line in &lines {
        let Ok(line) = HeaderValue::from_str(line) else {
            return;
        };
        headers.append(SEC_WEBSOCKET_EXTENSIONS, line);
    }
    let deflates = [input.client, input.server].map(|side| side.map(Chosen::deflate));
    let [client, server] = deflates;
    let list = lines.join(",");
    let list = if lines.is_empty() {
        Some(Vec::new())
    } else {
        judged(&list)
    };
    offer_is_met(&headers, list.as_deref(), server);
    answer_is_judged(&headers, list.as_deref(), input.client);
    both_agree(client, server, input.client);
});

fn spell(line: &[u8]) -> String {
    let words = line.iter().map(|&byte| match byte {
        0..128 => char::from(byte).to_string(),
        _ => WORDS[usize::from(byte - 128) % WORDS.len()].to_owned(),
    });
    words.collect()
}

/// An extension and its parameters, as the naive judge has them.
type Listed = (String, Vec<(String, Option<String>)>);

fn grammar_is_as_judged(lines: &[String], times: u8) {
    for line in lines {
        let mut found = Vec::new();
        let parsed = grammar::parse_extensions(line, &mut found);
        let found: Vec<Listed> = found
            .into_iter()
            .map(|extension| {
                let params = extension.params.into_iter();
                let params = params.map(|(name, value)| (name.into(), value.map(Into::into)));
                (extension.name.into(), params.collect())
            })
            .collect();
        assert_eq!(parsed.ok().map(|()| found), judged(line), "{line:?}");

        // No quoted string holds a comma, so that a list is right if all its parts are.
        if times == u8::MAX {
            let long = format!("{line},").repeat((256 << 10) / (line.len() + 1)) + line;
            let parsed = grammar::parse_extensions(&long, &mut Vec::new());
            assert_eq!(parsed.is_ok(), judged(line).is_some());
        }
    }
}

/// RFC 6455 §9.1, without empty elements: `extension-list = 1#extension`, `extension = token
/// *( ";" extension-param )`, `extension-param = token [ "=" (token | quoted-string) ]`, and a
/// quoted string holds a token. A list is cut at its commas, and so on down.
fn judged(list: &str) -> Option<Vec<Listed>> {
    let extensions = split(list, ',')?.into_iter().map(|extension| {
        let mut parts = split(extension, ';')?.into_iter();
        let name = token(parts.next()?)?;
        let params = parts.map(|param| {
            let halves = split(param, '=')?;
            match halves[..] {
                [name] => Some((token(name)?, None)),
                [name, value] => Some((token(name)?, Some(value_of(value)?))),
                _ => None,
            }
        });
        Some((name, params.collect::<Option<_>>()?))
    });
    extensions.collect()
}

/// Cuts at a separator outside of quotes; none if a quote does not end.
fn split(text: &str, separator: char) -> Option<Vec<&str>> {
    let (mut parts, mut begin) = (Vec::new(), 0);
    let (mut quoted, mut escaped) = (false, false);
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            c if c == separator && !quoted => {
                parts.push(&text[begin..at]);
                begin = at + c.len_utf8();
            }
            _ => {}
        }
    }
    parts.push(&text[begin..]);
    (!quoted).then_some(parts)
}

/// RFC 9110 §5.6.2, with blanks around it.
fn token(text: &str) -> Option<String> {
    let text = text.trim_matches([' ', '\t']);
    let separator = |c: char| "\"(),/:;<=>?@[\\]{} \t".contains(c);
    let plain = |c: char| c.is_ascii() && !c.is_ascii_control() && !separator(c);
    (!text.is_empty() && text.chars().all(plain)).then(|| text.to_owned())
}

fn value_of(text: &str) -> Option<String> {
    let text = text.trim_matches([' ', '\t']);
    let Some(quoted) = text.strip_prefix('"') else {
        return token(text);
    };
    let (mut value, mut chars) = (String::new(), quoted.chars());
    loop {
        match chars.next()? {
            '"' => break,
            '\\' => value.push(chars.next()?),
            c => value.push(c),
        }
    }
    // A quoted string holds its blanks.
    let whole = chars.next().is_none() && token(&value)? == value;
    whole.then_some(value)
}

/// The parameters of a permessage-deflate; none if they break RFC 7692 §7.1.
fn params(listed: &Listed) -> Option<[Option<Option<u8>>; 4]> {
    const NAMES: [&str; 4] = [
        "server_no_context_takeover",
        "client_no_context_takeover",
        "server_max_window_bits",
        "client_max_window_bits",
    ];
    const BITS: [&str; 8] = ["8", "9", "10", "11", "12", "13", "14", "15"];
    let mut found = [None; 4];
    for (name, value) in &listed.1 {
        let at = NAMES.iter().position(|known| known == name)?;
        let value = match value {
            Some(value) => Some(8 + BITS.iter().position(|bits| bits == value)? as u8),
            None => None,
        };
        let fits = match at {
            0 | 1 => value.is_none(),
            2 => value.is_some(),
            _ => true,
        };
        if !fits || found[at].replace(value).is_some() {
            return None;
        }
    }
    Some(found)
}

fn deflates(list: &[Listed]) -> impl Iterator<Item = Option<[Option<Option<u8>>; 4]>> {
    let ours = list
        .iter()
        .filter(|listed| listed.0 == "permessage-deflate");
    ours.map(params)
}

/// A server takes the first offer that it can meet, and what it answers is allowed by it.
fn offer_is_met(headers: &HeaderMap, list: Option<&[Listed]>, deflate: Option<Deflate>) {
    let mut request = http::Request::builder()
        .uri("/")
        .header("host", "localhost")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .body(())
        .expect("it is a request");
    request.headers_mut().extend(headers.clone());
    let options = server::Options::new().deflate(deflate);
    let accepted = accept(&request, &options, Via::Http1);
    let Some(list) = list else {
        assert_eq!(accepted.err(), Some(RequestError::Extensions));
        return;
    };
    let accepted = accepted.expect("nothing else is wrong");
    let header = accepted.response();
    let header = header.headers().get(SEC_WEBSOCKET_EXTENSIONS).cloned();
    // No compressor has a window of 8 bits.
    let offers = deflates(list).flatten();
    let offer = offers.filter(|offer| offer[2] != Some(Some(8))).next();
    let (Some(deflate), Some(offer)) = (deflate, offer) else {
        assert_eq!(
            (accepted.extensions(), header),
            (Extensions::default(), None)
        );
        return;
    };
    let agreed = accepted.extensions().deflate().expect("it can be met");
    assert_eq!(
        header.as_ref(),
        HeaderValue::from_str(&agreed.to_string()).as_ref().ok()
    );
    let answer = judged(&agreed.to_string()).expect("it is a list");
    let answer = params(&answer[0]).expect("it is an answer");
    assert_eq!(answer, listed(&agreed));
    // §7.1.1.1, §7.1.2.1: what is asked of the server is promised.
    assert!(answer[0].is_some() || offer[0].is_none());
    if let Some(Some(most)) = offer[2] {
        let bits = answer[2].flatten().expect("the server promises a window");
        assert!((9..=most).contains(&bits));
    }
    // §7.1.2.2: a client is limited only if it can be, and no further than it offers.
    let limit = answer[3].flatten();
    assert!(limit.is_none() || offer[3].is_some());
    if let (Some(bits), Some(Some(most))) = (limit, offer[3]) {
        assert!((8..=most).contains(&bits));
    }
    let mut conn = hybi_proto::connection::Connection::new(
        hybi_proto::connection::Role::Server,
        hybi_proto::limits::Limits::default(),
    );
    conn.set_deflate(&deflate, agreed);
    assert_eq!(conn.send("x".repeat(200).into()), Ok::<(), SendError>(()));
}

fn listed(params: &Params) -> [Option<Option<u8>>; 4] {
    [
        params.server_no_context_takeover.then_some(None),
        params.client_no_context_takeover.then_some(None),
        params.server_max_window_bits.map(Some),
        params.client_max_window_bits.map(Some),
    ]
}

/// A client takes one permessage-deflate that answers what it has offered, or nothing.
fn answer_is_judged(headers: &HeaderMap, list: Option<&[Listed]>, chosen: Option<Chosen>) {
    let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("the key of RFC 6455 §1.3");
    let mut response = http::Response::builder()
        .status(101)
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-accept", key.accept())
        .body(())
        .expect("it is a response");
    response.headers_mut().extend(headers.clone());
    let options = client::Options::new().deflate(chosen.map(Chosen::deflate));
    let agreed = verify(Some(&key), &options, &response).map(|agreed| agreed.extensions);
    let Some(list) = list else {
        assert_eq!(agreed, Err(ResponseError::ExtensionsMalformed));
        return;
    };
    let expected = match list {
        [] => Some(None),
        [one] if one.0 == "permessage-deflate" => {
            let context = |answer: &[Option<Option<u8>>; 4]| {
                // §7.1.1.1: by including it a server accepts that it keeps no context.
                chosen.is_some_and(|chosen| answer[0].is_some() || !chosen.alone[0])
            };
            let window = |answer: &[Option<Option<u8>>; 4]| answer[3] != Some(None);
            params(one).filter(context).filter(window).map(Some)
        }
        _ => None,
    };
    match expected {
        Some(expected) => {
            let found = agreed.expect("it answers the offer").deflate();
            assert_eq!(found.as_ref().map(listed), expected);
        }
        None => assert!(agreed.is_err(), "{list:?}"),
    }
}

/// What a client offers a server understands, and what that answers the client takes.
fn both_agree(client: Option<Deflate>, server: Option<Deflate>, chosen: Option<Chosen>) {
    let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("the key of RFC 6455 §1.3");
    let target = Target::parse("ws://localhost/").expect("it is a URL");
    let options = client::Options::new().deflate(client);
    let request = client::request(&target, Some(&key), &options).expect("it can be sent");
    let offers = request.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    assert_eq!(offers.is_some(), client.is_some());
    if let Some(offers) = offers {
        let offers = judged(offers.to_str().expect("it is text")).expect("it is a list");
        let offers: Vec<_> = deflates(&offers).collect();
        assert!(!offers.is_empty() && offers.iter().all(Option::is_some));
    }
    let judge = server::Options::new().deflate(server);
    let accepted = accept(&request, &judge, Via::Http1).expect("our own request holds");
    let agreed = verify(Some(&key), &options, &accepted.response()).expect("and its answer");
    assert_eq!(agreed.extensions, accepted.extensions());
    assert_eq!(
        agreed.extensions,
        Extensions::between(client.as_ref(), server.as_ref())
    );
    let params = agreed.extensions.deflate();
    assert_eq!(params.is_some(), client.is_some() && server.is_some());
    if let (Some(params), Some(chosen)) = (params, chosen) {
        // What the client asked for it gets of our server.
        assert!(params.server_no_context_takeover || !chosen.alone[0]);
        assert!(params.server_max_window_bits.unwrap_or(15) <= chosen.bits[0].clamp(9, 15));
        assert!(params.client_max_window_bits.unwrap_or(15) <= chosen.bits[1].clamp(9, 15));
    }
}
