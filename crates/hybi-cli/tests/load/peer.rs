//! A raw peer that follows a script: what it sends, and what it must get. It is a client, unless
//! it is said to be a server; "the server" is the other side.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hybi::test::{Frame, Opcode};
use hybi_proto::handshake::Key;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::{Barrier, Mutex};

use crate::{Outcome, guarded};

/// What a peer does next.
#[derive(Clone)]
pub(crate) enum Step {
    /// Opens the WebSocket.
    Shake,
    /// Opens it with this line in the head of the request.
    Ask(&'static str),
    /// As a server, accepts the client, with this in the head of the answer.
    Greet(&'static str),
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Sends these bytes over and over, until the server has ended the connection.
    Flood(Vec<u8>),
    /// Sends these bytes over and over, one every so often, until the other side has ended the
    /// connection.
    Drip(Vec<u8>, Duration),
    /// Reads so many bytes, and forgets them.
    Read(usize),
    /// Reads these very bytes.
    Hear(Vec<u8>),
    /// Waits until all peers of the burst are here and the server was looked at.
    Hold,
    /// Waits until the server has let go of all peers of the burst by itself.
    Outlast,
    /// Ends its own direction: FIN.
    Fin,
    /// Drops the connection: RST. Nothing can follow.
    Reset,
    /// Reads until the server ends the connection. It must have refused the request with this
    /// status.
    Refused(u16),
    /// Reads until the server ends its direction. It must have sent frames of which the last is
    /// a close frame with this code, and nothing behind it.
    Closed(u16),
    /// Reads until the server ends the connection, in whatever way. It must not have sent a
    /// close frame.
    CutOff,
    /// Reads until the server ends the connection. It must not have sent anything.
    Nothing,
    /// Reads until the server ends the connection, whatever it sends.
    Ended,
}

/// Where the peers of a burst meet who leads it.
pub(crate) struct Gate {
    barrier: Barrier,
    /// They connect one after the other, so that each burst takes the same memory for that.
    door: Mutex<()>,
}

impl Gate {
    pub(crate) fn new(peers: usize) -> Arc<Self> {
        Arc::new(Self {
            barrier: Barrier::new(peers + 1),
            door: Mutex::default(),
        })
    }

    /// Waits until all are here.
    pub(crate) async fn meet(&self) {
        self.barrier.wait().await;
    }
}

/// Small, so that little of what is not read waits in the kernel.
pub(crate) const RECEIVE_BUFFER: u32 = 16 << 10;

const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// A frame as a client sends it.
pub(crate) fn masked(frame: &Frame) -> Vec<u8> {
    frame.encode(Some(MASK))
}

/// A frame of a client that says that it is compressed.
pub(crate) fn packed(mut frame: Frame) -> Vec<u8> {
    frame.rsv = RSV1;
    masked(&frame)
}

/// RFC 7692 §6: the message is compressed.
pub(crate) const RSV1: u8 = 4;

/// Offers to compress.
pub(crate) const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate\r\n";

/// The front half of these bytes.
pub(crate) fn half(bytes: &[u8]) -> Vec<u8> {
    bytes[..bytes.len() / 2].to_vec()
}

/// A request in which nothing is wrong, with this in its head.
pub(crate) fn request_with(lines: &str) -> Vec<u8> {
    let request = "GET / HTTP/1.1\r\n\
        Host: localhost\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
        Sec-WebSocket-Version: 13\r\n";
    format!("{request}{lines}\r\n").into()
}

pub(crate) fn request() -> Vec<u8> {
    request_with("")
}

/// Plays a script on a fresh connection.
pub(crate) async fn play(addr: SocketAddr, script: Vec<Step>, gate: Arc<Gate>) -> Outcome {
    let door = gate.door.lock().await;
    let mut tcp = guarded("connecting", connect(addr)).await?;
    let shakes = |step: &&Step| matches!(step, Step::Shake | Step::Ask(_));
    let (opening, rest) = script.split_at(script.iter().take_while(shakes).count());
    act(&mut tcp, "", opening.to_vec(), &gate).await?;
    drop(door);
    act(&mut tcp, "", rest.to_vec(), &gate).await
}

/// Plays a script on a connection, as a server in answer to this request.
pub(crate) async fn act(
    tcp: &mut TcpStream,
    request: &str,
    script: Vec<Step>,
    gate: &Gate,
) -> Outcome {
    for (at, step) in script.into_iter().enumerate() {
        let what = format!("step {} ({})", at + 1, step.name());
        match step {
            Step::Reset => {
                tcp.set_zero_linger().map_err(|e| e.to_string())?;
                return Ok(());
            }
            Step::Hold | Step::Outlast => {
                // Here, and told to go on.
                gate.meet().await;
                gate.meet().await;
            }
            step => guarded(&what, step.play(tcp, request))
                .await
                .map_err(|why| format!("{what}: {why}"))?,
        }
    }
    Ok(())
}

async fn connect(addr: SocketAddr) -> Outcome<TcpStream> {
    let connect = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
        let tcp = socket.connect(addr).await?;
        tcp.set_nodelay(true)?;
        Ok(tcp)
    };
    connect
        .await
        .map_err(|error: std::io::Error| error.to_string())
}

impl Step {
    fn name(&self) -> &'static str {
        match self {
            Step::Shake => "Shake",
            Step::Ask(_) => "Ask",
            Step::Greet(_) => "Greet",
            Step::Drip(..) => "Drip",
            Step::Refused(_) => "Refused",
            Step::Send(_) => "Send",
            Step::Flood(_) => "Flood",
            Step::Read(_) => "Read",
            Step::Hear(_) => "Hear",
            Step::Hold => "Hold",
            Step::Outlast => "Outlast",
            Step::Fin => "Fin",
            Step::Reset => "Reset",
            Step::Closed(_) => "Closed",
            Step::CutOff => "CutOff",
            Step::Nothing => "Nothing",
            Step::Ended => "Ended",
        }
    }

