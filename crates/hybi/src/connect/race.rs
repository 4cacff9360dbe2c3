//! Several addresses of one host: which of them is tried when (RFC 8305, "Happy Eyeballs").

use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Sleep, sleep};

/// RFC 8305 §5: one recommended value for a default delay is 250 milliseconds.
const DELAY: Duration = Duration::from_millis(250);

/// The most addresses that are tried.
const ATTEMPTS: usize = 16;

/// Tries these addresses, one more whenever the last attempt has failed or takes its time, and
/// gives what comes first; the other attempts are dropped. If all fail, how the last one did.
pub(super) async fn race<T, Fut>(
    addrs: Vec<SocketAddr>,
    dial: impl Fn(SocketAddr) -> Fut,
) -> io::Result<T>
where
    Fut: Future<Output = io::Result<T>>,
{
    let mut next = interleaved(addrs).into_iter().take(ATTEMPTS).peekable();
    let mut running: Vec<Pin<Box<Fut>>> = Vec::new();
    let mut delay: Option<Pin<Box<Sleep>>> = None;
    let none = || io::Error::new(io::ErrorKind::NotFound, "the host has no address to try");
    let mut error = none();
    poll_fn(|cx| {
        loop {
            let mut failed = false;
            let mut at = 0;
            while let Some(attempt) = running.get_mut(at) {
                match attempt.as_mut().poll(cx) {
                    Poll::Ready(Ok(connected)) => return Poll::Ready(Ok(connected)),
                    Poll::Ready(Err(why)) => {
                        error = why;
                        failed = true;
                        drop(running.remove(at));
                    }
                    Poll::Pending => at += 1,
                }
            }
            let Some(&addr) = next.peek() else {
                return match running.is_empty() {
                    true => Poll::Ready(Err(std::mem::replace(&mut error, none()))),
                    false => Poll::Pending,
                };
            };
            let waits = delay
                .as_mut()
                .is_some_and(|delay| delay.as_mut().poll(cx).is_pending());
            if waits && !failed && !running.is_empty() {
                return Poll::Pending;
            }
            next.next();
            running.push(Box::pin(dial(addr)));
            // Whoever is alone needs no timer.
            delay = next.peek().map(|_| Box::pin(sleep(DELAY)));
        }
    })
    .await
}

