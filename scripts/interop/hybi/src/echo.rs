//! The server: each connection is answered as its query says.

use std::time::Duration;

use hybi::{Error, Event, Io, Message, WebSocket};
use tokio::net::{TcpListener, TcpStream};

use crate::settings::{Answer, Settings};

/// The bytes of a fragment.
const FRAGMENT: usize = 1000;

pub(crate) async fn serve(addr: &str) -> hybi::Result<()> {
    let listener = TcpListener::bind(addr).await?;
    loop {
        let (tcp, _) = listener.accept().await?;
        tokio::spawn(async move {
            if let Err(error) = connection(tcp).await {
                println!("{error}");
            }
        });
    }
}

async fn connection(tcp: TcpStream) -> hybi::Result<()> {
    let settings = Settings::new(&query(&tcp).await?);
    let accept = hybi::accept(tcp).options(settings.options());
    let mut ws = accept.protocols(["echo"]).await?;
    let ended = answer(&mut ws, &settings).await;
    if let (Some(id), Some(info)) = (&settings.id, ws.close_info()) {
        println!("closed {id} {} {}", info.code.as_u16(), info.reason);
    }
    ended
}

async fn answer(ws: &mut WebSocket<TcpStream>, settings: &Settings) -> hybi::Result<()> {
    while let Some(event) = ws.recv_event().await? {
        match (settings.answer, event) {
            (Answer::Echo, Event::Message(message)) => ws.send(message).await?,
            (Answer::Fragments, Event::Message(message)) => fragments(ws, message).await?,
            (Answer::Ping, Event::Message(message)) => drop(ws.ping(message.as_bytes())?),
            (Answer::Ping, Event::Pong(payload)) => {
                let text = format!("pong {}", String::from_utf8_lossy(&payload));
                ws.send(text).await?;
            }
            (Answer::Close, Event::Message(_)) => {
                let (code, reason) = settings.close();
                ws.start_close(code, reason)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Sends a message in parts that cut characters.
async fn fragments<S: Io>(ws: &mut WebSocket<S>, message: Message) -> hybi::Result<()> {
    let mut writer = ws.message(message.kind()).await?;
    for part in message.as_bytes().chunks(FRAGMENT) {
        writer.write(part.to_vec()).await?;
    }
    writer.finish()?;
    ws.flush().await
}

/// The query of the request that has come, which is left where it is: the options are to be known
/// before the handshake.
async fn query(tcp: &TcpStream) -> hybi::Result<String> {
    let mut head = [0; 1024];
    loop {
        let read = tcp.peek(&mut head).await?;
        let text = String::from_utf8_lossy(&head[..read]);
        if let Some((line, _)) = text.split_once("\r\n") {
            let target = line.split(' ').nth(1).unwrap_or_default();
            return Ok(target
                .split_once('?')
                .map_or_else(String::new, |(_, q)| q.into()));
        }
        if read == 0 || read == head.len() {
            return Err(Error::other("no request"));
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}
