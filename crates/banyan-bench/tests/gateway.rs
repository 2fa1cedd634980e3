//! The benchmark of the gateway for a moment: it fails by itself if an answer is not the upstream's, or a copy is not accounted for.

use std::process::Command;

#[test]
fn every_proxy_passes_on_what_the_upstream_sends_and_every_copy_is_accounted_for() {
    let output = Command::new(env!("CARGO_BIN_EXE_banyan-bench"))
        .args(["gateway", "--seconds", "0.3", "--rounds", "1", "--connections", "8", "--rate", "200"])
        .args(["--cores", "shared"])
        .output()
        .expect("it runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(
        out.contains("|  | direct | banyan | nginx | haproxy | banyan, shadow | banyan, canary |"),
        "{out}"
    );
    for metric in ["small answers (200 B) (1/s)", "large answers (MB/s)", "fixed rate: added p99 (ms)"] {
        let line =
            out.lines().find(|line| line.contains(metric)).unwrap_or_else(|| panic!("no {metric}: {out}"));
        assert!(line.chars().any(|c| c.is_ascii_digit()), "{line}");
    }
    for name in ["at peak", "at the fixed rate", "at the half rate"] {
        assert!(out.contains(&format!("- copies, {name}, all rounds: of ")), "{out}");
    }
}
