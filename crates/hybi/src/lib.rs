//! A WebSocket client and server for tokio.
#![forbid(unsafe_code)]
