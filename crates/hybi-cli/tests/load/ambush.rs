//! The same for clients: a raw server gives each of them what its script says.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use crate::clients::{Clients, Way};
use crate::judge::Row;
use crate::peer::{Gate, RECEIVE_BUFFER, Step, act, head};
use crate::{Outcome, guarded};

/// What is done to clients.
pub(crate) struct Ambush {
    pub(crate) name: &'static str,
    /// The clients of a burst; the scripts go round among them.
    pub(crate) clients: usize,
    pub(crate) way: Way,
    /// What a client gets when its request has come, and how that ends for it: one of these.
    pub(crate) scripts: Vec<(Vec<Step>, &'static [&'static str])>,
    /// The most that one connection makes the process hold, in bytes.
    pub(crate) holds: usize,
}

impl Row for Ambush {
    type Target = Clients;

    fn name(&self) -> &'static str {
        self.name
    }

    async fn target(&self) -> Clients {
        Clients::start().await
    }

    fn peers(&self) -> usize {
        self.clients
    }

    fn holds(&self) -> usize {
        self.holds
    }

    fn steps(&self) -> impl Iterator<Item = &Step> {
        self.scripts.iter().flat_map(|(script, _)| script)
    }

    async fn burst(&self, clients: &Clients, gate: &Arc<Gate>) -> Outcome {
        let listener = listen().map_err(|error| error.to_string())?;
        let addr = listener.local_addr().unwrap();
        let url = format!("ws://{addr}");
        let mut serving = JoinSet::new();
        let served = async {
            for _ in 0..self.clients {
                let (tcp, _) = listener.accept().await.map_err(|e| e.to_string())?;
                let scripts: Vec<_> = self.scripts.iter().map(|(s, _)| s.clone()).collect();
                serving.spawn(serve(tcp, scripts, gate.clone()));
            }
            while let Some(ended) = serving.join_next().await {
                ended.expect("a server does not panic")?;
            }
            Ok(())
        };
        let went = async {
            let ends = clients.go(self.clients, self.way, &url).await?;
            for (client, end) in ends.iter().enumerate() {
                let script = client % self.scripts.len();
                let (_, expected) = self.scripts[script];
                if !expected.contains(&&end[..]) {
                    return Err(format!("a client of script {script} ends with {end}"));
                }
            }
            Ok(())
        };
        tokio::try_join!(served, went)?;
        Ok(())
    }
}

fn listen() -> std::io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    // Those who are accepted have the same.
    socket.set_recv_buffer_size(RECEIVE_BUFFER)?;
    socket.bind(([127, 0, 0, 1], 0).into())?;
    socket.listen(1024)
}

/// Plays the script of the path that is asked for.
async fn serve(mut tcp: TcpStream, scripts: Vec<Vec<Step>>, gate: Arc<Gate>) -> Outcome {
    let request = guarded("the request", head(&mut tcp)).await?;
    let path = request.split(' ').nth(1).unwrap_or_default();
    let client: usize = path[1..].parse().map_err(|_| format!("{request:?}"))?;
    let script = client % scripts.len();
    let played = act(&mut tcp, &request, scripts[script].clone(), &gate).await;
    played.map_err(|why| format!("client {client} of script {script}: {why}"))
}
