//! The engine `native`: user namespaces and bubblewrap, no daemon, no root.
pub mod seccomp;
