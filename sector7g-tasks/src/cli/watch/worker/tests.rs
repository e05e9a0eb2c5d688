use std::os::unix::process::ExitStatusExt;

use super::*;

/// `program`, started in the place of a worker.
fn started(program: &str, arguments: &[&str], limit: Duration) -> Worker {
    let mut worker = Worker { process: None, arguments: arguments.iter().map(OsString::from).collect(), limit };
    worker.start(Path::new(program)).unwrap();
    worker
}

const DAY: Duration = Duration::from_hours(24);

#[tokio::test]
async fn the_end_of_standard_input_is_the_request_to_stop() {
    let mut worker = started("cat", &[], DAY);
    let status = worker.stop(&CancellationToken::new()).await.unwrap().unwrap();
    assert!(status.success() && !worker.is_running());
    assert!(worker.stop(&CancellationToken::new()).await.is_none());
}

#[tokio::test]
async fn an_end_by_itself_is_told_once() {
    let mut worker = started("false", &[], DAY);
    assert_eq!(worker.ended().await.unwrap().code(), Some(1));
    assert!(!worker.is_running());
    let again = tokio::time::timeout(Duration::from_millis(10), worker.ended()).await;
    assert!(again.is_err(), "there is nothing that could end");
}

/// The clock jumps to the next timer as soon as nothing but the process is waited for.
#[tokio::test(start_paused = true)]
async fn what_ignores_the_request_is_killed() {
    let mut worker = started("sleep", &["86400"], DAY);
    let began = tokio::time::Instant::now();
    let status = worker.stop(&CancellationToken::new()).await.unwrap().unwrap();
    assert_eq!((status.signal(), began.elapsed() >= DAY), (Some(9), true));
}

#[tokio::test(start_paused = true)]
async fn a_second_request_shortens_the_wait() {
    let mut worker = started("sleep", &["86400"], DAY);
    let hurry = CancellationToken::new();
    hurry.cancel();
    let began = tokio::time::Instant::now();
    let status = worker.stop(&hurry).await.unwrap().unwrap();
    assert_eq!(status.signal(), Some(9));
    assert!((HURRY..DAY).contains(&began.elapsed()));
}

#[tokio::test]
async fn a_worker_gets_its_parents_arguments() {
    let arguments = ["homer".into(), "-v".into()];
    assert_eq!(Worker::new(&arguments, DAY).arguments, ["--until-stdin-ends", "homer", "-v"]);
}
