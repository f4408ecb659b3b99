//! Checked settings.

use std::net::SocketAddr;
use std::time::Duration;

use url::Url;

use crate::args::{Args, DeduplicationFunc};
use crate::dedup::Function;
use crate::endpoints::resolve::{Address, AddressError};
use crate::error::ConfigError;
use crate::features::Features;

/// Settings of a query process.
#[derive(Debug, Clone)]
pub struct Config {
    pub http_address: SocketAddr,
    pub http_grace: Duration,
    pub grpc_address: SocketAddr,
    pub route_prefix: String,
    pub cors: bool,
    pub endpoints: EndpointConfig,
    /// Longest wait for one frame; `None` for no bound of its own.
    pub response_timeout: Option<Duration>,
    pub query: QueryConfig,
    /// What `/api/v1/status/flags` shows.
    pub flags: Vec<(&'static str, String)>,
    /// Flags that were given and change nothing.
    pub inert_flags: Vec<&'static str>,
    /// Values of `--enable-feature` that change nothing.
    pub inert_features: Vec<String>,
}

/// Where endpoints come from and how they are watched.
#[derive(Debug, Clone)]
pub struct EndpointConfig {
    pub addresses: Vec<Address>,
    pub coordinators: Vec<Url>,
    pub coordinator_interval: Duration,
    pub coordinator_timeout: Duration,
    pub dns_interval: Duration,
    pub info_interval: Duration,
    pub info_timeout: Duration,
}

/// How queries are evaluated unless a request says otherwise.
#[derive(Debug, Clone)]
pub struct QueryConfig {
    pub timeout: Duration,
    pub max_concurrent: usize,
    pub lookback: Duration,
    /// Whether to look back further where downsampled data is wanted.
    pub dynamic_lookback: bool,
    /// Whether range queries take downsampled data unless they say otherwise.
    pub auto_downsampling: bool,
    pub replica_labels: Vec<String>,
    pub function: Function,
    pub partial_response: bool,
    pub default_subquery_step: Duration,
    pub default_step: Duration,
    /// `None` for all time.
    pub default_metadata_range: Option<Duration>,
    pub max_samples: u64,
    /// Bytes of received series that one query may hold before they are used.
    pub max_buffered_bytes: usize,
    /// Bytes that evaluating one query may take.
    pub max_memory_per_query: u64,
    /// Bytes that evaluating all queries together may take.
    pub max_memory: u64,
    /// What is on beside the stable language.
    pub features: Features,
}

/// How long a coordinator may take to list its shards.
const COORDINATOR_TIMEOUT: Duration = Duration::from_secs(5);

fn not_zero(name: &'static str, duration: Duration) -> Result<Duration, ConfigError> {
    if duration.is_zero() { Err(ConfigError::Zero(name)) } else { Ok(duration) }
}

fn at_least_one<N: Default + PartialEq>(name: &'static str, number: N) -> Result<N, ConfigError> {
    if number == N::default() { Err(ConfigError::Zero(name)) } else { Ok(number) }
}

fn unless_zero(duration: Duration) -> Option<Duration> {
    (!duration.is_zero()).then_some(duration)
}

fn or_unbounded(bytes: u64) -> u64 {
    if bytes == 0 { u64::MAX } else { bytes }
}

fn addresses(any: &[String], strict: &[String]) -> Result<Vec<Address>, AddressError> {
    let mut all = Vec::with_capacity(any.len() + strict.len());
    for text in any {
        all.push(text.parse()?);
    }
    for text in strict {
        let address: Address = text.parse()?;
        if address.is_dynamic() {
            return Err(AddressError::StrictLookup(text.clone()));
        }
        all.push(address);
    }
    Ok(all)
}

fn coordinators(texts: &[String]) -> Result<Vec<Url>, ConfigError> {
    let parse = |text: &String| match Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        _ => Err(ConfigError::CoordinatorUrl(text.clone())),
    };
    texts.iter().map(parse).collect()
}

fn route_prefix(text: &str) -> String {
    match text.trim_matches('/') {
        "" => String::new(),
        prefix => format!("/{prefix}"),
    }
}

