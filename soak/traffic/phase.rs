//! A phase of the traffic: actors that play scenes side by side, drawn from the seed. What a phase
//! consists of depends on the seed and its number alone, not on how fast it goes.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::world::{Outcome, World};
use crate::{echo, room, rude, slow};

/// What is played side by side.
pub const ACTORS: u64 = 32;

/// More than ten times what the longest scene takes.
const GUARD: Duration = Duration::from_secs(180);

/// The deadlines of the server, in seconds: short ones, for they are waited for.
pub const DEADLINE: &str = "4";

/// When the server has cut off who does not read.
const CUT_OFF: Duration = Duration::from_secs(5);

/// Plays a phase to its end; those that fail are told.
pub async fn play(world: &Arc<World>, seed: u64, phase: u64, scenes: u64) -> Vec<String> {
    let mut actors = JoinSet::new();
    for actor in 0..ACTORS {
        let world = world.clone();
        let mut seed = Rng::with_seed(seed ^ phase << 32 ^ actor << 56);
        let rng = seed.fork();
        actors.spawn(async move {
            let told = |why| format!("phase {phase}, actor {actor}, {why}");
            act(&world, rng, scenes).await.map_err(told)
        });
    }
    let mut failed = Vec::new();
    while let Some(actor) = actors.join_next().await {
        match actor {
            Ok(Ok(())) => {}
            Ok(Err(why)) => failed.push(why),
            Err(panic) => failed.push(format!("phase {phase}: {panic}")),
        }
    }
    failed
}

async fn act(world: &Arc<World>, mut rng: Rng, scenes: u64) -> Outcome {
    for scene in 0..scenes {
        // Not all at once.
        sleep(Duration::from_millis(rng.u64(..100))).await;
        let kind = rng.u8(..100);
        let (name, played) = {
            let rng = &mut rng;
            match kind {
                ..3 => {
                    let play = slow::never_read(world, rng, CUT_OFF);
                    ("never reads", timeout(GUARD, play).await)
                }
                3..12 => {
                    let play = slow::read_slowly(world, rng);
                    ("reads slowly", timeout(GUARD, play).await)
                }
                12..22 => ("room", timeout(GUARD, room::gather(world, rng)).await),
                22..40 => ("abort", timeout(GUARD, rude::abort(world, rng)).await),
                40..50 => ("violate", timeout(GUARD, rude::violate(world, rng)).await),
                50..55 => ("refuse", timeout(GUARD, rude::refuse(world, rng)).await),
                55..70 => (
                    "reconnect",
                    timeout(GUARD, echo::reconnect(world, rng)).await,
                ),
                _ => ("converse", timeout(GUARD, echo::converse(world, rng)).await),
            }
        };
        let outcome = played.unwrap_or_else(|_| Err("hangs".into()));
        outcome.map_err(|why| format!("scene {scene} ({name}): {why}"))?;
    }
    Ok(())
}
