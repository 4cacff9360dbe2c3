//! What both sides agree on of permessage-deflate (RFC 7692 §7.1).

use http::header::SEC_WEBSOCKET_EXTENSIONS;
use http::{Request, Response, StatusCode};
use hybi_proto::deflate::Deflate;
use hybi_proto::handshake::client;
use hybi_proto::handshake::server::{self, Via};
use hybi_proto::handshake::{Extensions, Key, ResponseError, Target};

/// What a server answers to an offer, as it stands in the header.
fn answer(deflate: Option<Deflate>, offer: &str) -> String {
    let request = Request::builder()
        .header("host", "a")
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-extensions", offer);
    let request = request.body(()).expect("right");
    let options = server::Options::new().deflate(deflate);
    let accepted = server::accept(&request, &options, Via::Http1).expect("right");
    let response = accepted.response();
    let header = response.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    let header = header.map_or("", |header| header.to_str().expect("right"));
    assert_eq!(accepted.extensions().to_string(), header);
    header.to_owned()
}

fn key() -> Key {
    Key::from_nonce([7; 16])
}

fn offer(deflate: Option<Deflate>) -> String {
    let options = client::Options::new().deflate(deflate);
    let target = Target::parse("ws://a/").expect("right");
    let request = client::request(&target, Some(&key()), &options).expect("right");
    let header = request.headers().get(SEC_WEBSOCKET_EXTENSIONS);
    header
        .map_or("", |header| header.to_str().expect("right"))
        .into()
}

/// What a client makes of an answer.
fn verdict(deflate: Option<Deflate>, answer: &[&str]) -> Result<String, ResponseError> {
    let mut response = Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header("upgrade", "websocket")
        .header("connection", "upgrade")
        .header("sec-websocket-accept", key().accept());
    for line in answer {
        response = response.header("sec-websocket-extensions", *line);
    }
    let response = response.body(()).expect("right");
    let options = client::Options::new().deflate(deflate);
    let agreed = client::verify(Some(&key()), &options, &response)?;
    Ok(agreed.extensions.to_string())
}

#[test]
fn a_server_answers_the_first_offer_that_it_can_meet() {
    let deflate = Deflate::new();
    let whole = deflate
        .server_max_window_bits(15)
        .client_max_window_bits(15);
    let alone = deflate
        .server_no_context_takeover(true)
        .client_no_context_takeover(true);
    let table = [
        (deflate, "", ""),
        (
            deflate,
            "; server_max_window_bits=10",
            "; server_max_window_bits=10",
        ),
        (
            deflate,
            "; server_max_window_bits=15",
            "; server_max_window_bits=12",
        ),
        (
            deflate,
            "; client_max_window_bits",
            "; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            deflate,
            "; client_max_window_bits=\"8\"",
            "; server_max_window_bits=12; client_max_window_bits=8",
        ),
        (
            deflate,
            "; client_max_window_bits=14; server_no_context_takeover",
            "; server_no_context_takeover; server_max_window_bits=12; client_max_window_bits=12",
        ),
        (
            deflate,
            "; client_no_context_takeover",
            "; client_no_context_takeover; server_max_window_bits=12",
        ),
        (whole, "; client_max_window_bits", ""),
        (
            whole,
            "; client_max_window_bits=11",
            "; client_max_window_bits=11",
        ),
        (
            whole,
            "; server_max_window_bits=9",
            "; server_max_window_bits=9",
        ),
        (
            alone,
            "",
            "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=12",
        ),
    ];
    for (deflate, params, expected) in table {
        let expected = match expected {
            "" if deflate == whole => "permessage-deflate".into(),
            "" => "permessage-deflate; server_max_window_bits=12".into(),
            params => format!("permessage-deflate{params}"),
        };
        let offer = format!("permessage-deflate{params}");
        assert_eq!(answer(Some(deflate), &offer), expected, "{offer}");
        let second = format!("x; y, permessage-deflate; z, permessage-deflate{params}, x");
        assert_eq!(answer(Some(deflate), &second), expected, "{second}");
        assert_eq!(answer(None, &offer), "");
    }
}

#[test]
fn an_offer_with_a_wrong_parameter_is_declined() {
    for params in [
        "unknown",
        "unknown=1",
        "server_no_context_takeover=1",
        "client_no_context_takeover=true",
        "server_no_context_takeover; server_no_context_takeover",
        "client_no_context_takeover; client_no_context_takeover",
        "server_max_window_bits",
        "server_max_window_bits=7",
        "server_max_window_bits=8",
        "server_max_window_bits=16",
        "server_max_window_bits=010",
        "server_max_window_bits=+10",
        "server_max_window_bits=1e1",
        "server_max_window_bits=10; server_max_window_bits=10",
        "client_max_window_bits=7",
        "client_max_window_bits=16",
        "client_max_window_bits=09",
        "client_max_window_bits=266",
        "client_max_window_bits; client_max_window_bits=10",
    ] {
        let offer = format!("permessage-deflate; {params}");
        assert_eq!(answer(Some(Deflate::new()), &offer), "", "{params}");
        let then = format!("{offer}, permessage-deflate");
        let expected = "permessage-deflate; server_max_window_bits=12";
        assert_eq!(answer(Some(Deflate::new()), &then), expected, "{params}");
    }
    assert_eq!(answer(Some(Deflate::new()), "Permessage-Deflate"), "");
}

