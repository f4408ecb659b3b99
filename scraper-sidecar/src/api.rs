//! gRPC `shoal.coordination.v1.Coordination` for the coordinator, and `/api/v1/shard` for people.

use axum::extract::State;
use axum::routing::get;
use axum::{Json, Router};
use proto::coordination::coordination_server::{Coordination, CoordinationServer};
use proto::coordination::{AssignRequest, AssignResponse, ReportRequest, ReportResponse};
use serde::Serialize;
use svc::chain;
use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::error::Error;
use crate::owner::Handle;
use crate::report::{Summary, Views};

/// The largest message taken, in bytes. Coordinators cut pushes into parts of about 1 MiB; older ones send
/// one message of about 1 KiB a target. Four waiting ones fit into a machine's memory: the StoreAPI's bound of 2 GiB would
/// not.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// The gRPC side.
pub(crate) fn grpc_routes(owner: Handle, views: Views) -> Routes {
    let server = CoordinationServer::new(Service { owner, views })
        .max_decoding_message_size(MAX_MESSAGE_BYTES)
        .max_encoding_message_size(MAX_MESSAGE_BYTES);
    Routes::new(server)
}

/// The HTTP side; probes and metrics come on top.
pub(crate) fn http_routes(views: Views) -> Router {
    Router::new().route("/api/v1/shard", get(shard)).with_state(views)
}

struct Service {
    owner: Handle,
    views: Views,
}

#[tonic::async_trait]
impl Coordination for Service {
    async fn assign(
        &self,
        request: Request<AssignRequest>,
    ) -> Result<Response<AssignResponse>, Status> {
        match self.owner.assign(request.into_inner()).await {
            Some(Ok(response)) => Ok(Response::new(response)),
            Some(Err(error)) => Err(status(&error)),
            None => Err(Status::unavailable("the sidecar is shutting down")),
        }
    }

    async fn report(
        &self,
        request: Request<ReportRequest>,
    ) -> Result<Response<ReportResponse>, Status> {
        Ok(Response::new(self.views.report(request.get_ref())))
    }
}

/// What a coordinator can mend by another push is `INVALID_ARGUMENT`; what a retry may mend is `INTERNAL`.
fn status(error: &Error) -> Status {
    match error {
        Error::UserConfig(_) | Error::Malformed(_) => Status::invalid_argument(chain(error)),
        Error::Write { .. } | Error::Read { .. } | Error::Encode(_) | Error::Interrupted(_) => {
            Status::internal(chain(error))
        }
    }
}

/// Prometheus' envelope.
#[derive(Serialize)]
struct Envelope {
    status: &'static str,
    data: Summary,
}

async fn shard(State(views): State<Views>) -> Json<Envelope> {
    Json(Envelope { status: "success", data: views.summary() })
}
