//! The figures as Markdown.

use crate::args::{Args, Row};
use crate::rounds::{Measured, Round};

pub fn print(args: &Args, row: &Row, measured: &[Measured]) {
    println!(
        "### Broadcast of {} bytes to {} clients, {} in flight\n",
        row.bytes, row.clients, row.in_flight
    );
    println!("ns a delivery, {} rounds:\n", args.rounds);
    println!(
        "| server | user: mean / median | total: median / best | deliveries | system calls | instructions |"
    );
    println!("|---|---|---|---|---|---|");
    for (server, measured) in args.servers.iter().zip(measured) {
        let (users, totals) = (sorted(measured, user), sorted(measured, total));
        println!(
            "| {} | {:.0} / {:.0} | {:.0} / {:.0} | {} | {} | {} |",
            server.name,
            mean(measured),
            median(&users),
            median(&totals),
            totals[0],
            measured.rounds.iter().map(deliveries).sum::<u64>(),
            measured.syscalls.as_deref().map_or("–".into(), calls),
            measured
                .instructions
                .map_or("–".into(), |count| format!("{count:.0}")),
        );
    }
    let [first, others @ ..] = measured else {
        return;
    };
    for (server, other) in args.servers[1..].iter().zip(others) {
        println!(
            "\n{} / {}: user {:.3} (means; round by round {}), total {}",
            args.servers[0].name,
            server.name,
            mean(first) / mean(other),
            ratio(first, other, user),
            ratio(first, other, total),
        );
    }
}

fn user(round: &Round) -> f64 {
    round.user
}

fn total(round: &Round) -> f64 {
    round.total
}

fn deliveries(round: &Round) -> u64 {
    round.deliveries
}

/// The user time of a delivery over all rounds: the kernel's coarse steps weigh less.
fn mean(measured: &Measured) -> f64 {
    let weighed = |round: &Round| round.user * round.deliveries as f64;
    let user: f64 = measured.rounds.iter().map(weighed).sum();
    user / measured.rounds.iter().map(deliveries).sum::<u64>() as f64
}

/// The median of the ratios of a round, and how far they go.
fn ratio(a: &Measured, b: &Measured, of: fn(&Round) -> f64) -> String {
    let pairs = a.rounds.iter().zip(&b.rounds);
    let mut ratios: Vec<_> = pairs.map(|(a, b)| of(a) / of(b)).collect();
    ratios.sort_by(f64::total_cmp);
    let (least, most) = (ratios[0], ratios[ratios.len() - 1]);
    format!("{:.3} ({least:.3} to {most:.3})", median(&ratios))
}

fn sorted(measured: &Measured, of: fn(&Round) -> f64) -> Vec<f64> {
    let mut values: Vec<_> = measured.rounds.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[half]
    } else {
        f64::midpoint(sorted[half - 1], sorted[half])
    }
}

/// The sum, and what it is made of.
fn calls(calls: &[(String, f64)]) -> String {
    let of = |name: &str| calls.iter().find(|(known, _)| known == name);
    let sum = of("total").map_or(0.0, |(_, calls)| *calls);
    let parts: Vec<_> = calls
        .iter()
        .filter(|(name, _)| name != "total")
        .map(|(name, calls)| format!("{name} {calls:.3}"))
        .collect();
    format!("{sum:.3} ({})", parts.join(", "))
}
