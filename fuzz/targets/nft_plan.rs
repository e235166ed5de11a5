#![no_main]
//! `fuzz::nft_plan`, with input that the engine makes.

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::nft_plan::holds(data));
