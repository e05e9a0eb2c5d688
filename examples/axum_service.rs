//! A web service that enqueues jobs and runs them itself: client and worker embedded, one graceful stop for both.
//!
//! ```text
//! PORT=7007 cargo run --example axum_service
//! curl -s -X POST localhost:7007/inspections -H 'content-type: application/json' -d '{"reactor": 7}'
//! curl -s localhost:7007/inspections/$ID
//! ```
//!
//! Without `PORT` it takes a free one and says which. Ctrl-C or SIGTERM: no new requests, no new jobs, running
//! ones come to their end, exit code 0.

use std::net::Ipv4Addr;
use std::time::Duration;

use axum::extract::{Path, State as Shared};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use sector7g_tasks::prelude::*;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

type Failed = (StatusCode, String);

#[derive(Serialize, Deserialize)]
struct Inspection {
    reactor: u8,
    coolant: f64,
    attempts: u32,
}

/// The inspection itself; the first attempt on an even reactor fails, as its thermometer sticks.
#[task(queue = "lenny", max_tries = 3, backoff = "fixed(500ms)")]
async fn inspect_reactor(ctx: &Context, reactor: u8) -> Result<Inspection, String> {
    tokio::time::sleep(Duration::from_millis(300)).await;
    if reactor.is_multiple_of(2) && ctx.attempt() == 1 {
        return Err(format!("the thermometer of reactor {reactor} sticks"));
    }
    Ok(Inspection { reactor, coolant: 280.0 + f64::from(reactor) / 10.0, attempts: ctx.attempt() })
}

#[derive(Deserialize)]
struct Order {
    reactor: u8,
}

async fn order(Shared(client): Shared<Client>, Json(order): Json<Order>) -> Result<(StatusCode, Json<Value>), Failed> {
    let handle = client.enqueue(inspect_reactor::job(order.reactor)).await;
    let handle = handle.map_err(|error| (StatusCode::SERVICE_UNAVAILABLE, error.to_string()))?;
    Ok((StatusCode::ACCEPTED, Json(json!({ "id": handle.id() }))))
}

async fn show(Shared(client): Shared<Client>, Path(id): Path<String>) -> Result<Json<Value>, Failed> {
    let handle =
        client.job::<inspect_reactor>("lenny", &id).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))?;
    match handle.result_within(Duration::ZERO).await {
        Ok(inspection) => Ok(Json(json!({ "status": "complete", "result": inspection }))),
        Err(ResultError::Timeout { .. }) => Ok(Json(json!({ "status": handle.status().await.ok().flatten() }))),
        Err(ResultError::NotFound { .. }) => Err((StatusCode::NOT_FOUND, format!("there is no inspection {id}"))),
        Err(error) => Ok(Json(json!({ "status": "failed", "error": error.to_string() }))),
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let stop = CancellationToken::new();
    // The runner owns the signals: on the first it stops gracefully, and its end stops the server.
    let runner = Runner::new();
    let client = runner.client();

    let app = Router::new().route("/inspections", post(order)).route("/inspections/{id}", get(show)).with_state(client);
    let port = std::env::var("PORT").map_or(Ok(0), |port| port.parse::<u16>())?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    eprintln!("listening on http://{}", listener.local_addr()?);

    let server = axum::serve(listener, app).with_graceful_shutdown(stop.clone().cancelled_owned());
    let worker = async {
        let _stop = stop.drop_guard();
        runner.run().await
    };
    let (server, report) = tokio::join!(server.into_future(), worker);
    server?;
    eprintln!("stopped; {} inspections done", report?.done());
    Ok(())
}
