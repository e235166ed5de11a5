#![no_main]
//! `fuzz::client_hello`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::client_hello::holds(data));
