//! The servers that tests start, themselves: they answer, and none is left behind.

mod arq;
mod cluster;
mod redis;

fn runs(pid: i32) -> bool {
    std::process::Command::new("kill").args(["-0", &pid.to_string()]).output().unwrap().status.success()
}
