//! Errors: small, by fault, and with something to say.

use crate::fault::each_fault;
use crate::support::Peer;
use std::error::Error as _;
use std::io;

use hybi::{
    CloseCode, CloseError, Error, HandshakeError, HeadError, OptionsError, ProtocolError,
    ProxyError, RequestError, ResponseError, SendError, Timeout, UrlError,
};

fn response(status: u16) -> Box<http::Response<bytes::Bytes>> {
    let response = http::Response::builder()
        .status(status)
        .body(bytes::Bytes::new());
    Box::new(response.unwrap())
}

fn refused(status: u16) -> Error {
    Error::from(HandshakeError::Response {
        error: ResponseError::Upgrade,
        response: Some(response(status)),
    })
}

fn refused_by_proxy(status: u16) -> Error {
    ProxyError::Refused(response(status)).into()
}

fn all() -> Vec<Error> {
    vec![
        Error::Protocol(ProtocolError::InvalidUtf8),
        Error::Protocol(ProtocolError::MessageStalled),
        refused(503),
        HandshakeError::Response {
            error: ResponseError::Upgrade,
            response: None,
        }
        .into(),
        HandshakeError::TooManyRedirects {
            response: response(302),
        }
        .into(),
        HandshakeError::Location {
            error: UrlError::Scheme,
            response: response(302),
        }
        .into(),
        HandshakeError::Request(RequestError::Upgrade).into(),
        HandshakeError::Header("line break".into()).into(),
        HandshakeError::Options(OptionsError::Protocol("a b".into())).into(),
        HandshakeError::Options(OptionsError::RequestLine).into(),
        ProxyError::Url.into(),
        ProxyError::Scheme.into(),
        ProxyError::Credentials.into(),
        refused_by_proxy(407),
        refused_by_proxy(403),
        ProxyError::Answer(ResponseError::Head(HeadError::NotHttp)).into(),
        ProxyError::Answer(ResponseError::TooManyInformational).into(),
        ProxyError::Early.into(),
        ProxyError::Socks("no route".into()).into(),
        Error::Send(SendError::Full),
        Error::Send(SendError::ControlTooLong),
        CloseError::Code(CloseCode::new(999)).into(),
        CloseError::Reason(124).into(),
        Error::Url(UrlError::Fragment),
        io::Error::from(io::ErrorKind::BrokenPipe).into(),
        Error::Timeout(Timeout::Handshake),
        Error::Timeout(Timeout::Connect),
        Error::Timeout(Timeout::Close),
        Error::Timeout(Timeout::Write),
        Error::Closed,
        Error::other("out of paper"),
    ]
}

#[test]
fn an_error_is_at_most_32_bytes_wide() {
    assert!(size_of::<Error>() <= 32, "{} bytes", size_of::<Error>());
    assert!(size_of::<hybi::Result<Option<hybi::Message>>>() <= 48);
}

#[test]
fn every_error_says_something_in_words() {
    for error in all() {
        let words = error.to_string();
        assert!(words.len() > 10, "{error:?}: {words}");
        assert!(!words.contains('{') && !words.contains("Error("), "{words}");
    }
}

#[test]
fn an_error_never_says_again_what_its_source_says() {
    for error in all() {
        if let Some(source) = error.source() {
            assert_ne!(error.to_string(), source.to_string(), "{error:?}");
        }
    }
    let cause = std::io::Error::other("the disk is full");
    let error = Error::other(std::io::Error::other(Wrapped(cause)));
    assert_eq!(error.to_string(), "cannot save");
    assert_eq!(error.source().unwrap().to_string(), "the disk is full");
}

/// An error with a cause.
#[derive(Debug)]
struct Wrapped(std::io::Error);

impl std::fmt::Display for Wrapped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("cannot save")
    }
}

impl std::error::Error for Wrapped {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

#[test]
fn only_a_violation_has_a_close_code() {
    for error in all() {
        let code = error.close_code();
        match error {
            Error::Protocol(violation) => assert_eq!(code, Some(violation.close_code())),
            _ => assert_eq!(code, None),
        }
    }
}

#[test]
fn only_deadlines_are_timeouts() {
    for error in all() {
        let expected = matches!(
            error,
            Error::Timeout(_) | Error::Protocol(ProtocolError::MessageStalled)
        );
        assert_eq!(error.is_timeout(), expected, "{error:?}");
    }
}

#[test]
fn what_may_pass_by_itself_is_retryable() {
    for (status, expected) in [
        (302, false),
        (400, false),
        (403, false),
        (404, false),
        (408, true),
        (425, true),
        (426, false),
        (429, true),
        (500, true),
        (502, true),
        (501, false),
        (503, true),
        (505, false),
    ] {
        assert_eq!(refused(status).is_retryable(), expected, "{status}");
        let by_proxy = refused_by_proxy(status).is_retryable();
        assert_eq!(by_proxy, expected, "{status}");
    }
    assert!(!refused_by_proxy(407).is_retryable());
    assert!(Error::from(ProxyError::Socks("no route".into())).is_retryable());
    assert!(Error::Timeout(Timeout::Connect).is_retryable());
    assert!(Error::from(io::Error::from(io::ErrorKind::ConnectionRefused)).is_retryable());
    assert!(!Error::from(io::Error::from(io::ErrorKind::Unsupported)).is_retryable());
    assert!(Error::Timeout(Timeout::Handshake).is_retryable());
    assert!(Error::Protocol(ProtocolError::MessageStalled).is_retryable());
    for error in [
        Error::Protocol(ProtocolError::InvalidUtf8),
        Error::Send(SendError::Full),
        Error::Closed,
        Error::other("no"),
        Error::Url(UrlError::Fragment),
        ProxyError::Early.into(),
        HandshakeError::TooManyRedirects {
            response: response(302),
        }
        .into(),
    ] {
        assert!(!error.is_retryable(), "{error:?}");
    }
}

#[test]
fn a_refusal_shows_its_status() {
    let Error::Handshake(refusal) = refused(503) else {
        panic!("a refusal is an error of the handshake");
    };
    assert_eq!(
        refusal.status(),
        Some(http::StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(refusal.response().is_some());
}

#[each_fault]
async fn what_cannot_be_sent_is_the_callers_fault_and_changes_nothing() {
    let (_peer, mut ws) = Peer::client();
    for long in [126, 1000] {
        let payload = vec![0; long];
        let too_long = SendError::ControlTooLong;
        assert!(matches!(ws.ping(&payload), Err(Error::Send(e)) if e == too_long));
        assert!(matches!(ws.pong(&payload), Err(Error::Send(e)) if e == too_long));
    }
    assert_eq!(ws.buffered(), 0);
    ws.ping([0; 125]).unwrap();
}
