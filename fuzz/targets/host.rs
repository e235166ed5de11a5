#![no_main]
//! `fuzz::host`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::host::holds(data));
