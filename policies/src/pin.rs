//! From a name's proof to an address's: every answer is screened, and what was judged is what is dialled.
//!
//! Not responsible for resolving or dialling. A live connection is judged again by pinning the address that it has.
//! Clauses: P6, P7.

use std::net::{IpAddr, SocketAddr};

use crate::verdict::Reach;
use crate::{Carries, Deny, Host, Permit, PinnedPermit, Policy, Reason, Target, address};

impl Policy {
    /// Screens resolved addresses for a permit. For a permit that is not resolved, `resolved` is not looked at.
    ///
    /// # Errors
    /// A [`Deny`] with `private-address` if no address is left, `dns-failed` if there was none.
    pub fn pin(&self, permit: Permit, resolved: &[IpAddr]) -> Result<PinnedPermit, Deny> {
        let (kept, dropped) = match &permit.target {
            Target::Address(literal) => (vec![*literal], Vec::new()),
            Target::SandboxHost => (self.surroundings.host_addresses.clone(), Vec::new()),
            Target::Resolve(_) => resolved
                .iter()
                .partition(|answer| self.passes(**answer, permit.reach)),
        };
        if kept.is_empty() {
            let reason = if dropped.is_empty() {
                Reason::DnsFailed
            } else {
                Reason::PrivateAddress
            };
            return Err(Deny {
                rule: permit.rule().cloned(),
                dropped,
                ..Deny::new(reason)
            });
        }
        let port = permit.request.destination.port.get();
        let addresses = kept
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        Ok(PinnedPermit {
            permit,
            addresses,
            dropped,
        })
    }

    /// Whether a name may lead to an address.
    fn passes(&self, answer: IpAddr, reach: Reach) -> bool {
        let ours = self.surroundings.hold(answer);
        if address::is_public(answer) && !ours {
            return true;
        }
        if self.listed(answer) {
            return true;
        }
        match reach {
            // A model server on this machine or in its network; never the services of a cloud that hide there.
            Reach::Lan => address::is_lan(answer) || (ours && !address::is_metadata(answer)),
            Reach::Public => false,
        }
    }

    /// Whether `private-addresses` lists an address; it never lists a metadata service.
    fn listed(&self, answer: IpAddr) -> bool {
        let nets = &self.private;
        !address::is_metadata(answer) && nets.iter().any(|(net, _)| net.contains(&answer))
    }

    /// Compares the SNI of a ClientHello with the permit's destination. `None` is a ClientHello without SNI.
    ///
    /// # Errors
    /// A [`Deny`] with `no-sni` or `sni-mismatch`; with `port` if TLS is not what the permit carries.
    pub fn confirm_sni(&self, permit: &Permit, sni: Option<&str>) -> Result<(), Deny> {
        let refuse = |reason| Deny {
            rule: permit.rule().cloned(),
            ..Deny::new(reason)
        };
        match permit.carries {
            Carries::Raw => return Ok(()),
            Carries::Http => return Err(refuse(Reason::Port)),
            Carries::Tls | Carries::TlsOrHttp => {}
        }
        match (&permit.request.destination.host, sni) {
            (Host::Name(name), Some(sni)) if sni.eq_ignore_ascii_case(name.as_str()) => Ok(()),
            // Only a listed address comes this far, and an address is never an SNI: RFC 6066 section 3.
            (Host::Address(_), None) => Ok(()),
            (Host::Name(_), None) => Err(refuse(Reason::NoSni)),
            (Host::Name(_) | Host::Address(_), Some(_)) => Err(refuse(Reason::SniMismatch)),
        }
    }
}
