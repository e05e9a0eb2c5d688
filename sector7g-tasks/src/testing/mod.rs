//! For tests: of a broker, and of what has to stand a broker's faults.

pub mod chaos;
pub mod conformance;