fn endpoints(args: &Args) -> Result<EndpointConfig, ConfigError> {
    let coordinator_interval = args.endpoint_coordinator_interval;
    Ok(EndpointConfig {
        addresses: addresses(&args.endpoint, &args.endpoint_strict)?,
        coordinators: coordinators(&args.endpoint_coordinator)?,
        coordinator_interval: not_zero("endpoint.coordinator-interval", coordinator_interval)?,
        coordinator_timeout: COORDINATOR_TIMEOUT,
        dns_interval: not_zero("store.sd-dns-interval", args.store_sd_dns_interval)?,
        info_interval: not_zero("endpoint.info-interval", args.endpoint_info_interval)?,
        info_timeout: not_zero("endpoint.info-timeout", args.endpoint_info_timeout)?,
    })
}

impl TryFrom<Args> for Config {
    type Error = ConfigError;

    fn try_from(args: Args) -> Result<Self, Self::Error> {
        let (flags, endpoints) = (flags(&args), endpoints(&args)?);
        let Args {
            http_address,
            http_grace_period,
            grpc_address,
            grpc_grace_period: _,
            endpoint: _,
            endpoint_strict: _,
            endpoint_coordinator: _,
            endpoint_coordinator_interval: _,
            endpoint_info_interval: _,
            endpoint_info_timeout: _,
            store_sd_dns_interval: _,
            store_response_timeout,
            query_timeout,
            query_max_concurrent,
            query_lookback_delta,
            query_dynamic_lookback_delta: _,
            no_query_dynamic_lookback_delta,
            query_auto_downsampling,
            query_replica_label,
            deduplication_func,
            query_partial_response: _,
            no_query_partial_response,
            query_default_evaluation_interval,
            query_default_step,
            query_metadata_default_time_range,
            query_max_samples,
            query_max_buffered_bytes,
            query_max_memory_per_query,
            query_max_memory,
            enable_feature,
            web_route_prefix,
            web_disable_cors,
            query_mode: _,
            inert,
        } = args;
        let (features, inert_features) = Features::of(&enable_feature);
        let query = QueryConfig {
            timeout: not_zero("query.timeout", query_timeout)?,
            max_concurrent: at_least_one("query.max-concurrent", query_max_concurrent)?,
            lookback: not_zero("query.lookback-delta", query_lookback_delta)?,
            dynamic_lookback: !no_query_dynamic_lookback_delta,
            auto_downsampling: query_auto_downsampling,
            replica_labels: query_replica_label,
            function: function(deduplication_func),
            partial_response: !no_query_partial_response,
            default_subquery_step: not_zero(
                "query.default-evaluation-interval",
                query_default_evaluation_interval,
            )?,
            default_step: not_zero("query.default-step", query_default_step)?,
            default_metadata_range: unless_zero(query_metadata_default_time_range),
            max_samples: at_least_one("query.max-samples", query_max_samples)?,
            max_buffered_bytes: at_least_one("query.max-buffered-bytes", query_max_buffered_bytes)?,
            max_memory_per_query: or_unbounded(query_max_memory_per_query),
            max_memory: or_unbounded(query_max_memory),
            features,
        };
        Ok(Self {
            http_address,
            http_grace: http_grace_period,
            grpc_address,
            route_prefix: route_prefix(&web_route_prefix),
            cors: !web_disable_cors,
            endpoints,
            response_timeout: unless_zero(store_response_timeout),
            query,
            flags,
            inert_flags: inert.given(),
            inert_features,
        })
    }
}

fn function(wanted: DeduplicationFunc) -> Function {
    match wanted {
        DeduplicationFunc::Penalty => Function::Penalty,
        DeduplicationFunc::Chain => Function::Chain,
    }
}

