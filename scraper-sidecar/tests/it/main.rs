//! The sidecar over its public gRPC and HTTP, beside a real Prometheus.

#[cfg(test)]
mod assign;
#[cfg(test)]
mod churn;
#[cfg(test)]
mod recover;
#[cfg(test)]
mod reload;
#[cfg(test)]
mod rollout;
#[cfg(test)]
mod world;
