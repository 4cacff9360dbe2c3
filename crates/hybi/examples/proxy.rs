//! A client that connects through a proxy, and prints what it hears.
//!
//!     cargo run -p hybi --features proxy --example proxy http://PROXY:PORT URL
//!
//! `socks5://` and `https://` will do as well, and `proxy_from_env` asks the environment.
#![allow(clippy::print_stdout)] // it prints what it hears

use hybi::{Client, CloseCode, Error, Proxy};

#[tokio::main]
async fn main() -> hybi::Result<()> {
    let args: Vec<String> = std::env::args().collect();
    let [_, proxy, url] = &*args else {
        return Err(Error::other("usage: proxy http://PROXY:PORT URL"));
    };
    let client = Client::new().proxy(Proxy::parse(proxy)?);
    let mut ws = client.connect(url).await?;
    ws.send("something").await?;
    if let Some(message) = ws.recv().await? {
        println!("received: {message:?}");
    }
    ws.close(CloseCode::NORMAL, "").await?;
    Ok(())
}