fn flags(args: &Args) -> Vec<(&'static str, String)> {
    let duration = |duration: Duration| model::duration::format(duration);
    vec![
        ("http-address", args.http_address.to_string()),
        ("grpc-address", args.grpc_address.to_string()),
        ("endpoint", args.endpoint.join(",")),
        ("endpoint-strict", args.endpoint_strict.join(",")),
        ("query.timeout", duration(args.query_timeout)),
        ("query.max-concurrent", args.query_max_concurrent.to_string()),
        ("query.lookback-delta", duration(args.query_lookback_delta)),
        ("query.replica-label", args.query_replica_label.join(",")),
        ("query.max-samples", args.query_max_samples.to_string()),
        ("query.max-buffered-bytes", args.query_max_buffered_bytes.to_string()),
        ("query.max-memory-per-query", args.query_max_memory_per_query.to_string()),
        ("query.max-memory", args.query_max_memory.to_string()),
        ("query.partial-response", (!args.no_query_partial_response).to_string()),
        ("store.response-timeout", duration(args.store_response_timeout)),
        ("enable-feature", args.enable_feature.join(",")),
    ]
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Command {
        #[command(flatten)]
        args: Args,
    }

    fn config(flags: &[&str]) -> Result<Config, String> {
        let line = std::iter::once("query").chain(flags.iter().copied());
        let command = Command::try_parse_from(line).map_err(|error| error.to_string())?;
        Config::try_from(command.args).map_err(|error| svc::chain(&error))
    }

    #[test]
    fn defaults_are_those_of_thanos() {
        let config = config(&[]).unwrap();
        assert_eq!(config.http_address.port(), 10_902);
        assert_eq!(config.grpc_address.port(), 10_901);
        assert_eq!(config.query.timeout, Duration::from_secs(120));
        assert_eq!(config.query.lookback, Duration::from_secs(300));
        assert_eq!(config.query.max_concurrent, 20);
        assert_eq!(config.query.max_samples, 50_000_000);
        assert_eq!(
            (config.query.max_memory_per_query, config.query.max_memory),
            (2 << 30, 8 << 30)
        );
        assert_eq!(config.response_timeout, None);
        assert!(config.query.partial_response && config.cors);
    }

    #[test]
    fn a_thanos_command_line_is_understood() {
        let config = config(&[
            "--endpoint=a:1",
            "--endpoint",
            "dns+b:2",
            "--endpoint-strict=c:3",
            "--query.replica-label=replica,rule_replica",
            "--query.replica-label=prometheus_replica",
            "--no-query.partial-response",
            "--store.response-timeout=10s",
            "--query.promql-engine=thanos",
            "--query.auto-downsampling",
            "--query.max-concurrent-select=4",
            "--query.dynamic-lookback-delta",
            "--endpoint.coordinator=http://127.0.0.1:9091",
            "--web.route-prefix=/thanos/",
        ])
        .unwrap();
        assert_eq!(config.endpoints.addresses.len(), 3);
        assert_eq!(config.query.replica_labels, ["replica", "rule_replica", "prometheus_replica"]);
        assert!(!config.query.partial_response);
        assert_eq!(config.response_timeout, Some(Duration::from_secs(10)));
        assert_eq!(config.inert_flags, ["query.promql-engine", "query.max-concurrent-select"]);
        assert!(config.query.auto_downsampling && config.query.dynamic_lookback);
        assert_eq!(config.route_prefix, "/thanos");
    }

    #[test]
    fn no_bytes_are_no_bound() {
        let config =
            config(&["--query.max-memory=0", "--query.max-memory-per-query=1000"]).unwrap();
        assert_eq!((config.query.max_memory_per_query, config.query.max_memory), (1000, u64::MAX));
    }

    #[test]
    fn mistakes_are_one_sentence() {
        let cases = [
            ("--endpoint=a", "endpoint \"a\": expected host:port"),
            (
                "--endpoint=dnssrv+a:1",
                "endpoint \"dnssrv+a:1\": only plain addresses and the dns+ lookup are supported",
            ),
            (
                "--endpoint-strict=dns+a:1",
                "endpoint \"dns+a:1\": a strict endpoint needs a fixed address",
            ),
            (
                "--endpoint.coordinator=nowhere",
                "coordinator \"nowhere\": expected http://host:port",
            ),
            ("--query.timeout=0", "--query.timeout must not be 0"),
            ("--query.max-samples=0", "--query.max-samples must not be 0"),
        ];
        for (flag, expected) in cases {
            assert_eq!(config(&[flag]).unwrap_err(), expected);
        }
        assert!(config(&["--query.mode=distributed"]).is_err());
    }
}
