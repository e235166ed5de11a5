//! What the end-to-end suites stand on: a world per test, its clients, and the readings taken of it.
