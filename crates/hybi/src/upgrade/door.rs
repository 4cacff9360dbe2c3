//! A handshake that another HTTP server has received, as it stands at the door of a
//! [`Server`](crate::Server) which is a service of that other.
#![cfg_attr(not(test), expect(dead_code, reason = "the service comes"))]

use bytes::Bytes;
use http::{Request, Response};
use hybi_proto::handshake::server::Via;
use hyper::upgrade::OnUpgrade;
use tokio::sync::oneshot;

use crate::incoming::Door;
use crate::io::Stream;

/// A head, its door, and where the answer comes out.
pub(crate) struct Caller {
    pub(crate) request: Request<()>,
    pub(crate) via: Via,
    pub(crate) door: Door<Stream>,
    pub(crate) answer: oneshot::Receiver<Response<Bytes>>,
}

/// As [`upgrade`](super::upgrade): `None` if the request is no handshake.
pub(crate) fn door<T>(request: &mut Request<T>) -> Option<Caller> {
    let via = super::via(request)?;
    let stream = request.extensions_mut().remove::<OnUpgrade>();
    let (sender, answer) = oneshot::channel();
    let upgraded = async {
        match stream {
            Some(stream) => super::upgraded(stream).await,
            None => Err(super::no_stream()),
        }
    };
    Some(Caller {
        request: super::head(request),
        via,
        door: Door::Server {
            answer: sender,
            upgraded: Box::pin(upgraded),
        },
        answer,
    })
}

/// The answer as the other server can send it.
pub(crate) fn response<B: From<Bytes>>(via: Via, response: Response<Bytes>) -> Response<B> {
    super::response_over(via, response)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::Full;
    use hybi_proto::handshake::server;
    use hyper::body::Incoming;
    use hyper::server::conn::http1;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;
    use crate::incoming::Handshake;
    use crate::options::Options;

    /// Serves one connection of hyper's as a server behind the door does: what is at `/shut` is
    /// refused, all else is greeted and echoed once.
    fn serve(stream: DuplexStream) {
        let service = service_fn(|mut request: Request<Incoming>| async move {
            let caller = door(&mut request).unwrap();
            let accepted = server::accept(&caller.request, &server::Options::new(), caller.via);
            let handshake = Handshake::new(caller.door, caller.request, accepted.unwrap());
            tokio::spawn(async move {
                if handshake.request.uri() == "/shut" {
                    let response = server::refusal(http::StatusCode::NOT_FOUND, "it is shut");
                    return handshake.refuse(response).await;
                }
                let (mut ws, _) = handshake.accept(&Options::new()).await?;
                let message = ws.recv().await?.unwrap();
                ws.send(message).await
            });
            let answer = caller.answer.await.unwrap();
            Ok::<_, Infallible>(response::<Full<Bytes>>(caller.via, answer))
        });
        tokio::spawn(async move {
            let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            connection.with_upgrades().await
        });
    }

    #[tokio::test(start_paused = true)]
    async fn what_comes_with_the_request_is_not_lost_at_the_door() {
        let (mut client, stream) = duplex(4096);
        serve(stream);
        let request = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\n\
            Connection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
            Sec-WebSocket-Version: 13\r\n\r\n";
        let frame = [0x81, 0x82, 0, 0, 0, 0, b'h', b'i'];
        let bytes = [request.as_bytes(), &frame].concat();
        client.write_all(&bytes).await.unwrap();
        let mut answer = Vec::new();
        while !answer.ends_with(&[0x81, 2, b'h', b'i']) {
            answer.push(client.read_u8().await.unwrap());
        }
        assert!(answer.starts_with(b"HTTP/1.1 101 "), "{answer:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_at_the_door_is_the_answer() {
        let (client, stream) = duplex(4096);
        serve(stream);
        let refused = crate::client::connect("ws://h/shut").over(client).await;
        let Err(crate::error::Error::Handshake(error)) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(error.status(), Some(http::StatusCode::NOT_FOUND));
        assert_eq!(error.response().unwrap().body(), "it is shut\n");
    }
}
