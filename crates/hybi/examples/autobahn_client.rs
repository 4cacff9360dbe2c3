//! The client side of the Autobahn suite: runs every case of a fuzzing server and echoes.
//!
//! `cargo run --release -p hybi --example autobahn_client -- ws://127.0.0.1:9001`

use hybi::{Error, WebSocket};

#[tokio::main(flavor = "current_thread")]
async fn main() -> hybi::Result<()> {
    let base = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "ws://127.0.0.1:9001".into());
    let count = hybi::connect(format!("{base}/getCaseCount"))
        .await?
        .recv()
        .await?;
    let count = count
        .as_ref()
        .and_then(|count| count.as_text()?.parse().ok())
        .unwrap_or(0);
    for case in 1..=count {
        let ws = hybi::connect(format!("{base}/runCase?case={case}&agent=hybi")).await?;
        // Many cases break the protocol on purpose; the suite judges how that was answered.
        let _ = echo(ws).await;
    }
    match hybi::connect(format!("{base}/updateReports?agent=hybi"))
        .await?
        .recv()
        .await
    {
        // The suite may end without saying good-bye.
        Ok(_) | Err(Error::Io(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

async fn echo(mut ws: WebSocket) -> hybi::Result<()> {
    while let Some(message) = ws.recv().await? {
        ws.send(message).await?;
    }
    Ok(())
}
