//! Counts the client connections that are served at once.
//!
//! Clauses: W8

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Room for so many connections.
#[derive(Debug)]
pub struct Slots {
    free: Arc<Semaphore>,
    most: usize,
}

/// One connection's room; it is given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Slot {
    _permit: OwnedSemaphorePermit,
}

impl Slots {
    /// Room for `most`.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let most = most.min(Semaphore::MAX_PERMITS);
        Self {
            free: Arc::new(Semaphore::new(most)),
            most,
        }
    }

    /// Room for one more, if there is any.
    pub(crate) fn take(&self) -> Option<Slot> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(Slot { _permit: permit })
    }

    /// How many are served now.
    #[must_use]
    pub fn taken(&self) -> usize {
        self.most.saturating_sub(self.free.available_permits())
    }

    /// Waits until none is served.
    pub async fn all_free(&self) {
        let all = u32::try_from(self.most).unwrap_or(u32::MAX);
        // It is never closed: this can only wait.
        drop(self.free.acquire_many(all).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_slot_is_given_back_when_its_connection_ends() {
        let slots = Slots::new(1);
        let slot = slots.take().unwrap();
        assert!(slots.take().is_none());
        assert_eq!(slots.taken(), 1);
        drop(slot);
        assert_eq!(slots.taken(), 0);
        slots.all_free().await;
        assert!(slots.take().is_some());
    }
}
