//! Text written by a server, and by a client with a fresh key for each message: as many as fit
//! into 64 KiB, and then one flush.
//!
//! Keys are ones that nobody outside can predict, as §10.3 demands. Where a library leaves the choice
//! of the generator, it is that of `rand`.
//!
//! A library that writes each message to the socket by itself gets one that gathers what is
//! written, as a `BufWriter` does; one that gathers it itself gets one that only counts. As in
//! `decode`, the compiler knows nothing of a connection between two messages.

use std::hint::black_box;
use std::io::IoSlice;

use bytes::{Bytes, BytesMut};
use hybi_proto::connection::{Connection, Role};
use hybi_proto::limits::Limits;
use hybi_proto::message::{Message, MessageRef};
use hybi_proto::text::Text;
use tokio_util::codec::Encoder;

use crate::table::{self, Entry};
use crate::wire::{Wire, run};
use crate::{CHUNK, SIZES, words};

/// Where the face takes its keys from.
#[allow(dead_code)] // the nonces
#[path = "../../crates/hybi/src/entropy.rs"]
mod entropy;

pub fn tables(turns: usize) {
    for (client, side) in [(false, "a server"), (true, "a client, its keys included")] {
        println!("### Encode: text, on {side}\n");
        for (size, len) in SIZES {
            let count = (CHUNK / len).max(1);
            let job = Job {
                client,
                text: words(len),
                count,
            };
            let title = format!("{size}, {count} in a write");
            table::print(&title, count, len * count, turns, job.entries());
        }
    }
}

struct Job {
    client: bool,
    text: String,
    count: usize,
}