    async fn play(self, tcp: &mut TcpStream, request: &str) -> Outcome {
        match self {
            Step::Shake => shake(tcp, request_with("")).await,
            Step::Ask(line) => shake(tcp, request_with(line)).await,
            Step::Greet(line) => told(tcp.write_all(&answer(request, line)?).await),
            Step::Send(bytes) => told(tcp.write_all(&bytes).await),
            Step::Flood(bytes) => {
                while tcp.write_all(&bytes).await.is_ok() {}
                Ok(())
            }
            Step::Drip(bytes, every) => {
                let mut bytes = bytes.iter().cycle();
                while tcp.write_u8(*bytes.next().unwrap()).await.is_ok() {
                    tokio::time::sleep(every).await;
                }
                Ok(())
            }
            Step::Read(bytes) => told(tcp.read_exact(&mut vec![0; bytes]).await.map(drop)),
            Step::Hear(bytes) => {
                let mut heard = vec![0; bytes.len()];
                told(tcp.read_exact(&mut heard).await.map(drop))?;
                match heard == bytes {
                    true => Ok(()),
                    false => Err(heard.escape_ascii().to_string()),
                }
            }
            Step::Fin => told(tcp.shutdown().await),
            Step::Closed(code) => {
                let (heard, clean) = listen(tcp).await;
                let (frames, size) = whole(&heard);
                let last = frames.last().and_then(Frame::close_reason);
                match last {
                    Some((found, _)) if found.as_u16() == code && size == heard.len() && clean => {
                        Ok(())
                    }
                    _ => Err(format!(
                        "{} frames of {size} of {} bytes, the last closes with {last:?}, clean: {clean}",
                        frames.len(),
                        heard.len()
                    )),
                }
            }
            Step::CutOff => {
                let (heard, _) = listen(tcp).await;
                let frames = Frame::decode_all(&heard);
                match frames.iter().find(|frame| frame.opcode == Opcode::Close) {
                    None => Ok(()),
                    Some(close) => Err(format!("{close:?} instead of being cut off")),
                }
            }
            Step::Refused(status) => {
                let (heard, clean) = listen(tcp).await;
                let line = format!("HTTP/1.1 {status} ");
                match heard.starts_with(line.as_bytes()) && clean {
                    true => Ok(()),
                    false => Err(format!("{}, clean: {clean}", heard.escape_ascii())),
                }
            }
            Step::Nothing => match listen(tcp).await {
                (heard, true) if heard.is_empty() => Ok(()),
                other => Err(format!("{other:?} instead of nothing and the end")),
            },
            Step::Ended => {
                listen(tcp).await;
                Ok(())
            }
            Step::Hold | Step::Outlast | Step::Reset => Ok(()),
        }
    }
}

async fn shake(tcp: &mut TcpStream, request: Vec<u8>) -> Outcome {
    told(tcp.write_all(&request).await)?;
    let head = head(tcp).await?;
    match head.starts_with("HTTP/1.1 101 ") {
        true => Ok(()),
        false => Err(head),
    }
}

/// The head of a request or of an answer.
pub(crate) async fn head(tcp: &mut TcpStream) -> Outcome<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        // Byte by byte: what comes behind the head is for the next step.
        head.push(tcp.read_u8().await.map_err(|error| error.to_string())?);
    }
    String::from_utf8(head).map_err(|error| error.to_string())
}

/// The head that accepts this request, with this in it.
fn answer(request: &str, lines: &str) -> Outcome<Vec<u8>> {
    let mut fields = request.lines().filter_map(|line| line.split_once(": "));
    let key = fields.find(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-key"));
    let accept = key.and_then(|(_, key)| Some(Key::parse(key.as_bytes())?.accept()));
    let accept = accept.ok_or_else(|| format!("no key in {request:?}"))?;
    let accept = accept.to_str().map_err(|error| error.to_string())?;
    let head = format!(
        "HTTP/1.1 101 Switching Protocols\r\n\
        Upgrade: websocket\r\n\
        Connection: Upgrade\r\n\
        Sec-WebSocket-Accept: {accept}\r\n\
        {lines}\r\n"
    );
    Ok(head.into())
}

/// The whole frames at the front of these bytes, and how many bytes those are.
fn whole(bytes: &[u8]) -> (Vec<Frame>, usize) {
    let (mut frames, mut at) = (Vec::new(), 0);
    while let Some((frame, size)) = Frame::decode(&bytes[at..]) {
        frames.push(frame);
        at += size;
    }
    (frames, at)
}

/// All that comes until the end, and whether that is no reset.
async fn listen(tcp: &mut TcpStream) -> (Vec<u8>, bool) {
    let mut heard = Vec::new();
    let clean = tcp.read_to_end(&mut heard).await.is_ok();
    (heard, clean)
}

fn told(result: std::io::Result<()>) -> Outcome {
    result.map_err(|error| error.to_string())
}
