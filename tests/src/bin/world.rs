//! A world for one test; `harness::world::World` starts it.

fn main() -> anyhow::Result<()> {
    harness::inside::main()
}