impl Job {
    fn entries(&self) -> Vec<Entry<'_>> {
        let mut entries = vec![
            Entry::own("hybi, borrowed", self.hybi_borrowed()),
            Entry::own("hybi, owned", self.hybi_owned()),
            Entry::peer("fastwebsockets", self.fastwebsockets()),
            Entry::peer("sockudo-ws (`Protocol`)", self.sockudo()),
            Entry::peer("soketto", self.soketto()),
            Entry::peer("tokio-websockets", self.tokio_websockets()),
            Entry::peer("tungstenite", self.tungstenite()),
            Entry::peer("web-socket", self.web_socket()),
            Entry::peer("yawc (`Encoder`)", self.yawc()),
        ];
        if self.client {
            let name = "sockudo-ws (`encode_frame`), keys that can be predicted";
            entries.push(Entry::aside(name, self.sockudo_predictable()));
        }
        entries
    }

    /// Checks that so many bytes are all there is to send.
    fn all(&self, bytes: usize) {
        let length = match self.text.len() {
            0..=125 => 0,
            126..=0xFFFF => 2,
            _ => 8,
        };
        let key = if self.client { 4 } else { 0 };
        assert_eq!(bytes, self.count * (2 + length + key + self.text.len()));
    }

    fn hybi(&self) -> Connection {
        let role = match self.client {
            true => Role::Client(entropy::mask_key),
            false => Role::Server,
        };
        Connection::new(role, Limits::default())
    }

    /// Takes all off, as a write would.
    fn sent(&self, conn: &mut Connection) {
        let mut slices = [IoSlice::new(&[]); 64];
        let count = conn.outbox().slices(&mut slices);
        let bytes = slices[..count].iter().map(|slice| slice.len()).sum();
        black_box(&slices);
        self.all(bytes);
        conn.sent(bytes);
    }

    fn hybi_borrowed(&self) -> impl FnMut() {
        let mut conn = self.hybi();
        move || {
            for _ in 0..self.count {
                let text: &String = black_box(&self.text);
                let message = MessageRef::Text(text);
                black_box(&mut conn).send_ref(message).unwrap();
            }
            self.sent(&mut conn);
        }
    }

    fn hybi_owned(&self) -> impl FnMut() {
        let mut conn = self.hybi();
        let message = Message::Text(Text::from(self.text.as_str()));
        move || {
            for _ in 0..self.count {
                black_box(&mut conn)
                    .send(black_box(&message).clone())
                    .unwrap();
            }
            self.sent(&mut conn);
        }
    }

    fn fastwebsockets(&self) -> impl FnMut() {
        let wire = Wire::gathering();
        let role = match self.client {
            true => fastwebsockets::Role::Client,
            false => fastwebsockets::Role::Server,
        };
        let mut ws = fastwebsockets::WebSocket::after_handshake(wire.clone(), role);
        move || {
            run(async {
                for _ in 0..self.count {
                    let payload = black_box(self.text.as_bytes()).into();
                    let frame = fastwebsockets::Frame::text(payload);
                    black_box(&mut ws).write_frame(frame).await.unwrap();
                }
            });
            self.all(wire.take());
        }
    }

    fn sockudo(&self) -> impl FnMut() {
        let role = match self.client {
            true => sockudo_ws::Role::Client,
            false => sockudo_ws::Role::Server,
        };
        let mut protocol = sockudo_ws::protocol::Protocol::new(role, 1 << 20, 1 << 20);
        let message = sockudo_ws::Message::text(self.text.as_str());
        let mut buffer = BytesMut::with_capacity(2 * CHUNK);
        move || {
            for _ in 0..self.count {
                let message = black_box(&message);
                black_box(&mut protocol)
                    .encode_message(message, &mut buffer)
                    .unwrap();
            }
            self.all(black_box(&buffer).len());
            buffer.clear();
        }
    }

    /// What it does unless told otherwise: keys of `fastrand`.
    fn sockudo_predictable(&self) -> impl FnMut() {
        let mut buffer = BytesMut::with_capacity(2 * CHUNK);
        move || {
            for _ in 0..self.count {
                let text: &String = black_box(&self.text);
                let key = fastrand::u32(..).to_ne_bytes();
                sockudo_ws::frame::encode_frame(
                    black_box(&mut buffer),
                    sockudo_ws::OpCode::Text,
                    text.as_bytes(),
                    true,
                    Some(key),
                );
            }
            self.all(black_box(&buffer).len());
            buffer.clear();
        }
    }

    fn soketto(&self) -> impl FnMut() {
        let wire = Wire::gathering();
        let mode = match self.client {
            true => soketto::Mode::Client,
            false => soketto::Mode::Server,
        };
        let builder = soketto::connection::Builder::new(wire.clone(), mode);
        let (mut sender, receiver) = builder.finish();
        move || {
            black_box(&receiver);
            run(async {
                for _ in 0..self.count {
                    black_box(&mut sender)
                        .send_text(black_box(&self.text))
                        .await
                        .unwrap();
                }
            });
            self.all(wire.take());
        }
    }

    fn tokio_websockets(&self) -> impl FnMut() {
        let wire = Wire::counting();
        // Flushed once, as everybody.
        let config = tokio_websockets::Config::default().flush_threshold(2 * CHUNK);
        let mut ws = match self.client {
            true => tokio_websockets::ClientBuilder::new()
                .config(config)
                .take_over(wire.clone()),
            false => tokio_websockets::ServerBuilder::new()
                .config(config)
                .serve(wire.clone()),
        };
        let payload = tokio_websockets::Payload::from(Bytes::from(self.text.clone()));
        move || {
            run(async {
                for _ in 0..self.count {
                    let message = tokio_websockets::Message::text(black_box(&payload).clone());
                    futures::SinkExt::feed(black_box(&mut ws), message)
                        .await
                        .unwrap();
                }
                futures::SinkExt::flush(&mut ws).await.unwrap();
            });
            self.all(wire.take());
        }
    }

    fn tungstenite(&self) -> impl FnMut() {
        let wire = Wire::counting();
        let role = match self.client {
            true => tungstenite::protocol::Role::Client,
            false => tungstenite::protocol::Role::Server,
        };
        let mut ws = tungstenite::WebSocket::from_raw_socket(wire.clone(), role, None);
        let text = tungstenite::Utf8Bytes::from(self.text.as_str());
        move || {
            for _ in 0..self.count {
                let message = tungstenite::Message::Text(black_box(&text).clone());
                black_box(&mut ws).write(message).unwrap();
            }
            ws.flush().unwrap();
            self.all(wire.take());
        }
    }

    fn web_socket(&self) -> impl FnMut() {
        let wire = Wire::gathering();
        let mut ws = match self.client {
            true => web_socket::WebSocket::client(wire.clone()),
            false => web_socket::WebSocket::server(wire.clone()),
        };
        move || {
            run(async {
                for _ in 0..self.count {
                    black_box(&mut ws)
                        .send(black_box(self.text.as_str()))
                        .await
                        .unwrap();
                }
            });
            self.all(wire.take());
        }
    }

    fn yawc(&self) -> impl FnMut() {
        let role = match self.client {
            true => yawc::Role::Client,
            false => yawc::Role::Server,
        };
        let mut encoder = yawc::codec::Encoder::new(role);
        let text = Bytes::from(self.text.clone());
        let mut buffer = BytesMut::with_capacity(2 * CHUNK);
        move || {
            for _ in 0..self.count {
                let frame = yawc::frame::Frame::text(black_box(&text).clone());
                black_box(&mut encoder).encode(frame, &mut buffer).unwrap();
            }
            self.all(black_box(&buffer).len());
            buffer.clear();
        }
    }
}
