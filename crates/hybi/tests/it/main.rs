//! One test binary: the face over scripted transports, in memory and on a paused clock, and over
//! real sockets where it is about sockets.
#![allow(clippy::unwrap_used)] // a test that cannot go on fails

mod fault;
mod support;

mod bulk;
mod cancel;
mod close;
mod connecting;
mod deadlines;
#[cfg(feature = "deflate")]
mod deflate;
#[cfg(feature = "deflate")]
mod deflate_jobs;
mod driven;
mod errors;
mod events;
mod events_queue;
mod faults;
mod broadcast;
mod heartbeat;
mod overflow;
mod parts;
mod duplex;
mod streams;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "tls")]
mod secure;
mod tunnel;
mod reader;
mod writer;
mod stats;
mod hostile;
mod opening;
mod pings;
mod routes;
mod proxies;
mod redirects;
mod session;
mod service;
mod share;
mod shutdown;
mod unframed;
mod withdrawn;
mod written;
mod hyper;
mod axum;
mod http2;
