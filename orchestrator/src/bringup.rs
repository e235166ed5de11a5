//! The order of a start, as types: `Sealed`, `Guarded`, `Running`. An agent without a proven fence does not compile,
//! because only `Sandbox<_, Guarded>` has `run`, and only a whole set of refusals makes one.
//!
//! Each step that fails ends everything that was begun, and gives the first error with what went wrong after it.
//! Not responsible for how any step is done (`engine`), or for what was to be probed (`probe`).
//! Clauses: U1, U2, U3.
use std::os::fd::{AsFd, OwnedFd};

use crate::engine::{Ending, Engine, EngineError, ReadBack};
use crate::probe::{Proven, Unproven};
use crate::teardown;

/// A sandbox in one stage of its life.
#[derive(Debug)]
pub struct Sandbox<E: Engine, Stage> {
    engine: E,
    parts: E::Parts,
    stage: Stage,
}

/// The rules stand and were read back.
#[derive(Debug)]
pub struct Sealed {
    read_back: ReadBack,
}

/// The proxy serves, and everything that must fail was seen to fail.
#[derive(Debug)]
pub struct Guarded {
    proven: Proven,
}

/// The agent runs.
#[derive(Debug)]
pub struct Running(());

impl<E: Engine> Sandbox<E, Sealed> {
    /// Puts the fence up.
    ///
    /// # Errors
    /// A part is missing or the rules do not stand; all is undone.
    pub fn seal(mut engine: E) -> Result<Self, BringUpError> {
        let mut parts = E::Parts::default();
        let sealed = match engine.begin(&mut parts) {
            Ok(()) => engine.seal(&mut parts),
            Err(error) => Err(error),
        };
        match sealed {
            Ok(read_back) => Ok(Self {
                engine,
                parts,
                stage: Sealed { read_back },
            }),
            Err(error) => Err(undone(engine, parts, Cause::Engine(error))),
        }
    }

    /// Proves it.
    ///
    /// # Errors
    /// The proxy does not serve, or something that must fail did not; all is undone.
    pub fn guard(mut self) -> Result<Sandbox<E, Guarded>, BringUpError> {
        match self.prove() {
            Ok(proven) => {
                let Self { engine, parts, .. } = self;
                Ok(Sandbox {
                    engine,
                    parts,
                    stage: Guarded { proven },
                })
            }
            Err(cause) => Err(undone(self.engine, self.parts, cause)),
        }
    }

    fn prove(&mut self) -> Result<Proven, Cause> {
        self.engine.serve(&mut self.parts).map_err(Cause::Engine)?;
        let findings = self.engine.probe(&mut self.parts).map_err(Cause::Engine)?;
        Proven::by(self.stage.read_back, &findings).map_err(Cause::Unproven)
    }
}

impl<E: Engine> Sandbox<E, Guarded> {
    /// Starts the agent.
    ///
    /// # Errors
    /// The box went away before it could; all is undone.
    pub fn run(mut self) -> Result<Sandbox<E, Running>, BringUpError> {
        match self.engine.open(&mut self.parts, &self.stage.proven) {
            Ok(()) => {
                let Self { engine, parts, .. } = self;
                Ok(Sandbox {
                    engine,
                    parts,
                    stage: Running(()),
                })
            }
            Err(error) => Err(undone(self.engine, self.parts, Cause::Engine(error))),
        }
    }
}

impl<E: Engine> Sandbox<E, Running> {
    /// Stays until the end, then takes everything down, whichever way it ended. `until` is the wish to end it.
    pub fn attend(mut self, until: Option<&OwnedFd>) -> Ended<E> {
        let until = until.map(AsFd::as_fd);
        let ending = self.engine.attend(&mut self.parts, until);
        let left = teardown::all(&mut self.engine, self.parts);
        Ended {
            ending,
            left,
            engine: self.engine,
        }
    }
}

/// A run is over and everything of it was taken down.
#[derive(Debug)]
pub struct Ended<E> {
    /// How it ended.
    pub ending: Result<Ending, EngineError>,
    /// What could not be taken down; the next start sweeps it.
    pub left: Vec<EngineError>,
    /// The engine, for what it has to tell.
    pub engine: E,
}

/// Why there is no agent.
#[derive(Debug)]
pub struct BringUpError {
    /// What failed first.
    pub cause: Cause,
    /// What could not be undone after it.
    pub left: Vec<EngineError>,
}

/// What failed first.
#[derive(Debug, thiserror::Error)]
pub enum Cause {
    /// A step of the engine.
    #[error(transparent)]
    Engine(EngineError),
    /// The fence stands, but something got through it or hung.
    #[error(transparent)]
    Unproven(Unproven),
}

fn undone<E: Engine>(mut engine: E, parts: E::Parts, cause: Cause) -> BringUpError {
    BringUpError {
        cause,
        left: teardown::all(&mut engine, parts),
    }
}

#[cfg(test)]
mod tests;
