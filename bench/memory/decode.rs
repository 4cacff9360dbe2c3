//! Masked text, read by a server: as many messages as fit into 64 KiB, all there in one read.
//!
//! The copy out of the wire counts for everybody. Where a library leaves the check of UTF-8 to its
//! caller, the check is made with what it offers, or with the standard library's. Between two
//! messages nobody knows what a connection holds: the compiler must not fold its role into the loop.

use std::hint::black_box;

use bytes::{BufMut, BytesMut};
use hybi_proto::connection::{Connection, Role};
use hybi_proto::frame::{Header, Opcode};
use hybi_proto::limits::Limits;
use hybi_proto::mask::Mask;
use hybi_proto::message::{Event, EventRef, Message, MessageRef};
use tokio_util::codec::Decoder;

use crate::table::{self, Entry};
use crate::wire::{Wire, run};
use crate::{CHUNK, SIZES, words};

pub fn tables(turns: usize) {
    println!("### Decode: masked text, on a server\n");
    for (size, len) in SIZES {
        let frame = frame(len);
        let count = (CHUNK / frame.len()).max(1);
        let job = Job {
            stream: frame.repeat(count),
            count,
            len,
        };
        let title = format!("{size}, {count} in a read");
        table::print(&title, count, len * count, turns, job.entries());
    }
}

struct Job {
    stream: Vec<u8>,
    count: usize,
    len: usize,
}

