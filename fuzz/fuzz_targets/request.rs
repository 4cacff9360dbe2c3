//! The head of a request, cut anywhere, and the server's judgment of it.
#![no_main]

use hybi_proto::handshake::head::{
    Limits, Scan, parse_request, parse_response, write_request, write_response,
};
use hybi_proto::handshake::server::{Options, Via, accept, is_handshake};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u16, &[u8])| {
    let (cut, bytes) = input;
    let limits = Limits::default();
    let verdict = Scan::request(limits).scan(bytes);
    let mut scan = Scan::request(limits);
    // An early verdict stays.
    let step = usize::from(cut).max(1);
    let ends = (0..bytes.len()).step_by(step).chain([bytes.len()]);
    let found = ends.map(|end| scan.scan(&bytes[..end]));
    let first = found.into_iter().find(|found| !matches!(found, Ok(None)));
    assert_eq!(first.unwrap_or(Ok(None)), verdict);

    let Ok(Some(len)) = verdict else { return };
    assert!(len <= limits.bytes);
    let Ok(request) = parse_request(&bytes[..len]) else {
        return;
    };
    assert!(request.headers().len() <= limits.headers);

    let mut written = Vec::new();
    write_request(&request, &mut written);
    if written.len() <= limits.bytes {
        assert_eq!(
            Scan::request(limits).scan(&written),
            Ok(Some(written.len()))
        );
        let again = parse_request(&written).expect("what is written can be read");
        assert_eq!(again.method(), request.method());
        assert_eq!(again.uri(), request.uri());
        assert_eq!(again.headers(), request.headers());
    }

    let options = Options::new().protocols(["chat", "v2.chat"]);
    let mut answer = Vec::new();
    match accept(&request, &options, Via::Http1) {
        Ok(accepted) => {
            assert!(is_handshake(&request));
            write_response(&accepted.response().map(|()| ""), &mut answer);
        }
        Err(error) => write_response(&error.response(), &mut answer),
    }
    let head = Scan::response(limits).scan(&answer);
    let head = head.expect("an answer is well formed").expect("and whole");
    parse_response(&answer[..head]).expect("an answer can be read");
});
