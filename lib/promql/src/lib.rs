//! PromQL: parser, printer and engine, at the language level of Prometheus 3.14.
//!
//! The crate is synchronous and does no I/O: series come through [`storage::Storage`], and whoever serves queries runs
//! [`Engine`] on threads that may be busy.
//!
//! - [`parse()`] gives an [`ast::Expr`] with byte positions; its `Display` parses back to the same tree.
//! - [`Engine::instant`] and [`Engine::range`] evaluate a query. Evaluation goes series by series, not step by step: a
//!   selector's series is read, reduced to one value per step and dropped, and aggregations fold these rows into one
//!   accumulator per group.

pub mod ast;
mod budget;
mod cancel;
mod engine;
mod error;
pub mod parse;
pub mod script;
pub mod storage;
mod value;

pub use ast::{describe, pretty};
pub use budget::{MemoryBudget, MemoryError, MemoryScope, Reserved};
pub use cancel::CancelFlag;
pub use engine::{Cost, Engine, EngineOptions, Operator, QueryOptions};
pub use error::QueryError;
pub use parse::{ParseError, parse, parse_selector};
pub use value::{MatrixSeries, QueryResult, Stats, Value, VectorSample};
