//! `model-server ADDRESS SCRIPT`: serves the steps of a JSON file as an OpenAI-compatible model.

use std::io::Write;

use anyhow::{Context, Result, bail};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, script] = arguments.as_slice() else {
        bail!("usage: model-server ADDRESS SCRIPT")
    };
    let text = std::fs::read_to_string(script).with_context(|| format!("read {script}"))?;
    let steps = serde_json::from_str(&text).with_context(|| format!("parse {script}"))?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let listener = tokio::net::TcpListener::bind(address)
                .await
                .with_context(|| format!("bind {address}"))?;
            writeln!(std::io::stdout(), "listening on {}", listener.local_addr()?)?;
            harness::model::serve(listener, steps).await
        })
}
