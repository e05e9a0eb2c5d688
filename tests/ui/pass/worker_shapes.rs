//! Every option of a worker.

use sector7g_tasks::prelude::*;

/// As little as there can be.
#[derive(Worker)]
#[worker(queue = "homer")]
struct Homer;

/// Everything at once, in two attributes, on a struct with fields.
#[derive(Worker)]
#[worker(queues("high" = 3, "low" = 1), order = "weighted", name = "lenny-and-carl", max_jobs = 15)]
#[worker(
    job_timeout = "5m",
    max_tries = 3,
    keep_result = "1h",
    poll_delay = 0.25,
    health_check_interval = 10,
    job_completion_wait = 0,
    lease = "500ms",
    unknown_task_grace = "1m",
    misfire_window = "90s",
    max_payload_size = 131072,
    max_result_size = 65536,
    timezone = "Europe/Berlin",
    on_startup = hooks::warm_up,
    on_shutdown = hooks::cool_down,
    on_job_start = hooks::job_starts,
    on_job_end = hooks::job_ends,
    after_job_end = hooks::job_ended,
    alerts(depth = 1_000, oldest_due = "5m", failure_rate = 0.25, window = "10m"),
    on_alert = hooks::page,
    cron(sweep, "0 */5 * * * *"),
    cron(self::audit, "@daily", timezone = "America/New_York"),
)]
struct LennyAndCarl {
    _shift: u8,
}

/// In strict order.
#[derive(Worker)]
#[worker(queues("first", "second"), order = "strict", keep_result = false, alerts(failure_rate = 1))]
struct Charlie(#[expect(dead_code)] u8);

#[task(queue = "inanimate_rod")]
async fn sweep() {}

#[task(queue = "grimey")]
fn audit(year: Option<u16>) -> Option<u16> {
    year
}

mod hooks {
    use sector7g_tasks::prelude::*;

    pub(super) async fn warm_up(_: &WorkerContext) -> Result<(), std::io::Error> {
        Ok(())
    }

    pub(super) async fn cool_down(_: &WorkerContext) {}

    pub(super) async fn job_starts(_: &Context) -> Result<(), TaskError> {
        Ok(())
    }

    pub(super) async fn job_ends(_: &Context, end: &JobEnd) {
        let _ = end.run_time;
    }

    pub(super) async fn job_ended(_: &Context, _: &JobEnd) {}

    pub(super) async fn page(_: &WorkerContext, _: &Alert) -> Result<(), String> {
        Ok(())
    }
}

fn main() {
    let _ = (<Homer as Worker>::SETTINGS, LennyAndCarl::SETTINGS, Charlie::SETTINGS);
}
