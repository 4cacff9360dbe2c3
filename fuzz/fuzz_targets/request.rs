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
            is_one(&bytes[..len]);
            write_response(&accepted.response().map(|()| ""), &mut answer);
        }
        Err(error) => {
            let response = error.response();
            assert!(response.status().is_client_error(), "{error}");
            write_response(&response, &mut answer);
        }
    }
    let head = Scan::response(limits).scan(&answer);
    let head = head.expect("an answer is well formed").expect("and whole");
    parse_response(&answer[..head]).expect("an answer can be read");
});

/// RFC 6455 §4.2.1, by the bytes of a head that was accepted.
fn is_one(head: &[u8]) {
    let head = String::from_utf8_lossy(head);
    let mut lines = head.split("\r\n").skip_while(|line| line.is_empty());
    let first = lines.next().expect("a request has a line");
    assert!(first.starts_with("GET ") && first.ends_with(" HTTP/1.1"));
    let fields = lines.take_while(|line| !line.is_empty()).map(|line| {
        let (name, value) = line.split_once(':').expect("a header has a name");
        (name.to_ascii_lowercase(), value.trim_matches([' ', '\t']))
    });
    let fields: Vec<_> = fields.collect();
    let all = |name: &str| -> Vec<&str> {
        let fields = fields.iter().filter(|field| field.0 == name);
        fields.map(|field| field.1).collect()
    };
    let has = |name, element: &str| {
        let lists = all(name).join(",").to_ascii_lowercase();
        lists
            .split(',')
            .any(|item| item.trim_matches([' ', '\t']) == element)
    };
    assert!(has("upgrade", "websocket") && has("connection", "upgrade"));
    assert_eq!(all("host").len(), 1);
    assert!(matches!(all("sec-websocket-version")[..], ["13" | "8"]));
    // Sixteen bytes in base64.
    let [key] = all("sec-websocket-key")[..] else {
        panic!("there is one key");
    };
    let digits = key
        .strip_suffix("==")
        .expect("two thirds of a group are left");
    let digit = |b: u8| b.is_ascii_alphanumeric() || b == b'+' || b == b'/';
    assert!(digits.len() == 22 && digits.bytes().all(digit));
    // What follows is frames.
    assert_eq!(all("transfer-encoding").len(), 0);
    assert!(all("content-length").iter().all(|length| *length == "0"));
}
