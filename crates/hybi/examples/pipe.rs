//! Standard input and output through a WebSocket, as `nc` does it through TCP.
//!
//!     cargo run -p hybi --example pipe [URL] <FILE
//!
//! First, in another terminal, who sends it back:
//!
//!     cargo run --release

use tokio::io::{AsyncWriteExt, copy, split, stdin, stdout};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let url = std::env::args().nth(1);
    let url = url.unwrap_or_else(|| "ws://127.0.0.1:9001/".into());
    let (mut reader, mut writer) = split(hybi::connect(url).await?.into_io());
    let there = async {
        copy(&mut stdin(), &mut writer).await?;
        // The end of the input closes the WebSocket; what is on its way still arrives.
        writer.shutdown().await
    };
    let back = async {
        let mut stdout = stdout();
        copy(&mut reader, &mut stdout).await?;
        stdout.flush().await
    };
    tokio::try_join!(there, back)?;
    Ok(())
}
