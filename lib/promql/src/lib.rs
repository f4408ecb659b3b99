//! PromQL: parser, printer and engine, at the language level of Prometheus 3.14.
//!
//! The crate is synchronous and does no I/O: series come through [`storage::Storage`], and whoever serves queries runs
//! [`Engine`] on threads that may be busy.
//!
//! - [`parse()`] gives an [`ast::Expr`] with byte positions; its `Display` parses back to the same tree.
//! - [`Engine::instant`] and [`Engine::range`] evaluate a query. Evaluation goes series by series, not step by step: a
//!   selector's series is read, reduced to one value per step and dropped, and aggregations fold these rows into one
//!   accumulator per group.
//! - [`script::run()`] runs tests in the syntax of promqltest.
//!
//! # Units and shapes
//!
//! Times and lengths of time are milliseconds (`i64`, since the epoch where they are times), except where the language
//! itself speaks of seconds: number literals, `time()`, [`ast::LengthExpr`]. Positions are bytes of the query
//! ([`ast::Span`]). Samples are columns of one length with native histograms in a side column ([`storage::Samples`],
//! [`MatrixSeries`]).
//!
//! # Errors
//!
//! A text that is no PromQL gives a [`ParseError`] with `line:col`; everything else that stops a query is another
//! [`QueryError`], one variant for each `errorType` of Prometheus' API. What does not stop a query is in
//! [`QueryResult::warnings`] and [`QueryResult::infos`]. Texts are Prometheus' own. Nothing panics on any query or data.
//!
//! # Where the rules come from
//!
//! | rules | upstream (github.com/prometheus/prometheus, 3.14) |
//! | --- | --- |
//! | tokens, grammar, types | `promql/parser/lex.go`, `generated_parser.y`, `parse.go` |
//! | signatures of functions | `promql/parser/functions.go` |
//! | printing, on one line and several | `promql/parser/printer.go`, `prettier.go` |
//! | lookback, staleness, `@`, `offset`, subqueries, binary operators, aggregations | `promql/engine.go` |
//! | lengths of time that are calculated | `promql/durations.go` |
//! | functions, extrapolation, start timestamps, `anchored`, `smoothed` | `promql/functions.go` |
//! | quantiles and fractions | `promql/quantile.go` |
//! | `info()` | `promql/info.go` |
//! | arithmetic of native histograms | `model/histogram/float_histogram.go` |
//! | what samples count as in `stats` | `util/stats/query_stats.go` |
//! | hints to the source of series | `storage/interface.go` |
//! | wording of warnings and infos | `util/annotations/annotations.go` |
//! | scripts | `promql/promqltest/test.go` |
//!
//! Deliberate differences are listed in `docs/compat.md` of the repository.

#![warn(clippy::missing_errors_doc, clippy::missing_panics_doc)]

pub mod ast;
mod budget;
mod cancel;
mod engine;
mod error;
pub mod parse;
mod pool;
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
