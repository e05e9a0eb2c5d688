//! `cargo bench -p sector7g-benches`: the time that each case takes, per job.

use std::time::Duration;

use criterion::Criterion;
use sector7g_benches::cases;

/// Jobs in one run: enough that a worker's start and stop don't show.
const JOBS: usize = 10_000;

fn main() {
    let mut criterion = Criterion::default()
        .warm_up_time(Duration::from_secs(1))
        .measurement_time(Duration::from_secs(2))
        .sample_size(20)
        .configure_from_args();
    for case in cases() {
        criterion.bench_function(&case.name, |bencher| {
            bencher.iter_custom(|jobs| scaled(case.prepare(JOBS).run().took, jobs));
        });
    }
    criterion.final_summary();
}

#[expect(clippy::cast_precision_loss, reason = "both are small")]
fn scaled(took: Duration, jobs: u64) -> Duration {
    took.mul_f64(jobs as f64 / JOBS as f64)
}
