//! All changes of a plan as one transaction of `nf_tables`: the kernel takes every message, or none.
//!
//! Not here: the messages' bytes (`netlink`).
//!
//! Clauses: N10.

use mnl::Bus;

use super::channel::Channel;
use super::{KernelError, netlink};
use crate::plan::Plan;

/// Messages that take effect together.
#[derive(Debug, Clone)]
pub struct Transaction {
    messages: Vec<Message>,
}

/// One netlink message of a transaction.
#[derive(Debug, Clone)]
pub struct Message {
    /// The message, header included.
    pub bytes: Vec<u8>,
    /// What it is about, for people.
    pub about: String,
}

impl Transaction {
    /// The plan's table, where no table is.
    #[must_use]
    pub fn create(plan: &Plan) -> Self {
        Self::from(netlink::create(plan))
    }

    /// Our table becomes the plan's.
    #[must_use]
    pub fn replace(plan: &Plan) -> Self {
        Self::from(netlink::replace(plan))
    }

    /// Our table goes.
    #[must_use]
    pub fn clear() -> Self {
        Self::from(netlink::clear())
    }

    /// The messages, the transaction's begin and end included.
    #[must_use]
    pub fn messages(&self) -> &[Message] {
        &self.messages
    }

    /// The messages, to be tampered with by a test of what the kernel does then.
    pub fn messages_mut(&mut self) -> &mut [Message] {
        &mut self.messages
    }

    /// Has the kernel do it.
    ///
    /// # Errors
    /// [`KernelError`] of the first message that was refused; nothing was changed then.
    pub fn commit(&self) -> Result<(), KernelError> {
        let bytes: Vec<u8> = self
            .messages
            .iter()
            .flat_map(|message| message.bytes.iter().copied())
            .collect();
        let about: Vec<&str> = self
            .messages
            .iter()
            .map(|message| message.about.as_str())
            .collect();
        Channel::open(Bus::Netfilter)?.request(&bytes, &about)
    }
}

impl From<netlink::Encoded> for Transaction {
    fn from(encoded: netlink::Encoded) -> Self {
        let mut rest = encoded.bytes.as_slice();
        let mut messages = Vec::new();
        for about in encoded.about {
            let length = rest.first_chunk().copied().map_or(0, u32::from_ne_bytes);
            let length = usize::try_from(length)
                .unwrap_or(usize::MAX)
                .next_multiple_of(4);
            let (message, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
            messages.push(Message {
                bytes: message.to_vec(),
                about,
            });
            rest = after;
        }
        Self { messages }
    }
}
