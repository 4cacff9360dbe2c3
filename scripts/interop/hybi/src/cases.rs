//! The client: the cases of `lines.py`.

use std::time::Duration;

use hybi::{CloseCode, CloseInfo, Error, Event, Message, WebSocket};
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::messages;
use crate::settings::{Settings, text};

/// Only what hangs is ended by it.
const GUARD: Duration = Duration::from_secs(20);

/// Runs the lines of stdin, and prints what became of each.
pub(crate) async fn connect(url: &str) -> hybi::Result<()> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match tokio::time::timeout(GUARD, became(url, &line)).await {
            Ok(Ok(became)) => println!("{line} {became}"),
            Ok(Err(error)) => println!("{line} ! {error}"),
            Err(_) => println!("{line} ! hangs"),
        }
    }
    Ok(())
}

async fn became(url: &str, line: &str) -> hybi::Result<String> {
    let mut words = line.split(' ');
    let mut word = || words.next().ok_or_else(|| Error::other("half a line"));
    let (case, offer, choice) = (word()?, word()?, word()?);
    let mut connect =
        hybi::connect(format!("{url}/?{choice}")).options(Settings::new(offer).options());
    if case == "protocol" {
        connect = connect.protocol("other").protocol("echo");
    }
    let mut ws = connect.await?;
    match case {
        "messages" => echoed(&mut ws, messages::all()).await?,
        "sizes" => echoed(&mut ws, messages::sizes()).await?,
        "many" => many(&mut ws).await?,
        "fragments" => in_fragments(&mut ws).await?,
        "ping" => pings(&mut ws).await?,
        "pinged" => pinged(&mut ws).await?,
        "protocol" => {}
        "close" => {
            let (code, reason) = Settings::new(choice).close();
            return Ok(ended(&ws.close(code, reason).await?));
        }
        "closed" => {
            ws.send("close").await?;
            while ws.recv().await?.is_some() {}
            return ws.close_info().as_ref().map(ended).ok_or(Error::Closed);
        }
        _ => return Err(Error::other("no such case")),
    }
    let agreed = match (case, ws.extensions().to_string()) {
        ("protocol", _) => ws.protocol().unwrap_or("nothing").into(),
        (_, none) if none.is_empty() => "nothing".into(),
        (_, agreed) => agreed,
    };
    let info = ws.close(CloseCode::NORMAL, "").await?;
    if info.clean && info.code == CloseCode::NORMAL {
        return Ok(agreed);
    }
    Err(Error::other(format!("closed with {info:?}")))
}

fn ended(info: &CloseInfo) -> String {
    let clean = if info.clean { "clean" } else { "unclean" };
    format!("{} {clean} {}", info.code.as_u16(), info.reason)
}

async fn echoed(ws: &mut WebSocket, messages: Vec<Message>) -> hybi::Result<()> {
    for (number, message) in messages.into_iter().enumerate() {
        ws.send(message.clone()).await?;
        expect(ws, number, message).await?;
    }
    Ok(())
}

async fn expect(ws: &mut WebSocket, number: usize, message: Message) -> hybi::Result<()> {
    if ws.recv().await? == Some(message) {
        return Ok(());
    }
    Err(Error::other(format!(
        "message {number} came back as another"
    )))
}

async fn many(ws: &mut WebSocket) -> hybi::Result<()> {
    for message in messages::many() {
        ws.send(message).await?;
    }
    for (number, message) in messages::many().enumerate() {
        expect(ws, number, message).await?;
    }
    Ok(())
}

async fn in_fragments(ws: &mut WebSocket) -> hybi::Result<()> {
    let messages: [Message; 2] = [text(5000).into(), messages::bytes(5000).into()];
    for (number, message) in messages.into_iter().enumerate() {
        let sender = ws.sender();
        let mut writer = sender.message(message.kind()).await?;
        for part in message.as_bytes().chunks(999) {
            writer.write(part.to_vec()).await?;
            // §5.4: control frames MAY be injected in the middle of a fragmented message.
            pong(ws, part.get(..5).unwrap_or_default()).await?;
        }
        writer.finish()?;
        expect(ws, number, message).await?;
    }
    Ok(())
}

async fn pings(ws: &mut WebSocket) -> hybi::Result<()> {
    for length in [0, 1, 125] {
        pong(ws, &messages::bytes(length)).await?;
    }
    Ok(())
}

/// Sends a ping, and awaits its pong.
async fn pong(ws: &mut WebSocket, payload: &[u8]) -> hybi::Result<()> {
    drop(ws.ping(payload)?);
    match ws.recv_event().await? {
        Some(Event::Pong(came)) if came == payload => Ok(()),
        other => Err(Error::other(format!("{other:?} in place of a pong"))),
    }
}

async fn pinged(ws: &mut WebSocket) -> hybi::Result<()> {
    for length in [0, 1, 125] {
        ws.send(text(length)).await?;
        expect(ws, length, format!("pong {}", text(length)).into()).await?;
    }
    Ok(())
}
