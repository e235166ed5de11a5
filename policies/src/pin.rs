//! From a name's proof to an address's: every answer is screened, and what was judged is what is dialled.
//!
//! Clauses: P6, P7.

use std::net::IpAddr;

use crate::{Deny, Permit, PinnedPermit, Policy, Reason};

impl Policy {
    /// Screens resolved addresses for a permit. For a permit that is not resolved, `resolved` is not looked at.
    ///
    /// # Errors
    /// A [`Deny`] with `private-address` if no address is left, `dns-failed` if there was none.
    pub fn pin(&self, _permit: Permit, _resolved: &[IpAddr]) -> Result<PinnedPermit, Deny> {
        Err(Deny::new(Reason::PrivateAddress))
    }

    /// Compares the SNI of a ClientHello with the permit's destination. `None` is a ClientHello without SNI.
    ///
    /// # Errors
    /// A [`Deny`] with `no-sni` or `sni-mismatch`.
    pub fn confirm_sni(&self, _permit: &Permit, _sni: Option<&str>) -> Result<(), Deny> {
        Err(Deny::new(Reason::NoSni))
    }
}
