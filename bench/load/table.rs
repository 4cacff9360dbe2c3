//! The figures as Markdown.

use crate::args::{Args, Server};
use crate::count::Calls;
use crate::rounds::Measured;
use crate::row::Row;

/// A server and what it has spent.
#[derive(Clone, Copy)]
struct Line<'a> {
    server: &'a Server,
    measured: &'a Measured,
}

pub fn print(args: &Args, row: &Row, measured: &[Measured]) {
    let lines: Vec<_> = args
        .servers
        .iter()
        .zip(measured)
        .map(|(server, measured)| Line { server, measured })
        .collect();
    title(args, &row.title());
    println!(
        "The server's time in ns a {}, {} rounds of {} s:\n",
        row.unit(),
        args.rounds,
        args.time.as_secs_f64()
    );
    let ours = lines[0];
    let best = best(&lines);
    let sent = matches!(row, Row::Deflate(_));
    println!(
        "| server | median | best | of it user | / {} | / best peer | reads | writes | other calls | instructions |{}",
        ours.server.name,
        if sent { " bytes | windows |" } else { "" },
    );
    println!(
        "|---|---|---|---|---|---|---|---|---|---|{}",
        if sent { "---|---|" } else { "" }
    );
    for line in &lines {
        println!(
            "{}{}",
            line.row(ours, best),
            if sent { line.sent() } else { String::new() }
        );
    }
    let Some(best) = best else {
        return;
    };
    for door in lines.iter().filter(|line| line.is_ours(ours) && line.ran()) {
        let fastest = lines.iter().filter(|line| line.is_peer(ours) && line.ran());
        let Some(fastest) = fastest.min_by(|a, b| a.least().total_cmp(&b.least())) else {
            return;
        };
        println!(
            "\n{} / {}: {} round by round. By the best round, {} / {}: {:.3}.",
            door.server.name,
            best.server.name,
            spread(&door.ratios(best)),
            door.server.name,
            fastest.server.name,
            door.least() / fastest.least(),
        );
    }
}

/// The heading of a table.
pub fn title(args: &Args, title: &str) {
    match &args.name {
        Some(name) => println!("### {name}: {title}\n"),
        None => println!("### {title}\n"),
    }
}

/// The peer with the least median.
fn best<'a>(lines: &[Line<'a>]) -> Option<Line<'a>> {
    let peers = lines
        .iter()
        .filter(|line| line.is_peer(lines[0]) && line.ran());
    peers
        .min_by(|a, b| a.median().total_cmp(&b.median()))
        .copied()
}

impl Line<'_> {
    fn ran(&self) -> bool {
        self.measured.failed.is_none() && !self.measured.rounds.is_empty()
    }

    fn is_ours(&self, ours: Line<'_>) -> bool {
        self.server.library() == ours.server.library()
    }

    fn is_peer(&self, ours: Line<'_>) -> bool {
        !self.is_ours(ours) && !self.server.raw
    }

    fn row(&self, ours: Line<'_>, best: Option<Line<'_>>) -> String {
        let name = &self.server.name;
        if let Some(why) = &self.measured.failed {
            return format!("| {name} | cannot do it: {why} | | | | | | | | |");
        }
        let to = |other: Line<'_>| {
            if other.ran() && other.server.name != *name {
                format!("{:.3}", median(&self.ratios(other)))
            } else {
                "–".into()
            }
        };
        format!(
            "| {name} | {:.0} | {:.0} | {} | {} | {} | {} | {} |",
            self.median(),
            self.least(),
            self.user(),
            to(ours),
            best.map_or("–".into(), to),
            self.measured
                .calls
                .as_ref()
                .map_or("– | – | –".into(), calls),
            self.measured
                .instructions
                .map_or("–".into(), |count| format!("{count:.0}")),
        )
    }

    /// What it has sent for a message, and what was agreed.
    fn sent(&self) -> String {
        let last = self
            .measured
            .rounds
            .iter()
            .filter_map(|round| round.sent)
            .next_back();
        match last {
            Some((bytes, agreed)) => format!(" {bytes:.1} | {agreed} |"),
            None => " | |".into(),
        }
    }

    fn median(&self) -> f64 {
        median(&self.totals())
    }

    fn least(&self) -> f64 {
        self.totals()[0]
    }

    fn totals(&self) -> Vec<f64> {
        sorted(self.measured.rounds.iter().map(|round| round.total))
    }

    /// The user time of a message: the average share of the median.
    fn user(&self) -> String {
        let shares: Vec<f64> = self
            .measured
            .rounds
            .iter()
            .filter_map(|round| round.user)
            .collect();
        if shares.is_empty() {
            return "–".into();
        }
        let share = shares.iter().sum::<f64>() / shares.len() as f64;
        format!("{:.0}", self.median() * share)
    }

    /// The ratios within a round, the least first.
    fn ratios(&self, other: Line<'_>) -> Vec<f64> {
        let pairs = self.measured.rounds.iter().zip(&other.measured.rounds);
        sorted(pairs.map(|(a, b)| a.total / b.total))
    }
}

/// The least first.
pub fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

pub fn median(sorted: &[f64]) -> f64 {
    let half = sorted.len() / 2;
    if sorted.len() % 2 == 1 {
        sorted[half]
    } else {
        f64::midpoint(sorted[half - 1], sorted[half])
    }
}

/// The median, and how far they go.
fn spread(sorted: &[f64]) -> String {
    let (least, most) = (sorted[0], sorted[sorted.len() - 1]);
    format!("{:.3} ({least:.3} to {most:.3})", median(sorted))
}

fn calls(calls: &Calls) -> String {
    format!(
        "{:.3} | {:.3} | {:.3}",
        calls.reads, calls.writes, calls.others
    )
}
