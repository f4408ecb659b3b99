//! Flags, named as those of `thanos query`.

use std::net::SocketAddr;
use std::time::Duration;

use svc::args::duration;

/// Flags of `shoal query`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// Listen address of the Prometheus API and the web page.
    #[arg(long = "http-address", default_value = "0.0.0.0:10902")]
    pub http_address: SocketAddr,
    /// How long running HTTP requests may take to end after a shutdown was asked for.
    #[arg(long = "http-grace-period", default_value = "2m", value_parser = duration)]
    pub http_grace_period: Duration,
    /// Listen address of StoreAPI.
    #[arg(long = "grpc-address", default_value = "0.0.0.0:10901")]
    pub grpc_address: SocketAddr,
    /// Accepted; running gRPC calls end with the process.
    #[arg(long = "grpc-grace-period", value_parser = duration)]
    pub grpc_grace_period: Option<Duration>,
    /// StoreAPI endpoint: `host:port`, or `dns+host:port` for every address of a name. Repeatable.
    #[arg(long = "endpoint", alias = "store")]
    pub endpoint: Vec<String>,
    /// StoreAPI endpoint with a fixed address. Repeatable. Every endpoint is expected here, strict or not.
    #[arg(long = "endpoint-strict", alias = "store-strict")]
    pub endpoint_strict: Vec<String>,
    /// URL of a Shoal coordinator; all its shards are endpoints. Repeatable.
    #[arg(long = "endpoint.coordinator")]
    pub endpoint_coordinator: Vec<String>,
    /// How often a coordinator is asked for its shards.
    #[arg(long = "endpoint.coordinator-interval", default_value = "3s", value_parser = duration)]
    pub endpoint_coordinator_interval: Duration,
    /// How often an endpoint is asked for its Info.
    #[arg(long = "endpoint.info-interval", default_value = "5s", value_parser = duration)]
    pub endpoint_info_interval: Duration,
    /// How long an Info call may take.
    #[arg(long = "endpoint.info-timeout", default_value = "5s", value_parser = duration)]
    pub endpoint_info_timeout: Duration,
    /// How often names are looked up.
    #[arg(long = "store.sd-dns-interval", default_value = "30s", value_parser = duration)]
    pub store_sd_dns_interval: Duration,
    /// Longest wait for each frame of an endpoint; 0 waits as long as the query may take.
    #[arg(long = "store.response-timeout", default_value = "0", value_parser = duration)]
    pub store_response_timeout: Duration,
    /// How long a query may take.
    #[arg(long = "query.timeout", default_value = "2m", value_parser = duration)]
    pub query_timeout: Duration,
    /// How many queries are evaluated at a time.
    #[arg(long = "query.max-concurrent", default_value_t = 20)]
    pub query_max_concurrent: usize,
    /// How old the newest sample of a series may be to count.
    #[arg(long = "query.lookback-delta", default_value = "5m", value_parser = duration)]
    pub query_lookback_delta: Duration,
    /// Look back further than that where downsampled data is wanted. The default.
    #[arg(
        long = "query.dynamic-lookback-delta",
        overrides_with = "no_query_dynamic_lookback_delta"
    )]
    pub query_dynamic_lookback_delta: bool,
    /// Never look back further.
    #[arg(
        long = "no-query.dynamic-lookback-delta",
        overrides_with = "query_dynamic_lookback_delta"
    )]
    pub no_query_dynamic_lookback_delta: bool,
    /// Take downsampled data for range queries that don't say, if it has five samples a step.
    #[arg(long = "query.auto-downsampling")]
    pub query_auto_downsampling: bool,
    /// Label that tells replicas apart. Repeatable, or separated by commas.
    #[arg(long = "query.replica-label", value_delimiter = ',')]
    pub query_replica_label: Vec<String>,
    /// How replicas become one series.
    #[arg(long = "deduplication.func", value_enum, default_value = "penalty")]
    pub deduplication_func: DeduplicationFunc,
    /// Give what is there when an endpoint fails; requests say otherwise by `partial_response`. The default.
    #[arg(long = "query.partial-response", overrides_with = "no_query_partial_response")]
    pub query_partial_response: bool,
    /// Refuse incomplete answers by default.
    #[arg(long = "no-query.partial-response", overrides_with = "query_partial_response")]
    pub no_query_partial_response: bool,
    /// Step of subqueries that name none.
    #[arg(
        long = "query.default-evaluation-interval",
        default_value = "1m",
        value_parser = duration
    )]
    pub query_default_evaluation_interval: Duration,
    /// Least step of a range query that names none.
    #[arg(long = "query.default-step", default_value = "1s", value_parser = duration)]
    pub query_default_step: Duration,
    /// Time range of label requests that name none; 0 for all time.
    #[arg(
        long = "query.metadata.default-time-range",
        default_value = "0",
        value_parser = duration
    )]
    pub query_metadata_default_time_range: Duration,
    /// Most samples that one query may hold in memory.
    #[arg(long = "query.max-samples", default_value_t = 50_000_000)]
    pub query_max_samples: u64,
    /// Most bytes of received series that one query may hold while they wait to be merged and evaluated.
    #[arg(long = "query.max-buffered-bytes", default_value_t = 1 << 30)]
    pub query_max_buffered_bytes: usize,
    /// Most bytes that the evaluation of one query may take, its answer included; 0 for no bound.
    #[arg(long = "query.max-memory-per-query", default_value_t = 2 << 30)]
    pub query_max_memory_per_query: u64,
    /// Most bytes that the evaluation of all queries together may take; 0 for no bound.
    #[arg(long = "query.max-memory", default_value_t = 8 << 30)]
    pub query_max_memory: u64,
    /// Parts of PromQL that are off by default: promql-experimental-functions, promql-extended-range-selectors,
    /// promql-binop-fill-modifiers, promql-delayed-name-removal, use-start-timestamps. Repeatable, or separated by
    /// commas.
    #[arg(long = "enable-feature", value_delimiter = ',')]
    pub enable_feature: Vec<String>,
    /// Prefix of all paths but the probes and /metrics.
    #[arg(long = "web.route-prefix", default_value = "")]
    pub web_route_prefix: String,
    /// Don't let web pages of other origins use the API.
    #[arg(long = "web.disable-cors")]
    pub web_disable_cors: bool,
    /// Evaluation happens here; distributed evaluation is not offered.
    #[arg(long = "query.mode", value_parser = ["local"], default_value = "local")]
    pub query_mode: String,
    #[command(flatten)]
    pub inert: InertArgs,
}

