//! Process trees, read from `/proc`: who belongs to a server, and how much CPU time they used.

use std::fs;

/// One process, told apart from a later one with the same number by its start time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

/// The process and all its descendants that are alive now, parents first. Empty when `pid` is gone.
pub fn members(pid: u32) -> Vec<Identity> {
    let Some(root) = identity(pid) else { return Vec::new() };
    let mut found = vec![root];
    let mut next = 0;
    while next < found.len() {
        found.extend(children(found[next].pid).into_iter().filter_map(identity));
        next += 1;
    }
    found
}

/// Whether this very process is alive (a zombie is not).
pub fn is_alive(process: Identity) -> bool {
    stat(process.pid)
        .is_some_and(|stat| stat.started == process.started && stat.state != 'Z' && stat.state != 'X')
}

/// CPU time, in clock ticks (1/100 s on Linux), that the process and its descendants used so far, user and system
/// together, children that already ended and were waited for included.
pub fn cpu_ticks(pid: u32) -> u64 {
    members(pid).iter().filter_map(|process| stat(process.pid)).map(|stat| stat.ticks).sum()
}

struct Stat {
    state: char,
    started: u64,
    ticks: u64,
}

fn identity(pid: u32) -> Option<Identity> {
    stat(pid).map(|stat| Identity { pid, started: stat.started })
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(tasks) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let lists = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Fields of `/proc/PID/stat` after the name, which is in parentheses and may itself hold spaces and parentheses.
fn stat(pid: u32) -> Option<Stat> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = text.get(text.rfind(')')? + 1..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index).and_then(|field| field.parse::<u64>().ok());
    Some(Stat {
        state: fields.first()?.chars().next()?,
        ticks: (11..=14).map(number).sum::<Option<u64>>()?, // utime, stime, cutime, cstime
        started: number(19)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_its_own_first_member_and_uses_cpu() {
        let own = std::process::id();
        let before = cpu_ticks(own);
        let mut sum = 0_u64;
        while cpu_ticks(own) < before + 2 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert_eq!(members(own)[0].pid, own, "{sum}");
        assert!(is_alive(members(own)[0]));
    }

    #[test]
    fn a_reused_process_number_is_another_process() {
        let own = members(std::process::id())[0];
        assert!(!is_alive(Identity { started: own.started + 1, ..own }));
    }
}
