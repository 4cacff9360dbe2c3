//! A tunnel: bytes from one TCP socket to another through a WebSocket, over small buffers.
//!
//! Where the memory of the process is to be seen, one gigabyte each way:
//! `cargo test --release -p hybi --test it tunnel -- --ignored --nocapture`.

use std::io;
use std::time::Duration;

use hybi::{Options, Role, WebSocket, drive};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinHandle;

/// Real sockets that hang are given up after this.
const GUARD: Duration = Duration::from_secs(300);

/// The buffers of the sockets below the WebSocket, in bytes.
const BUFFER: u32 = 16 << 10;

fn socket(buffer: Option<u32>) -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    if let Some(buffer) = buffer {
        socket.set_send_buffer_size(buffer).unwrap();
        socket.set_recv_buffer_size(buffer).unwrap();
    }
    socket
}

/// Two ends of a connection through the loopback.
async fn connection(buffer: Option<u32>) -> (TcpStream, TcpStream) {
    let listening = socket(buffer);
    listening.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = listening.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let connect = socket(buffer).connect(address);
    let (near, far) = tokio::join!(connect, listener.accept());
    (near.unwrap(), far.unwrap().0)
}

/// One end of the tunnel: the socket that goes in there, and the task that copies.
async fn end(
    below: TcpStream,
    role: Role,
    driven: bool,
    buffer: Option<u32>,
) -> (TcpStream, JoinHandle<io::Result<(u64, u64)>>) {
    let (user, mut inner) = connection(buffer).await;
    let ws = WebSocket::from_stream(below.into(), role, &Options::new(), &[]);
    let task = tokio::spawn(async move {
        let mut copied = (0, 0);
        let mut copy = async |ws: WebSocket| {
            copied = copy_bidirectional(&mut inner, &mut ws.into_io()).await?;
            hybi::Result::Ok(())
        };
        if driven {
            drive(ws, copy).await.map_err(io::Error::from)?;
        } else {
            copy(ws).await.map_err(io::Error::from)?;
        }
        Ok(copied)
    });
    (user, task)
}

/// Bytes that repeat only after a prime number of them.
fn pattern() -> Vec<u8> {
    (0..65_521u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8)
        .collect()
}

/// Sends so many bytes, and receives and checks as many.
async fn exchange(user: &mut TcpStream, bytes: usize) {
    let (mut reader, mut writer) = user.split();
    let pattern = pattern();
    let write = async {
        let mut left = bytes;
        while left > 0 {
            let n = left.min(pattern.len());
            writer.write_all(&pattern[..n]).await.unwrap();
            left -= n;
        }
    };
    let read = async {
        let mut buffer = vec![0; pattern.len()];
        let mut left = bytes;
        while left > 0 {
            let n = left.min(pattern.len());
            reader.read_exact(&mut buffer[..n]).await.unwrap();
            assert!(buffer[..n] == pattern[..n], "with {left} to come");
            left -= n;
        }
    };
    tokio::join!(write, read);
}

async fn tunnel(bytes: usize, driven: bool, buffer: Option<u32>) {
    let (near, far) = connection(buffer).await;
    let (mut client, copy_client) = end(near, Role::Client, driven, buffer).await;
    let (mut server, copy_server) = end(far, Role::Server, driven, buffer).await;
    tokio::join!(exchange(&mut client, bytes), exchange(&mut server, bytes));
    client.shutdown().await.unwrap();
    assert_eq!(server.read(&mut [0; 1]).await.unwrap(), 0);
    drop(server);
    assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
    let len = bytes as u64;
    assert_eq!(copy_client.await.unwrap().unwrap(), (len, len));
    assert_eq!(copy_server.await.unwrap().unwrap(), (len, len));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_byte_passes_a_tunnel_both_ways_at_once_over_small_buffers() {
    for driven in [false, true] {
        let guarded = tokio::time::timeout(GUARD, tunnel(32 << 20, driven, Some(BUFFER)));
        guarded.await.expect("a tunnel that does not hang");
    }
}

/// A figure of this process, in KiB.
#[cfg(target_os = "linux")]
fn memory(name: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "takes long without optimization"]
async fn a_gigabyte_each_way_passes_a_tunnel_in_bounded_memory() {
    for (driven, buffer) in [
        (false, None),
        (true, None),
        (false, Some(BUFFER)),
        (true, Some(BUFFER)),
    ] {
        let before = memory("VmRSS");
        let start = std::time::Instant::now();
        let guarded = tokio::time::timeout(GUARD, tunnel(1 << 30, driven, buffer));
        guarded.await.expect("a tunnel that does not hang");
        let (time, peak) = (start.elapsed(), memory("VmHWM"));
        eprintln!(
            "driven {driven}, buffers {buffer:?}: {time:?}, {before} KiB before, peak {peak} KiB"
        );
        assert!(
            peak - before < 16 << 10,
            "{before} KiB before, peak {peak} KiB"
        );
    }
}
