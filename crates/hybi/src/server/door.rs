//! From a fresh connection to its handler.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use hybi_proto::handshake::server;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::OwnedSemaphorePermit;

use crate::driver::{self, Drive};
use crate::error::{Error, Result};
use crate::exchange;
use crate::incoming::{self, Incoming, Received};
use crate::io::Stream;
use crate::shutdown::Phase;
use crate::socket::WebSocket;
use crate::trace;

use super::{BACK_OFF, Config};

/// A connection that has just come, and the right to read its request.
pub(super) struct Fresh {
    tcp: TcpStream,
    peer: SocketAddr,
    _head: Option<OwnedSemaphorePermit>,
}

impl Fresh {
    /// The next one.
    pub(super) async fn accept(listener: &TcpListener, config: &Config) -> Self {
        // The semaphore is never closed.
        let _head = config.heads.clone().acquire_owned().await.ok();
        loop {
            match listener.accept().await {
                Ok((tcp, peer)) => return Self { tcp, peer, _head },
                Err(error) if concerns_one_client(&error) => {}
                // Out of descriptors or memory: it passes when others leave.
                Err(error) => {
                    trace::cannot_accept(&error);
                    tokio::time::sleep(BACK_OFF).await;
                }
            }
        }
    }

    /// Reads and judges its request, as far as it is a client.
    pub(super) async fn greet(self, config: Arc<Config>) -> Option<Incoming> {
        let timeout = config.options.get().handshake_timeout;
        let greeted = pin!(greet(&config, self.tcp, self.peer));
        let greeted = exchange::within(timeout, greeted).await;
        seen(self.peer, greeted)
    }

    /// Shakes hands, as far as it is a client, and calls the handler.
    pub(super) async fn open<F, Fut>(
        self,
        config: Arc<Config>,
        handler: Arc<F>,
    ) -> Option<Drive<Stream, Fut>>
    where
        F: Fn(WebSocket, Request<()>) -> Fut,
    {
        let timeout = config.options.get().handshake_timeout;
        let opened = pin!(async { greet(&config, self.tcp, self.peer).await?.open().await });
        let opened = exchange::within(timeout, opened).await;
        let (ws, request) = seen(self.peer, opened)?;
        ws.handle().lock().ticked = config.clients.is_some();
        Some(driver::begin(ws, |ws| handler(ws, request)))
    }
}

/// What goes wrong at the door was answered where it could be, and concerns one client.
fn seen<T>(peer: SocketAddr, result: Result<T>) -> Option<T> {
    result.inspect_err(|error| trace::refused(peer, error)).ok()
}

fn concerns_one_client(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// Reads and judges the request of a fresh connection; what is no client is dealt with here, and
/// is an error to the caller.
async fn greet(config: &Config, tcp: TcpStream, peer: SocketAddr) -> Result<Incoming> {
    tcp.set_nodelay(true)?;
    match incoming::receive(tcp.into(), &config.options, &config.judge).await? {
        Received::Handshake(handshake) => {
            let places = config.places.as_ref();
            let place = places
                .map(|places| places.clone().try_acquire_owned())
                .transpose();
            let why = match place {
                _ if *config.phase.borrow() != Phase::Open => "this server is shutting down",
                Err(_) => "this server has as many connections as it may",
                Ok(place) => {
                    let (options, clients) = (config.options.clone(), config.clients.clone());
                    return Ok(Incoming::new(handshake, peer, options, clients, place));
                }
            };
            let why = format!("{why}; try again later");
            let busy = server::refusal(StatusCode::SERVICE_UNAVAILABLE, why);
            handshake.refuse(busy).await?;
            Err(Error::Closed)
        }
        Received::Plain(stream, request) => {
            let method = request.method().clone();
            let response = match &config.fallback {
                Some(fallback) => fallback(request),
                None => server::upgrade_required().map(Bytes::from),
            };
            incoming::answer_plain(stream, &method, response).await?;
            Err(Error::Closed)
        }
    }
}
