//! The server on tokio-tungstenite.
//!
//! `echo` sends each answer at once, `echo-batch` writes the answers to all that has come with one
//! flush.
//!
//! There are two broadcasts. `broadcast` waits in one task for a message and for the channel. There each turn
//! of the loop polls the socket for reading, and tungstenite clears its read buffer of 128 KiB
//! before it reads. `broadcast-split` writes in a task of its own, which never reads, and flushes
//! once for all messages that have come meanwhile: nothing faster is known on this library.

use futures_util::{FutureExt, SinkExt, StreamExt};
use hybi_bench::{Result, Start, listen};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::broadcast::{Sender, channel};
use tokio_tungstenite::accept_async;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

fn main() -> Result {
    let start = Start::from_args()?;
    match start.scenario.as_str() {
        "echo" => start.run(listen(start.port, echo)),
        "echo-batch" => start.run(listen(start.port, echo_batch)),
        "broadcast" => start.run(broadcast(start.port, select)),
        "broadcast-split" => start.run(broadcast(start.port, split)),
        _ => start.unknown(),
    }
}

async fn echo(tcp: TcpStream) -> Result {
    let mut ws = accept_async(tcp).await?;
    while let Some(message) = ws.next().await.transpose()? {
        if message.is_text() || message.is_binary() {
            ws.send(message).await?;
        }
    }
    Ok(())
}

async fn echo_batch(tcp: TcpStream) -> Result {
    let mut ws = accept_async(tcp).await?;
    while let Some(message) = ws.next().await.transpose()? {
        let mut next = Some(message);
        while let Some(message) = next {
            if message.is_text() || message.is_binary() {
                ws.feed(message).await?;
            }
            next = ws.next().now_or_never().flatten().transpose()?;
        }
        ws.flush().await?;
    }
    Ok(())
}

/// A text and the connection from which it came.
type Heard = (usize, Utf8Bytes);

/// Far more than are ever in flight: a receiver that lags ends the connection.
const CAPACITY: usize = 1024;

/// Each message goes to all others.
async fn broadcast<F>(port: u16, serve: fn(TcpStream, Sender<Heard>, usize) -> F) -> Result
where
    F: Future<Output = Result> + Send + 'static,
{
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let (sender, _) = channel(CAPACITY);
    for me in 0.. {
        let (tcp, _) = listener.accept().await?;
        tcp.set_nodelay(true)?;
        tokio::spawn(serve(tcp, sender.clone(), me));
    }
    Ok(())
}

async fn select(tcp: TcpStream, sender: Sender<Heard>, me: usize) -> Result {
    let mut heard = sender.subscribe();
    let mut ws = accept_async(tcp).await?;
    loop {
        tokio::select! {
            message = ws.next() => match message.transpose()? {
                Some(Message::Text(text)) => drop(sender.send((me, text))),
                Some(_) => {}
                None => return Ok(()),
            },
            heard = heard.recv() => {
                let (from, text) = heard?;
                if from != me {
                    ws.send(Message::Text(text)).await?;
                }
            }
        }
    }
}

async fn split(tcp: TcpStream, sender: Sender<Heard>, me: usize) -> Result {
    let mut heard = sender.subscribe();
    let (mut sink, mut stream) = accept_async(tcp).await?.split();
    let writer = tokio::spawn(async move {
        loop {
            let mut next = Some(heard.recv().await?);
            while let Some((from, text)) = next {
                if from != me {
                    sink.feed(Message::Text(text)).await?;
                }
                next = heard.try_recv().ok();
            }
            sink.flush().await?;
        }
    });
    while let Some(message) = stream.next().await.transpose()? {
        if let Message::Text(text) = message {
            // Somebody listens: the writer of this connection.
            let _ = sender.send((me, text));
        }
    }
    writer.abort();
    writer.await?
}
