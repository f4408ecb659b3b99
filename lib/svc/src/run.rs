//! A process from its first line to its exit code.

use std::process::ExitCode;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tracing::{error, info};

use crate::metrics::Metrics;
use crate::probe::Probe;
use crate::tasks::Tasks;
use crate::{Shutdown, chain};

/// How long tasks may take to end after SIGTERM before the process gives up on them.
const DRAIN_DEADLINE: Duration = Duration::from_secs(120);

/// What a component's `run` gets from its process. Cloneable.
#[derive(Debug, Clone)]
pub struct Context {
    pub tasks: Tasks,
    pub shutdown: Shutdown,
    pub probe: Probe,
    pub metrics: Metrics,
}

impl Context {
    /// A fresh context: one a process, or one a component in tests.
    #[must_use]
    pub fn new() -> Self {
        let shutdown = Shutdown::default();
        Self {
            tasks: Tasks::new(shutdown.clone()),
            shutdown,
            probe: Probe::default(),
            metrics: Metrics::default(),
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Self::new()
    }
}

/// Installs the one TLS provider. Needed once before any HTTPS client or server, in tests, too.
pub fn init_crypto() {
    // An error says that it is installed already.
    drop(rustls::crypto::ring::default_provider().install_default());
}

/// Runs a component to its end: builds the runtime, starts it, waits for SIGTERM, SIGINT or a failing task, drains.
/// The component's future sets everything up and returns; its loops live in `ctx.tasks`.
pub fn run<F>(component: impl FnOnce(Context) -> F) -> ExitCode
where
    F: Future<Output = anyhow::Result<()>>,
{
    init_crypto();
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(cause) => {
            error!(error = %cause, "runtime did not start");
            return ExitCode::FAILURE;
        }
    };
    let outcome = runtime.block_on(run_until_signal(component));
    runtime.shutdown_timeout(Duration::from_secs(5));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(cause) => {
            error!(error = %chain(cause.as_ref()), "exiting");
            ExitCode::FAILURE
        }
    }
}

async fn run_until_signal<F>(component: impl FnOnce(Context) -> F) -> anyhow::Result<()>
where
    F: Future<Output = anyhow::Result<()>>,
{
    let ctx = Context::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let signalled = async {
        tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        }
    };
    let set_up = set_up_and_serve(component(ctx.clone()), signalled, &ctx.shutdown).await;
    ctx.probe.not_ready("shutting down");
    ctx.shutdown.trigger();
    let drained = ctx.tasks.join(DRAIN_DEADLINE).await;
    set_up.and(drained)
}

/// Returns when the process is to end: on a signal at any time, one that comes during the set-up included.
async fn set_up_and_serve(
    component: impl Future<Output = anyhow::Result<()>>,
    signalled: impl Future<Output = &'static str>,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let serve = async {
        component.await?;
        shutdown.triggered().await;
        Ok(())
    };
    tokio::select! {
        outcome = serve => outcome,
        signal = signalled => {
            info!(signal, "shutting down");
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use anyhow::bail;

    use super::*;

    #[tokio::test]
    async fn a_signal_during_the_set_up_ends_the_process() {
        let ended = set_up_and_serve(pending(), ready("SIGTERM"), &Shutdown::default()).await;
        assert!(ended.is_ok());
    }

    #[tokio::test]
    async fn a_signal_after_the_set_up_ends_the_process() {
        let ended = set_up_and_serve(ready(Ok(())), ready("SIGINT"), &Shutdown::default()).await;
        assert!(ended.is_ok());
    }

    #[tokio::test]
    async fn a_failed_set_up_ends_the_process_with_its_error() {
        let failing = async { bail!("port in use") };
        let ended = set_up_and_serve(failing, pending(), &Shutdown::default()).await;
        assert_eq!(ended.unwrap_err().to_string(), "port in use");
    }

    #[tokio::test]
    async fn a_component_that_gives_up_ends_the_process() {
        let shutdown = Shutdown::default();
        shutdown.trigger();
        assert!(set_up_and_serve(ready(Ok(())), pending(), &shutdown).await.is_ok());
    }
}