/// RFC 8305 §4: the addresses, with those of both families in turn; the first one stays the first,
/// and each family keeps its order.
fn interleaved(addrs: Vec<SocketAddr>) -> VecDeque<SocketAddr> {
    let first = addrs.first().map(SocketAddr::is_ipv6);
    let (ours, theirs): (Vec<_>, Vec<_>) = addrs
        .into_iter()
        .partition(|addr| Some(addr.is_ipv6()) == first);
    let mut mixed = VecDeque::with_capacity(ours.len() + theirs.len());
    let (mut ours, mut theirs) = (ours.into_iter(), theirs.into_iter());
    loop {
        let pair = [ours.next(), theirs.next()];
        if pair == [None, None] {
            return mixed;
        }
        mixed.extend(pair.into_iter().flatten());
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::future::pending;
    use std::sync::Arc;

    use tokio::time::Instant;

    use super::*;

    /// When an attempt ends, in milliseconds, and whether well; never if it is not here.
    type Script<'a> = &'a [(&'a str, u64, bool)];

    fn addr(text: &str) -> SocketAddr {
        text.parse().expect("an address")
    }

    /// Who wins, or how it failed, and when each attempt began.
    async fn run(addrs: &[&str], script: Script<'_>) -> (io::Result<String>, Vec<(String, u64)>) {
        let script: HashMap<_, _> = script
            .iter()
            .map(|&(at, millis, well)| (addr(at), (millis, well)))
            .collect();
        let (start, begun) = (Instant::now(), RefCell::new(Vec::new()));
        let dial = |addr: SocketAddr| {
            let millis = start.elapsed().as_millis() as u64;
            begun.borrow_mut().push((addr.to_string(), millis));
            let end = script.get(&addr).copied();
            async move {
                let Some((millis, well)) = end else {
                    return pending().await;
                };
                sleep(Duration::from_millis(millis)).await;
                match well {
                    true => Ok(addr.to_string()),
                    false => Err(io::Error::other(addr.to_string())),
                }
            }
        };
        let race = race(addrs.iter().map(|text| addr(text)).collect(), dial);
        let guard = Duration::from_secs(3600);
        let won = tokio::time::timeout(guard, race).await.expect("hangs");
        (won, begun.into_inner())
    }

    fn begun(attempts: &[(&str, u64)]) -> Vec<(String, u64)> {
        let owned = |&(addr, millis): &(&str, u64)| (addr.to_owned(), millis);
        attempts.iter().map(owned).collect()
    }

    const A: &str = "[::1]:1";
    const B: &str = "[::2]:1";
    const C: &str = "127.0.0.1:1";
    const D: &str = "127.0.0.2:1";

    #[tokio::test(start_paused = true)]
    async fn the_families_take_turns_and_the_first_address_stays_the_first() {
        let order = |addrs: &[&str]| {
            let addrs = addrs.iter().map(|text| addr(text)).collect();
            let mixed: Vec<String> = interleaved(addrs).iter().map(ToString::to_string).collect();
            mixed
        };
        assert_eq!(order(&[A, B, C, D]), [A, C, B, D]);
        assert_eq!(order(&[C, A, B]), [C, A, B]);
        assert_eq!(order(&[A, B, C]), [A, C, B]);
        assert_eq!(order(&[A, B]), [A, B]);
        assert!(order(&[]).is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_answers_soon_is_not_raced() {
        let (won, attempts) = run(&[A, C], &[(A, 249, true), (C, 0, true)]).await;
        assert_eq!(won.ok().as_deref(), Some(A));
        assert_eq!(attempts, begun(&[(A, 0)]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_fails_makes_room_for_the_next_at_once() {
        let (won, attempts) = run(&[A, C, B], &[(A, 10, false), (C, 5, false), (B, 1, true)]).await;
        assert_eq!(won.ok().as_deref(), Some(B));
        assert_eq!(attempts, begun(&[(A, 0), (C, 10), (B, 15)]));
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_never_answers_holds_up_the_next_by_a_quarter_of_a_second() {
        let (won, attempts) = run(&[A, B, C], &[(B, 7, true)]).await;
        assert_eq!(won.ok().as_deref(), Some(B));
        assert_eq!(attempts, begun(&[(A, 0), (C, 250), (B, 500)]));
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_that_connects_wins_although_it_began_earlier() {
        let (won, attempts) = run(&[A, C], &[(A, 300, true), (C, 60, true)]).await;
        assert_eq!(won.ok().as_deref(), Some(A));
        assert_eq!(attempts, begun(&[(A, 0), (C, 250)]));
    }

    #[tokio::test(start_paused = true)]
    async fn who_loses_is_dropped() {
        let lives = Arc::new(());
        let dial = |addr: SocketAddr| {
            let life = lives.clone();
            async move {
                sleep(Duration::from_millis(u64::from(addr.port()))).await;
                Ok((addr, life))
            }
        };
        let addrs = ["127.0.0.1:9000", "127.0.0.1:1", "127.0.0.1:2"].map(addr);
        let won = race(addrs.into(), dial).await;
        let won = won.expect("the second one connects");
        assert_eq!(won.0, addrs[1]);
        assert_eq!(Arc::strong_count(&lives), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn if_all_fail_the_last_error_is_told() {
        let (won, attempts) = run(&[A, C], &[(A, 400, false), (C, 50, false)]).await;
        assert_eq!(won.map_err(|error| error.to_string()), Err(A.to_owned()));
        assert_eq!(attempts, begun(&[(A, 0), (C, 250)]));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_without_an_address_is_an_error() {
        let (won, _) = run(&[], &[]).await;
        assert_eq!(
            won.map_err(|error| error.kind()),
            Err(io::ErrorKind::NotFound)
        );
    }

    #[tokio::test(start_paused = true)]
    async fn there_is_a_bound_on_the_attempts() {
        let addrs: Vec<String> = (1..100).map(|port| format!("127.0.0.1:{port}")).collect();
        let addrs: Vec<&str> = addrs.iter().map(String::as_str).collect();
        let script: Vec<_> = addrs.iter().map(|addr| (*addr, 0, false)).collect();
        let (won, attempts) = run(&addrs, &script).await;
        assert!(won.is_err());
        assert_eq!(attempts.len(), ATTEMPTS);
    }
}