#[test]
fn of_hundreds_of_offers_the_first_acceptable_one_wins() {
    let bad = "permessage-deflate; server_max_window_bits=8, ".repeat(300);
    let offer = format!("{bad}permessage-deflate; server_max_window_bits=9");
    let expected = "permessage-deflate; server_max_window_bits=9";
    assert_eq!(answer(Some(Deflate::new()), &offer), expected);
}

#[test]
fn a_client_offers_what_it_wants_and_then_what_it_takes() {
    let deflate = Deflate::new();
    assert_eq!(offer(None), "");
    assert_eq!(
        offer(Some(deflate)),
        "permessage-deflate; server_max_window_bits=12; client_max_window_bits=12, \
         permessage-deflate; client_max_window_bits"
    );
    let alone = Deflate::best()
        .server_no_context_takeover(true)
        .client_no_context_takeover(true);
    assert_eq!(
        offer(Some(alone)),
        "permessage-deflate; server_no_context_takeover; client_no_context_takeover; \
         client_max_window_bits"
    );
    assert_eq!(
        offer(Some(Deflate::best().client_max_window_bits(9))),
        "permessage-deflate; client_max_window_bits=9, permessage-deflate; client_max_window_bits"
    );
}

#[test]
fn our_server_meets_the_first_offer_of_our_client() {
    for deflate in [Deflate::new(), Deflate::best(), Deflate::fast()] {
        let agreed = answer(Some(deflate), &offer(Some(deflate)));
        let between = Extensions::between(Some(&deflate), Some(&deflate));
        assert_eq!(between.to_string(), agreed);
        assert_eq!(verdict(Some(deflate), &[&agreed]), Ok(agreed));
        for (client, server) in [(Some(&deflate), None), (None, Some(&deflate)), (None, None)] {
            assert_eq!(Extensions::between(client, server), Extensions::default());
        }
    }
}

#[test]
fn a_client_takes_what_agrees_with_one_of_its_offers() {
    for params in [
        "",
        "; server_no_context_takeover",
        "; client_no_context_takeover",
        "; server_max_window_bits=8",
        "; server_max_window_bits=15",
        "; client_max_window_bits=8",
        "; client_max_window_bits=15",
        "; server_no_context_takeover; client_no_context_takeover; server_max_window_bits=9; \
         client_max_window_bits=10",
    ] {
        let answer = format!("permessage-deflate{params}");
        let agreed = verdict(Some(Deflate::new()), &[&answer]);
        assert_eq!(agreed.as_ref(), Ok(&answer));
    }
    assert_eq!(verdict(Some(Deflate::new()), &[]), Ok(String::new()));
}

#[test]
fn a_client_refuses_what_it_did_not_offer() {
    use ResponseError::{ExtensionNotRequested, ExtensionParameters, ExtensionRepeated};

    let deflate = Some(Deflate::new());
    let alone = Some(Deflate::new().server_no_context_takeover(true));
    let table: [(_, &[&str], _); 13] = [
        (None, &["permessage-deflate"], ExtensionNotRequested),
        (deflate, &["x-webkit-deflate-frame"], ExtensionNotRequested),
        (deflate, &["permessage-deflate, x"], ExtensionNotRequested),
        (
            deflate,
            &["permessage-deflate", "permessage-deflate"],
            ExtensionRepeated,
        ),
        (
            deflate,
            &["permessage-deflate, permessage-deflate"],
            ExtensionRepeated,
        ),
        (deflate, &["permessage-deflate; x"], ExtensionParameters),
        (
            deflate,
            &["permessage-deflate; server_max_window_bits"],
            ExtensionParameters,
        ),
        (
            deflate,
            &["permessage-deflate; server_max_window_bits=16"],
            ExtensionParameters,
        ),
        (
            deflate,
            &["permessage-deflate; client_max_window_bits"],
            ExtensionParameters,
        ),
        (
            deflate,
            &["permessage-deflate; client_max_window_bits=07"],
            ExtensionParameters,
        ),
        (
            deflate,
            &["permessage-deflate; server_no_context_takeover=1"],
            ExtensionParameters,
        ),
        (
            deflate,
            &["permessage-deflate; client_no_context_takeover; client_no_context_takeover"],
            ExtensionParameters,
        ),
        (alone, &["permessage-deflate"], ExtensionParameters),
    ];
    for (deflate, answer, expected) in table {
        assert_eq!(verdict(deflate, answer), Err(expected), "{answer:?}");
    }
}
