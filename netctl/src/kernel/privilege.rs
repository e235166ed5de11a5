//! Gives up every capability, and makes sure of it.
//!
//! Clauses: N11.

use rustix::io::Errno;
use rustix::thread::{
    CapabilitySet, CapabilitySets, capabilities, capability_is_in_ambient_set,
    capability_is_in_bounding_set, clear_ambient_capability_set, no_new_privs,
    remove_capability_from_bounding_set, set_capabilities, set_no_new_privs,
};

/// Why the process may still have a capability.
#[derive(Debug, thiserror::Error)]
pub enum PrivilegeError {
    /// The kernel would not take it.
    #[error("give up {0}")]
    Kept(&'static str, #[source] Errno),
    /// It says that it took it, and it is still there.
    #[error("{0} is still there after it was given up")]
    Remains(&'static str),
}

/// Empties the bounding, ambient, effective, permitted and inheritable sets of the process, which must have one thread,
/// and bars it from ever gaining from an exec. Reads all of it back.
///
/// A container's process without `CAP_SETPCAP` cannot touch its bounding set; what is left there can be gained by an exec
/// only, and `no_new_privs` bars that.
///
/// # Errors
/// [`PrivilegeError`]: the process must end then.
pub fn give_up_all() -> Result<(), PrivilegeError> {
    let may_bound = capabilities(None)
        .map_err(|errno| PrivilegeError::Kept("the sets that are held", errno))?
        .effective
        .contains(CapabilitySet::SETPCAP);
    set_no_new_privs(true).map_err(|errno| PrivilegeError::Kept("new privileges", errno))?;
    if may_bound {
        for capability in known() {
            remove_capability_from_bounding_set(capability)
                .map_err(|errno| PrivilegeError::Kept("the bounding set", errno))?;
        }
    }
    clear_ambient_capability_set()
        .map_err(|errno| PrivilegeError::Kept("the ambient set", errno))?;
    set_capabilities(None, NONE)
        .map_err(|errno| PrivilegeError::Kept("the sets that are held", errno))?;
    confirm(may_bound)
}

const NONE: CapabilitySets = CapabilitySets {
    effective: CapabilitySet::empty(),
    permitted: CapabilitySet::empty(),
    inheritable: CapabilitySet::empty(),
};

fn confirm(bounded: bool) -> Result<(), PrivilegeError> {
    if capabilities(None) != Ok(NONE) {
        return Err(PrivilegeError::Remains("a capability that is held"));
    }
    if known().any(|capability| capability_is_in_ambient_set(capability) != Ok(false)) {
        return Err(PrivilegeError::Remains("an ambient capability"));
    }
    if bounded && known().any(|capability| capability_is_in_bounding_set(capability) != Ok(false)) {
        return Err(PrivilegeError::Remains("a capability in the bounding set"));
    }
    if no_new_privs() != Ok(true) {
        return Err(PrivilegeError::Remains("the right to gain privileges"));
    }
    Ok(())
}

/// Every capability that this kernel knows, those that it learnt after this was written included.
fn known() -> impl Iterator<Item = CapabilitySet> {
    (0..u64::BITS)
        .map(|number| CapabilitySet::from_bits_retain(1 << number))
        .take_while(|capability| capability_is_in_bounding_set(*capability).is_ok())
}
