//! Tests of processes: starting, ending, and what is left behind.

use super::*;

fn shell(script: &str) -> (tempfile::TempDir, Launch) {
    let folder = tempfile::tempdir().expect("a folder");
    let launch = Launch::new("shell", "sh", folder.path().join("log")).args(["-c", script]);
    (folder, launch)
}

fn line_in_log(process: &mut Process, wanted: &str) {
    process.wait_ready(Duration::from_secs(10), |p| Ok(p.log_tail().contains(wanted))).expect("the line");
}

#[test]
fn drop_ends_the_process_and_what_it_started_even_outside_its_group() {
    let (_folder, launch) = shell("setsid sleep 1000 & sleep 1000 & echo up; wait");
    let mut process = launch.start().expect("start");
    line_in_log(&mut process, "up");
    assert!(wait_until(Duration::from_secs(10), || tree::members(process.pid()).len() == 3));
    let members = tree::members(process.pid());
    drop(process);
    assert!(members.iter().all(|member| !tree::is_alive(*member)));
}

#[test]
fn a_process_that_ignores_the_stop_signal_is_killed_after_its_grace() {
    let (_folder, mut launch) = shell("trap '' TERM; echo up; while true; do sleep 1000; done");
    launch.grace = Duration::from_millis(100);
    let mut process = launch.start().expect("start");
    line_in_log(&mut process, "up");
    let members = tree::members(process.pid());
    process.stop().expect("stop");
    assert!(members.iter().all(|member| !tree::is_alive(*member)));
}

#[test]
fn it_outlives_the_thread_that_asked_for_it() {
    let (_folder, launch) = shell("echo up; sleep 1000");
    let mut process = std::thread::spawn(|| launch.start().expect("start")).join().expect("the thread");
    line_in_log(&mut process, "up");
    assert!(process.exited().expect("status").is_none());
    let members = tree::members(process.pid());
    assert!(members.iter().all(|member| tree::is_alive(*member)));
}

#[test]
fn a_process_that_dies_early_shows_its_log() {
    let (folder, launch) = shell("echo my last words; exit 7");
    let mut process = launch.start().expect("start");
    let error = process.wait_ready(Duration::from_secs(10), |_| Ok(false)).expect_err("it died").to_string();
    assert!(error.contains("my last words") && error.contains("exit status: 7"), "{error}");
    assert!(error.contains(folder.path().to_str().expect("utf-8")), "{error}");
}

#[test]
fn a_process_that_never_gets_ready_is_reported_in_time() {
    let (_folder, launch) = shell("echo thinking; sleep 1000");
    let mut process = launch.start().expect("start");
    line_in_log(&mut process, "thinking");
    let error =
        process.wait_ready(Duration::from_millis(50), |_| Ok(false)).expect_err("never ready").to_string();
    assert!(error.contains("no readiness within") && error.contains("thinking"), "{error}");
}

#[test]
fn a_program_that_is_not_there_is_a_clear_failure() {
    let (_folder, mut launch) = shell("");
    launch.program = "/no/such/program".into();
    let error = launch.run(Duration::from_secs(10)).expect_err("no program").to_string();
    assert!(error.contains("/no/such/program"), "{error}");
}

#[test]
fn it_starts_again_the_same_way_after_a_crash() {
    let (_folder, launch) = shell("echo up $$; sleep 1000");
    let mut process = launch.start().expect("start");
    line_in_log(&mut process, "up");
    let first = process.pid();
    process.kill().expect("kill");
    process.start_again().expect("start again");
    let second = process.pid();
    line_in_log(&mut process, &format!("up {second}"));
    assert_ne!(first, second);
}
