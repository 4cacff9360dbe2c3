//! The answer to a handshake, cut anywhere, and the client's judgment of it.
#![no_main]

use http::header::HeaderValue;
use hybi_proto::handshake::client::{Answer, Options, verify};
use hybi_proto::handshake::head::{Limits, Scan, parse_response, write_response};
use hybi_proto::handshake::key::Key;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let limits = Limits::default();
    let verdict = Answer::new(limits).read(bytes);
    let mut answer = Answer::new(limits);
    let step = usize::from(cut).max(1);
    let mut ends = (0..bytes.len()).step_by(step).chain([bytes.len()]);
    // An early verdict stays.
    let found = ends.find_map(|end| match answer.read(&bytes[..end]) {
        Ok(None) => None,
        Ok(Some((response, len))) => Some(Ok((response, len))),
        Err(error) => Some(Err(error)),
    });
    match (verdict, found) {
        (Ok(None), None) => {}
        (Err(whole), Some(Err(cut))) => assert_eq!(whole.to_string(), cut.to_string()),
        (Ok(Some((whole, end))), Some(Ok((cut, cut_end)))) => {
            assert_eq!(end, cut_end);
            assert_eq!(whole.status(), cut.status());
            assert_eq!(whole.headers(), cut.headers());
            judge(&whole, limits);
        }
        (whole, cut) => panic!("{whole:?} in one piece, {cut:?} in many"),
    }
});

fn judge(response: &http::Response<()>, limits: Limits) {
    let key = Key::parse(b"dGhlIHNhbXBsZSBub25jZQ==").expect("the key of RFC 6455 §1.3");
    let options = Options::new().protocol("chat");
    if let Ok(agreed) = verify(Some(&key), &options, response) {
        // RFC 6455 §4.1, of what the client has asked.
        assert_eq!(response.status(), 101);
        let headers = response.headers();
        let all = |name: &str| headers.get_all(name).iter().map(HeaderValue::as_bytes);
        let accept: Vec<_> = all("sec-websocket-accept").collect();
        assert_eq!(accept, [b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
        let upgrade: Vec<_> = all("upgrade").map(<[u8]>::to_ascii_lowercase).collect();
        assert_eq!(upgrade, [b"websocket"]);
        assert!(all("connection").any(|list| list.to_ascii_lowercase().ends_with(b"upgrade")
            || list.contains(&b',')));
        assert_eq!(all("sec-websocket-extensions").count(), 0);
        let protocols: Vec<_> = all("sec-websocket-protocol").collect();
        match agreed.protocol {
            Some(protocol) => assert_eq!(protocols, [protocol.as_bytes()]),
            None => assert_eq!(protocols.len(), 0),
        }
        assert!(protocols.iter().all(|protocol| *protocol == b"chat"));
    }
    let mut written = Vec::new();
    write_response(&response.clone().map(|()| ""), &mut written);
    // The length of the body is one header more.
    if written.len() <= limits.bytes && response.headers().len() < limits.headers {
        let len = Scan::response(limits).scan(&written);
        assert_eq!(len, Ok(Some(written.len())));
        let again = parse_response(&written).expect("what is written can be read");
        assert_eq!(again.status(), response.status());
    }
}
