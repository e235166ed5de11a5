//! Counts of what comes in floods: exact totals, bounded memory, few lines of record.
//!
//! What is counted is told [`FIRST_AFTER`] after it first came, then every [`NEXT_AFTER`] as long as more comes. Within
//! one such window [`KINDS`] different things are told apart; what comes beyond is counted under a coarser name. No
//! count is ever dropped.
//!
//! Not here: what is counted (`packets`, `dns_stub`).
//!
//! Clauses: R6, W8.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

/// From the first of a burst to its first lines: a client's own repeats of one try fall into one line.
pub(crate) const FIRST_AFTER: Duration = Duration::from_millis(250);
/// Between lines about a burst that goes on.
pub(crate) const NEXT_AFTER: Duration = Duration::from_secs(1);
/// Different things told apart within one window: at most so many lines a second, whatever an agent sends.
pub(crate) const KINDS: usize = 256;

/// Counts by kind.
#[derive(Debug)]
pub(crate) struct Tally<K> {
    counts: Mutex<Counts<K>>,
    first: Notify,
}

/// What one window counted, in the order in which it first came.
pub(crate) type Window<K> = Vec<(K, u64)>;

#[derive(Debug)]
struct Counts<K> {
    places: HashMap<K, usize>,
    window: Window<K>,
}

impl<K: Clone + Eq + Hash> Tally<K> {
    pub(crate) fn new() -> Self {
        Self {
            counts: Mutex::new(Counts {
                places: HashMap::new(),
                window: Vec::new(),
            }),
            first: Notify::new(),
        }
    }

    /// Counts `times` of `kind`; of `coarse(&kind)` when the window tells apart as many kinds as it may. The coarse
    /// kinds must be few.
    pub(crate) fn count(&self, kind: K, times: u64, coarse: impl FnOnce(&K) -> K) {
        let mut counts = self.counts();
        let begins = counts.window.is_empty();
        counts.add(kind, times, coarse);
        drop(counts);
        if begins {
            self.first.notify_one();
        }
    }

    /// What was counted since the last time this was asked.
    pub(crate) fn take(&self) -> Window<K> {
        let mut counts = self.counts();
        counts.places.clear();
        std::mem::take(&mut counts.window)
    }

    /// Tells window after window to `tell`, until `shutdown`; then what is left.
    pub(crate) async fn run(
        &self,
        mut tell: impl FnMut(Window<K>),
        shutdown: impl Future<Output = ()>,
    ) {
        tokio::pin!(shutdown);
        let mut wait = None;
        loop {
            let next = async {
                match wait {
                    None => {
                        self.first.notified().await;
                        tokio::time::sleep(FIRST_AFTER).await;
                    }
                    Some(wait) => tokio::time::sleep(wait).await,
                }
            };
            tokio::select! {
                () = next => {}
                () = &mut shutdown => break,
            }
            let window = self.take();
            wait = (!window.is_empty()).then_some(NEXT_AFTER);
            if wait.is_some() {
                tell(window);
            }
        }
        let window = self.take();
        if !window.is_empty() {
            tell(window);
        }
    }

    fn counts(&self) -> MutexGuard<'_, Counts<K>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Clone + Eq + Hash> Counts<K> {
    fn add(&mut self, kind: K, times: u64, coarse: impl FnOnce(&K) -> K) {
        let known = self.places.contains_key(&kind);
        let kind = if known || self.window.len() < KINDS {
            kind
        } else {
            coarse(&kind)
        };
        let place = self.places.entry(kind.clone()).or_insert(self.window.len());
        match self.window.get_mut(*place) {
            Some((_, count)) => *count = count.saturating_add(times),
            None => self.window.push((kind, times)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::{mpsc, oneshot};

    #[expect(clippy::trivially_copy_pass_by_ref, reason = "as `count` wants it")]
    fn others(_: &u32) -> u32 {
        u32::MAX
    }

    #[test]
    fn kinds_are_told_in_the_order_they_came_with_exact_counts() {
        let tally = Tally::new();
        for kind in [7, 3, 7, 7, 3, 1] {
            tally.count(kind, 1, others);
        }
        assert_eq!(tally.take(), [(7, 3), (3, 2), (1, 1)]);
        assert_eq!(tally.take(), []);
    }

    #[test]
    fn beyond_the_bound_new_kinds_share_one_count_and_known_ones_keep_theirs() {
        let tally = Tally::new();
        for kind in 0..100_000 {
            tally.count(kind, 1, others);
        }
        tally.count(0, 5, others);
        let window = tally.take();
        assert_eq!((window[0], window[255]), ((0, 6), (255, 1)));
        assert_eq!(
            (window[256], window.len()),
            ((u32::MAX, 100_000 - 256), 257)
        );
    }

    #[test]
    fn memory_stays_as_it_was_however_many_kinds_come() {
        let tally = Tally::new();
        for kind in 0..1_000 {
            tally.count(kind, 1, others);
        }
        let before = tally.counts().places.capacity();
        for kind in 0..100_000 {
            tally.count(kind, 1, others);
        }
        assert_eq!(tally.counts().places.capacity(), before);
    }

    /// A tally that runs, what it tells, and its end.
    fn running() -> (
        Arc<Tally<u32>>,
        mpsc::UnboundedReceiver<Window<u32>>,
        oneshot::Sender<()>,
    ) {
        let tally = Arc::new(Tally::new());
        let (tell, told) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel::<()>();
        let run = Arc::clone(&tally);
        tokio::spawn(async move {
            let shutdown = async { drop(ended.await) };
            run.run(|window| tell.send(window).unwrap(), shutdown).await;
        });
        (tally, told, end)
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_told_after_a_quarter_second_and_then_each_second() {
        let (tally, mut told, _end) = running();
        let start = tokio::time::Instant::now();
        tally.count(1, 1, others);
        tally.count(1, 1, others);
        assert_eq!(told.recv().await, Some(vec![(1, 2)]));
        assert_eq!(start.elapsed().as_millis(), 250);
        tally.count(2, 1, others);
        assert_eq!(told.recv().await, Some(vec![(2, 1)]));
        assert_eq!(start.elapsed().as_millis(), 1250);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_silence_the_next_burst_is_told_as_early_as_the_first() {
        let (tally, mut told, _end) = running();
        tally.count(1, 1, others);
        assert_eq!(told.recv().await, Some(vec![(1, 1)]));
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = tokio::time::Instant::now();
        tally.count(1, 1, others);
        assert_eq!(told.recv().await, Some(vec![(1, 1)]));
        assert_eq!(start.elapsed().as_millis(), 250);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_counted_at_the_end_is_still_told() {
        let (tally, mut told, end) = running();
        tally.count(1, 1, others);
        end.send(()).unwrap();
        assert_eq!(told.recv().await, Some(vec![(1, 1)]));
        assert_eq!(told.recv().await, None);
    }
}
