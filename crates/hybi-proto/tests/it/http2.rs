//! The handshake over HTTP/2 (RFC 8441): the same judges, without the key.

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Version};
use hybi_proto::handshake::server::{Origins, Via};
use hybi_proto::handshake::{RequestError, ResponseError, Target, client, server};

const URL: &str = "wss://example.com/chat?room=1";

fn request(options: &client::Options) -> Request<()> {
    client::request(&Target::parse(URL).unwrap(), None, options).unwrap()
}

fn judge(request: &Request<()>) -> Result<server::Accepted, RequestError> {
    server::accept(request, &server::Options::new(), Via::Http2)
}

fn verify(response: &Response<()>) -> Result<client::Agreed, ResponseError> {
    client::verify(None, &client::Options::new(), response)
}

fn names(headers: &HeaderMap) -> Vec<&str> {
    headers.keys().map(HeaderName::as_str).collect()
}

#[test]
fn the_request_is_a_connect_with_the_whole_url_and_no_key() {
    let options = client::Options::new()
        .protocol("chat")
        .origin("https://a.example");
    let request = request(&options);
    assert_eq!(request.method(), Method::CONNECT);
    assert_eq!(request.version(), Version::HTTP_2);
    assert_eq!(request.uri(), "https://example.com/chat?room=1");
    let expected = ["origin", "sec-websocket-protocol", "sec-websocket-version"];
    assert_eq!(names(request.headers()), expected);
    let plain = Target::parse("ws://example.com:8080/").unwrap();
    let plain = client::request(&plain, None, &options).unwrap();
    assert_eq!(plain.uri(), "http://example.com:8080/");
}

#[test]
#[cfg(feature = "deflate")]
fn both_sides_agree_and_the_answer_is_200_without_an_accept() {
    let asked = client::Options::new()
        .protocol("chat")
        .deflate(hybi_proto::deflate::Deflate::default());
    let options = server::Options::new()
        .protocols(["chat"])
        .deflate(hybi_proto::deflate::Deflate::default());
    let accepted = server::accept(&request(&asked), &options, Via::Http2).unwrap();
    let mut response = accepted.response();
    assert_eq!(response.status(), StatusCode::OK);
    let expected = ["sec-websocket-protocol", "sec-websocket-extensions"];
    assert_eq!(names(response.headers()), expected);
    *response.version_mut() = Version::HTTP_2;
    let agreed = client::verify(None, &asked, &response).unwrap();
    assert_eq!(agreed.protocol.as_deref(), Some("chat"));
    assert_eq!(agreed.extensions, accepted.extensions());
    assert!(agreed.extensions.deflate().is_some());
}

#[test]
fn a_faulty_request_is_refused_as_over_http_1() {
    let options = client::Options::new();
    let mut get = request(&options);
    *get.method_mut() = Method::GET;
    assert_eq!(judge(&get), Err(RequestError::Method));
    let mut old = request(&options);
    *old.version_mut() = Version::HTTP_11;
    assert_eq!(judge(&old), Err(RequestError::HttpVersion));
    let mut nowhere = request(&options);
    *nowhere.uri_mut() = "/chat".parse().unwrap();
    assert_eq!(judge(&nowhere), Err(RequestError::Host));
    for (name, value, fault) in [
        ("sec-websocket-version", "12", RequestError::Version),
        ("sec-websocket-protocol", "a, a", RequestError::Protocols),
        ("sec-websocket-extensions", ";", RequestError::Extensions),
        ("origin", "https://other.example", RequestError::Origin),
        ("content-length", "1", RequestError::Body),
    ] {
        let mut request = request(&options);
        request
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
        assert_eq!(judge(&request), Err(fault), "{name}");
    }
}

#[test]
fn the_origin_is_compared_with_the_authority_of_the_request() {
    let same = client::Options::new().origin("https://example.com");
    assert!(judge(&request(&same)).is_ok());
    let other = client::Options::new().origin("https://other.example");
    let any = server::Options::new().origins(Origins::Any);
    assert!(server::accept(&request(&other), &any, Via::Http2).is_ok());
}

#[test]
fn any_2xx_opens_and_nothing_else() {
    let answer = |status: u16, version| {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        *response.version_mut() = version;
        verify(&response)
    };
    assert!(answer(200, Version::HTTP_2).is_ok());
    assert!(answer(204, Version::HTTP_2).is_ok());
    for status in [101, 302, 403, 502] {
        let refused = ResponseError::Status(StatusCode::from_u16(status).unwrap());
        assert_eq!(answer(status, Version::HTTP_2), Err(refused));
    }
    let old = answer(200, Version::HTTP_11);
    assert_eq!(old, Err(ResponseError::HttpVersion));
}

#[test]
fn each_way_has_its_name_in_alpn() {
    assert_eq!(Via::Http1.alpn(), b"http/1.1");
    assert_eq!(Via::Http2.alpn(), b"h2");
}