impl Job {
    fn entries(&self) -> Vec<Entry<'_>> {
        vec![
            Entry::own("hybi, borrowed", self.hybi_borrowed()),
            Entry::own("hybi, owned", self.hybi_owned()),
            Entry::peer("fastwebsockets", self.fastwebsockets()),
            Entry::peer("sockudo-ws (`Protocol`)", self.sockudo()),
            Entry::peer("soketto + `str::from_utf8`", self.soketto()),
            Entry::peer("tokio-websockets", self.tokio_websockets()),
            Entry::peer("tungstenite", self.tungstenite()),
            Entry::peer("web-socket + `str::from_utf8`", self.web_socket()),
            Entry::peer("yawc (`Decoder`) + `is_utf8`", self.yawc()),
        ]
    }

    fn all(&self, bytes: usize) {
        assert_eq!(bytes, self.count * self.len);
    }

    fn hybi(&self) -> Connection {
        let mut conn = Connection::new(Role::Server, Limits::default());
        conn.lend_inbox(Vec::with_capacity(CHUNK + 64));
        conn
    }

    fn hybi_borrowed(&self) -> impl FnMut() {
        let mut conn = self.hybi();
        move || {
            conn.inbox().put_slice(black_box(&self.stream));
            let mut bytes = 0;
            while let Some(event) = black_box(&mut conn).next().unwrap() {
                let EventRef::Message(MessageRef::Text(text)) = black_box(event) else {
                    panic!("no text");
                };
                bytes += text.len();
            }
            self.all(bytes);
        }
    }

    fn hybi_owned(&self) -> impl FnMut() {
        let mut conn = self.hybi();
        move || {
            conn.inbox().put_slice(black_box(&self.stream));
            let mut bytes = 0;
            while let Some(event) = black_box(&mut conn).next_owned().unwrap() {
                let Event::Message(Message::Text(text)) = black_box(event) else {
                    panic!("no text");
                };
                bytes += text.len();
            }
            self.all(bytes);
        }
    }

    fn fastwebsockets(&self) -> impl FnMut() {
        let wire = Wire::of(&self.stream);
        let role = fastwebsockets::Role::Server;
        let mut ws = fastwebsockets::WebSocket::after_handshake(wire.clone(), role);
        move || {
            wire.refill();
            run(async {
                let mut bytes = 0;
                for _ in 0..self.count {
                    let frame = black_box(black_box(&mut ws).read_frame().await.unwrap());
                    bytes += frame.payload.len();
                }
                self.all(bytes);
            });
        }
    }

    fn sockudo(&self) -> impl FnMut() {
        let role = sockudo_ws::Role::Server;
        let mut protocol = sockudo_ws::protocol::Protocol::new(role, 1 << 20, 1 << 20);
        let mut buffer = BytesMut::with_capacity(CHUNK + 64);
        let mut messages = Vec::new();
        move || {
            buffer.extend_from_slice(black_box(&self.stream));
            black_box(&mut protocol)
                .process_into(&mut buffer, &mut messages)
                .unwrap();
            let bytes = messages.iter().map(|message| message.as_bytes().len());
            self.all(black_box(bytes).sum());
            messages.clear();
        }
    }

    fn soketto(&self) -> impl FnMut() {
        let wire = Wire::of(&self.stream);
        let mode = soketto::Mode::Server;
        let mut builder = soketto::connection::Builder::new(wire.clone(), mode);
        builder.set_buffer(BytesMut::with_capacity(CHUNK + 64));
        let (sender, mut receiver) = builder.finish();
        let mut message = Vec::new();
        move || {
            black_box(&sender);
            wire.refill();
            run(async {
                let mut bytes = 0;
                for _ in 0..self.count {
                    message.clear();
                    black_box(&mut receiver)
                        .receive_data(&mut message)
                        .await
                        .unwrap();
                    bytes += black_box(std::str::from_utf8(&message)).unwrap().len();
                }
                self.all(bytes);
            });
        }
    }

    fn tokio_websockets(&self) -> impl FnMut() {
        let wire = Wire::of(&self.stream);
        let mut ws = tokio_websockets::ServerBuilder::new().serve(wire.clone());
        move || {
            wire.refill();
            run(async {
                let mut bytes = 0;
                for _ in 0..self.count {
                    let message = futures::StreamExt::next(black_box(&mut ws))
                        .await
                        .unwrap()
                        .unwrap();
                    bytes += black_box(message.as_text()).unwrap().len();
                }
                self.all(bytes);
            });
        }
    }

    fn tungstenite(&self) -> impl FnMut() {
        let wire = Wire::of(&self.stream);
        let role = tungstenite::protocol::Role::Server;
        let config = tungstenite::protocol::WebSocketConfig::default().read_buffer_size(CHUNK);
        let mut ws = tungstenite::WebSocket::from_raw_socket(wire.clone(), role, Some(config));
        move || {
            wire.refill();
            let mut bytes = 0;
            for _ in 0..self.count {
                let tungstenite::Message::Text(text) =
                    black_box(black_box(&mut ws).read().unwrap())
                else {
                    panic!("no text");
                };
                bytes += text.len();
            }
            self.all(bytes);
        }
    }

    fn web_socket(&self) -> impl FnMut() {
        let wire = Wire::of(&self.stream);
        let stream = tokio::io::BufReader::with_capacity(CHUNK, wire.clone());
        let mut ws = web_socket::WebSocket::server(stream);
        move || {
            wire.refill();
            run(async {
                let mut bytes = 0;
                for _ in 0..self.count {
                    let web_socket::Event::Data { data, .. } =
                        black_box(&mut ws).recv().await.unwrap()
                    else {
                        panic!("no text");
                    };
                    bytes += black_box(std::str::from_utf8(&data)).unwrap().len();
                }
                self.all(bytes);
            });
        }
    }

    fn yawc(&self) -> impl FnMut() {
        let mut decoder = yawc::codec::Decoder::new(yawc::Role::Server, 1 << 20);
        let mut buffer = BytesMut::with_capacity(CHUNK + 64);
        move || {
            buffer.extend_from_slice(black_box(&self.stream));
            let mut bytes = 0;
            while let Some(frame) = black_box(&mut decoder).decode(&mut buffer).unwrap() {
                assert!(black_box(&frame).is_utf8());
                bytes += frame.payload().len();
            }
            self.all(bytes);
        }
    }
}

/// One frame of plain words, as it stands on the wire.
fn frame(len: usize) -> Vec<u8> {
    let mut mask = Mask::new([0x37, 0xfa, 0x21, 0x3d]);
    let header = Header {
        fin: true,
        rsv: 0,
        opcode: Opcode::Text,
        mask: Some(mask),
        len: len as u64,
    };
    let (bytes, size) = header.encode();
    let mut frame = bytes[..size].to_vec();
    mask.apply_to(words(len).as_bytes(), &mut frame);
    frame
}