/// How replicas become one series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum DeduplicationFunc {
    Penalty,
    Chain,
}

/// Flags of `thanos query` that are taken so that command lines need no change, but change nothing here.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Accepted without effect")]
pub struct InertArgs {
    #[arg(long = "query.promql-engine")]
    pub query_promql_engine: Option<String>,
    #[arg(long = "query.max-concurrent-select")]
    pub query_max_concurrent_select: Option<u64>,
    #[arg(long = "query.partition-label")]
    pub query_partition_label: Vec<String>,
    #[arg(long = "query.active-query-path")]
    pub query_active_query_path: Option<String>,
    #[arg(long = "query.conn-metric.label")]
    pub query_conn_metric_label: Vec<String>,
    #[arg(long = "selector-label")]
    pub selector_label: Vec<String>,
    #[arg(long = "store.unhealthy-timeout")]
    pub store_unhealthy_timeout: Option<String>,
    #[arg(long = "store.sd-dns-resolver")]
    pub store_sd_dns_resolver: Option<String>,
    #[arg(long = "grpc.proxy-strategy")]
    pub grpc_proxy_strategy: Option<String>,
    #[arg(long = "grpc-compression")]
    pub grpc_compression: Option<String>,
    #[arg(long = "alert.query-url")]
    pub alert_query_url: Option<String>,
    #[arg(long = "web.external-prefix")]
    pub web_external_prefix: Option<String>,
    #[arg(long = "web.prefix-header")]
    pub web_prefix_header: Option<String>,
    #[arg(long = "query.tenant-header")]
    pub query_tenant_header: Option<String>,
    #[arg(long = "query.default-tenant-id")]
    pub query_default_tenant_id: Option<String>,
    #[arg(long = "request.logging-config")]
    pub request_logging_config: Option<String>,
    #[arg(long = "tracing.config")]
    pub tracing_config: Option<String>,
}

impl InertArgs {
    /// The flags that were given.
    pub fn given(&self) -> Vec<&'static str> {
        let Self {
            query_promql_engine,
            query_max_concurrent_select,
            query_partition_label,
            query_active_query_path,
            query_conn_metric_label,
            selector_label,
            store_unhealthy_timeout,
            store_sd_dns_resolver,
            grpc_proxy_strategy,
            grpc_compression,
            alert_query_url,
            web_external_prefix,
            web_prefix_header,
            query_tenant_header,
            query_default_tenant_id,
            request_logging_config,
            tracing_config,
        } = self;
        [
            ("query.promql-engine", query_promql_engine.is_some()),
            ("query.max-concurrent-select", query_max_concurrent_select.is_some()),
            ("query.partition-label", !query_partition_label.is_empty()),
            ("query.active-query-path", query_active_query_path.is_some()),
            ("query.conn-metric.label", !query_conn_metric_label.is_empty()),
            ("selector-label", !selector_label.is_empty()),
            ("store.unhealthy-timeout", store_unhealthy_timeout.is_some()),
            ("store.sd-dns-resolver", store_sd_dns_resolver.is_some()),
            ("grpc.proxy-strategy", grpc_proxy_strategy.is_some()),
            ("grpc-compression", grpc_compression.is_some()),
            ("alert.query-url", alert_query_url.is_some()),
            ("web.external-prefix", web_external_prefix.is_some()),
            ("web.prefix-header", web_prefix_header.is_some()),
            ("query.tenant-header", query_tenant_header.is_some()),
            ("query.default-tenant-id", query_default_tenant_id.is_some()),
            ("request.logging-config", request_logging_config.is_some()),
            ("tracing.config", tracing_config.is_some()),
        ]
        .into_iter()
        .filter_map(|(name, given)| given.then_some(name))
        .collect()
    }
}
