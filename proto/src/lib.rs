//! Every contract between processes: the `.proto` sources (under `proto/proto`), the code generated from them
//! (`src/gen`, checked in; `cargo xtask codegen` renews it) and conversions to and from `model`.

mod columns;
pub mod convert;
pub mod push;

/// Thanos' StoreAPI, Targets and Metadata (package `thanos`).
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "generated"
)]
pub mod thanos {
    include!("gen/thanos.rs");

    /// Thanos' Info API (package `thanos.info`).
    pub mod info {
        include!("gen/thanos.info.rs");
    }
}

/// Prometheus' remote read (package `prometheus`).
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "generated"
)]
pub mod prometheus {
    include!("gen/prometheus.rs");
}

/// Coordinator and scraper-sidecar (package `shoal.coordination.v1`).
#[allow(
    clippy::all,
    clippy::allow_attributes_without_reason,
    clippy::too_many_lines,
    unused_qualifications,
    reason = "generated"
)]
pub mod coordination {
    include!("gen/shoal.coordination.v1.rs");
}

/// The largest gRPC message accepted or sent, in bytes: Thanos' own bound.
pub const MAX_MESSAGE_BYTES: usize = i32::MAX as usize;
