//! prometheus.yml: its model, relabelling, and edits that keep what we do not know.
//!
//! [`load`] and [`parse`] read the user's configuration (Prometheus 2.42 to 3.14) and refuse what Prometheus would
//! refuse, with file, line and key. [`relabel`] and [`target`] do to discovered targets what Prometheus does.
//! [`shard_file`] writes the configuration of one shard from the user's, value by value as it was written.
//!
//! Reading and rewriting share one document tree (`yaml`), built from the events of `saphyr-parser`: it keeps the text
//! of scalars, so that `1.10` is never 1.1.

mod config;
mod discovery;
mod error;
pub mod glob;
mod http_client;
mod inline;
mod load;
mod reader;
pub mod relabel;
mod schema;
mod scrape_config;
mod secret;
pub mod shard_file;
mod size;
pub mod target;
mod yaml;

pub use config::{Config, Global, UnknownField};
pub use discovery::{
    ConsulSd, Discovery, DnsRecord, DnsSd, DockerFilter, DockerSd, DockerSwarmSd, EurekaSd,
    NomadSd, SwarmRole, TargetGroup, parse_target_groups_json, parse_target_groups_yaml,
};
pub use error::Error;
pub use http_client::{
    Authorization, BasicAuth, Header, HttpClientConfig, OAuth2, ProxyConfig, TlsConfig, TlsVersion,
};
pub use load::{load, parse, text};
pub use relabel::{NameValidation, RelabelConfig};
pub use scrape_config::{Limits, ScrapeConfig};
pub use secret::{Secret, ServerUrl, redacted_url, without_values};
