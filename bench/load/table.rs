//! The figures as Markdown.

use crate::args::{Args, Row};
use crate::rounds::{Measured, Round};

pub fn print(args: &Args, row: &Row, measured: &[Measured]) {
    println!(
        "### Broadcast of {} bytes to {} clients, {} in flight\n",
        row.bytes, row.clients, row.in_flight
    );
    println!("ns a delivery, median / best of {} rounds:\n", args.rounds);
    println!(
        "| server | user | total | user, all rounds | deliveries | system calls | instructions |"
    );
    println!("|---|---|---|---|---|---|---|");
    for (server, measured) in args.servers.iter().zip(measured) {
        println!(
            "| {} | {} | {} | {:.0} | {} | {} | {} |",
            server.name,
            spread(&measured.rounds, user),
            spread(&measured.rounds, total),
            pooled(&measured.rounds),
            measured
                .rounds
                .iter()
                .map(|round| round.deliveries)
                .sum::<u64>(),
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
        let pairs = || first.rounds.iter().zip(&other.rounds);
        let users: Vec<_> = pairs().map(|(a, b)| user(a) / user(b)).collect();
        let totals: Vec<_> = pairs().map(|(a, b)| total(a) / total(b)).collect();
        println!(
            "\n{} / {}, round by round: user {} (all rounds {:.3}), total {}",
            args.servers[0].name,
            server.name,
            range(users),
            pooled(&first.rounds) / pooled(&other.rounds),
            range(totals),
        );
    }
}

fn user(round: &Round) -> f64 {
    round.cpu.user as f64 / round.deliveries as f64
}

fn total(round: &Round) -> f64 {
    round.cpu.total as f64 / round.deliveries as f64
}

/// The user time of a delivery over all rounds: the steps of 10 ms weigh less.
fn pooled(rounds: &[Round]) -> f64 {
    let user: u64 = rounds.iter().map(|round| round.cpu.user).sum();
    let deliveries: u64 = rounds.iter().map(|round| round.deliveries).sum();
    user as f64 / deliveries as f64
}

fn spread(rounds: &[Round], of: fn(&Round) -> f64) -> String {
    let values = sorted(rounds.iter().map(of).collect());
    format!("{:.0} / {:.0}", median(&values), values[0])
}

fn range(values: Vec<f64>) -> String {
    let values = sorted(values);
    let (least, most) = (values[0], values[values.len() - 1]);
    format!("{:.3} ({least:.3} to {most:.3})", median(&values))
}

fn sorted(mut values: Vec<f64>) -> Vec<f64> {
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
