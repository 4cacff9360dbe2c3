//! The client side of the Autobahn suite: runs every case of a fuzzing server and echoes.
//!
//!     cargo run --release -p hybi --example autobahn_client [URL [client_no_context_takeover]]
//!
//! It compresses all that it sends, if the suite agrees to. With the second word it offers not to
//! keep its context, for suites that ask only those for it who have offered it.

use hybi::{Connect, Deflate, Error, Options, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> hybi::Result<()> {
    let mut args = std::env::args().skip(1);
    let base = args.next().unwrap_or_else(|| "ws://127.0.0.1:9001".into());
    let alone = args.next().as_deref() == Some("client_no_context_takeover");
    let ask = |what: String| connect(format!("{base}/{what}"), alone);
    let count = ask("getCaseCount".into()).await?.recv().await?;
    let count = count
        .as_ref()
        .and_then(|count| count.as_text()?.parse().ok())
        .unwrap_or(0);
    for case in 1..=count {
        let ws = ask(format!("runCase?case={case}&agent=hybi")).await?;
        // Many cases break the protocol on purpose; the suite judges how that was answered.
        let _ = echo(ws).await;
    }
    let mut ws = ask("updateReports?agent=hybi".into()).await?;
    match ws.recv().await {
        // The suite may end without saying good-bye.
        Ok(_) | Err(Error::Io(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn connect(url: String, alone: bool) -> Connect {
    let deflate = Deflate::default().threshold(0);
    hybi::connect(url).options(Options::new().deflate(deflate.client_no_context_takeover(alone)))
}

async fn echo(mut ws: WebSocket) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
