//! What errors say, and what they name as their cause.

use std::collections::HashSet;
use std::error::Error;

use http::{HeaderName, StatusCode};
use hybi_proto::close::Close;
use hybi_proto::error::{CloseError, SendError};
use hybi_proto::handshake::grammar::Malformed;
use hybi_proto::handshake::{
    HeadError, OptionsError, RequestError, ResponseError, Target, UrlError,
};
use hybi_proto::text::Text;

/// One line without an end, so that it fits into another one.
fn is_one_line(error: &dyn Error) -> bool {
    let text = error.to_string();
    let ends = text.ends_with(['.', '!', '\n', ' ']);
    text.len() > 10 && !ends && !text.contains(['\n', '\t']) && !text.contains("  ")
}

#[test]
fn what_cannot_be_sent_is_said_with_what_can() {
    let code = CloseError::Code(1005.into());
    let reason = CloseError::Reason(124);
    assert_eq!(Close::new(1005.into(), ""), Err(code));
    assert_eq!(Close::new(1000.into(), "x".repeat(124)), Err(reason));
    let table: [(SendError, &str); 6] = [
        (
            SendError::Full,
            "the backlog is full; flush, or wait, before sending more",
        ),
        (
            SendError::Closed,
            "the connection is closing; nothing more can be sent",
        ),
        (
            SendError::ControlTooLong,
            "the payload of a ping or a pong is at most 125 bytes",
        ),
        (
            SendError::InvalidUtf8,
            "the parts of a text message are not UTF-8",
        ),
        (
            code.into(),
            "close code 1005 NO_STATUS may not be sent: use 1000-1003, 1007-1014 or 3000-4999",
        ),
        (
            reason.into(),
            "close reason of 124 bytes: shorten it to 123 bytes of UTF-8",
        ),
    ];
    for (error, text) in table {
        assert_eq!(error.to_string(), text);
        assert!(error.source().is_none());
    }
    assert_eq!(
        Text::try_from(vec![0xff]).unwrap_err().to_string(),
        "text is not valid UTF-8: send other bytes as a binary message"
    );
    assert_eq!(Malformed.to_string(), "the header value is malformed");
}

#[test]
fn every_fault_of_an_answer_says_what_the_server_did() {
    use ResponseError as E;
    let faults = [
        E::Head(HeadError::Version),
        E::TooManyInformational,
        E::Status(StatusCode::IM_A_TEAPOT),
        E::HttpVersion,
        E::ConnectProtocol,
        E::Upgrade,
        E::Connection,
        E::Accept,
        E::ProtocolNotRequested,
        E::ProtocolInvalid,
        E::ProtocolRepeated,
        E::ProtocolMissing,
        E::ExtensionsMalformed,
        E::ExtensionNotRequested,
        E::ExtensionRepeated,
        E::ExtensionParameters,
    ];
    let texts: HashSet<_> = faults.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), faults.len());
    for fault in &faults {
        assert!(is_one_line(fault), "{fault}");
        assert!(fault.to_string().starts_with("the server"), "{fault}");
    }
    assert_eq!(
        faults[2].to_string(),
        "the server answered 418 I'm a teapot, not 101 Switching Protocols"
    );
}

#[test]
fn every_fault_of_a_url_or_an_option_says_what_is_wrong_with_it() {
    let urls = [
        UrlError::Character,
        UrlError::Scheme,
        UrlError::Host,
        UrlError::Fragment,
        UrlError::Target,
        UrlError::User,
        UrlError::SocketPath,
        Target::parse("ws://[").unwrap_err(),
    ];
    let options = [
        OptionsError::Protocol("a b".into()),
        OptionsError::ProtocolRepeated("chat".into()),
        OptionsError::ProtocolMissing,
        OptionsError::Host,
        OptionsError::Origin,
        OptionsError::Header(HeaderName::from_static("upgrade")),
        OptionsError::Credentials,
        OptionsError::Target,
        OptionsError::RequestLine,
    ];
    let all = urls.iter().map(|error| error as &dyn Error);
    let all: Vec<_> = all.chain(options.iter().map(|e| e as &dyn Error)).collect();
    let texts: HashSet<_> = all.iter().map(ToString::to_string).collect();
    assert_eq!(texts.len(), all.len());
    for error in all {
        assert!(is_one_line(error), "{error}");
    }
    for (error, named) in options.iter().zip(["\"a b\"", "\"chat\""]) {
        assert!(error.to_string().contains(named), "{error}");
    }
    assert!(options[5].to_string().contains("the header upgrade "));
}

#[test]
fn an_error_that_has_a_cause_names_it_and_another_has_none() {
    let head = HeadError::Folded;
    let syntax = Target::parse("ws://[").unwrap_err();
    for (error, cause) in [
        (&RequestError::from(head) as &dyn Error, head.to_string()),
        (&ResponseError::from(head), head.to_string()),
        (&syntax, "invalid IPv6 address".into()),
    ] {
        let source = error.source().map(ToString::to_string);
        assert_eq!(source.as_deref(), Some(&cause[..]));
        assert!(error.to_string().ends_with(&cause), "{error}");
    }
    for error in [
        &RequestError::Method as &dyn Error,
        &ResponseError::Accept,
        &UrlError::Host,
    ] {
        assert!(error.source().is_none(), "{error}");
    }
}
