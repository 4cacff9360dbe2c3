//! How the cost of a message grows with the connections.
//!
//! In each round a server has few connections first and then more of them, each time afresh, so that
//! what disturbs the machine disturbs all of them.

use crate::args::{Args, Server};
use crate::rounds::{Round, round, twice};
use crate::row::Row;
use crate::table::{self, median, sorted};

/// Prints the table; the cost in the first of the rows is what the others are compared with.
pub fn print(args: &Args, rows: &[Row]) {
    let mut measured: Vec<_> = args.servers.iter().map(|_| Ok(Vec::new())).collect();
    for n in 0..args.rounds {
        for (server, measured) in args.servers.iter().zip(&mut measured) {
            if let Ok(rounds) = measured {
                match one(args, server, rows) {
                    Ok(round) => rounds.push(round),
                    Err(error) => *measured = Err(error),
                }
            }
        }
        eprintln!("growth: round {} of {}", n + 1, args.rounds);
    }
    let titles: Vec<_> = rows.iter().map(Row::title).collect();
    table::title(args, &titles.join("; "));
    println!(
        "The server's time in ns a {}, median of {} rounds of {} s, and how it grows:\n",
        rows[0].unit(),
        args.rounds,
        args.time.as_secs_f64()
    );
    println!(
        "| server |{}",
        " time | grows by | bytes |".repeat(rows.len())
    );
    println!("|---|{}", "---|---|---|".repeat(rows.len()));
    for (server, measured) in args.servers.iter().zip(&measured) {
        match measured {
            Ok(rounds) => println!("| {} |{}", server.name, line(rounds, rows.len())),
            Err(error) => println!("| {} | cannot do it: {error} |", server.name),
        }
    }
}

/// A round of all rows.
fn one(args: &Args, server: &Server, rows: &[Row]) -> std::io::Result<Vec<Round>> {
    rows.iter()
        .map(|row| twice(server, || round(args, server, row, false)))
        .collect()
}

fn line(rounds: &[Vec<Round>], rows: usize) -> String {
    let cells = (0..rows).map(|row| {
        let time = median(&sorted(rounds.iter().map(|round| round[row].total)));
        let ratios = rounds.iter().map(|round| round[row].total / round[0].total);
        let growth = (median(&sorted(ratios)) - 1.0) * 100.0;
        let bytes = rounds.last().and_then(|round| round[row].sent);
        let bytes = bytes.map_or("–".into(), |(bytes, _)| format!("{bytes:.1}"));
        format!(" {time:.0} | {growth:+.0} % | {bytes} |")
    });
    cells.collect()
}
