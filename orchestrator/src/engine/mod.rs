//! The engines: what builds a box. The only room that starts processes.
pub(crate) mod spawn;
