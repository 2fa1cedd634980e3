//! Free ports on loopback.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};

use crate::Error;

/// A server that lost the race for its port is started again on another, this often.
const ATTEMPTS_MAX: usize = 5;

/// A TCP port nobody is bound to now, chosen by the kernel. Somebody may take it before the caller binds it, so
/// servers are started through [`with_free_ports`], which tries again.
pub fn free_port() -> Result<u16, Error> {
    Ok(free_ports::<1>()?[0])
}

/// Calls `start` with `N` different free ports, and again with others while it fails because a port was taken.
pub fn with_free_ports<const N: usize, T>(
    mut start: impl FnMut([u16; N]) -> Result<T, Error>,
) -> Result<T, Error> {
    let mut attempt = 1;
    loop {
        match start(free_ports::<N>()?) {
            Err(error) if error.is_port_taken() && attempt < ATTEMPTS_MAX => attempt += 1,
            result => return result,
        }
    }
}

/// Whether the process listens on this port of 127.0.0.1. That somebody answers there does not say who.
pub(crate) fn listens(pid: u32, port: u16) -> bool {
    let table = fs::read_to_string(format!("/proc/{pid}/net/tcp")).unwrap_or_default();
    let local = format!("0100007F:{port:04X}");
    let sockets: Vec<String> = table
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        // Number, local address, remote address, state (0A is listening), five more, and the socket's number.
        .filter(|fields| fields.get(1) == Some(&local.as_str()) && fields.get(3) == Some(&"0A"))
        .filter_map(|fields| fields.get(9).map(|inode| format!("socket:[{inode}]")))
        .collect();
    let files = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut links = files.filter_map(|file| fs::read_link(file.path()).ok());
    links.any(|link| sockets.iter().any(|socket| link.as_os_str() == socket.as_str()))
}

/// All listeners are held until every port is known, so that the ports differ.
fn free_ports<const N: usize>() -> Result<[u16; N], Error> {
    let doing = || "asking the kernel for a free port on 127.0.0.1";
    let mut listeners = Vec::with_capacity(N);
    let mut ports = [0; N];
    for port in &mut ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| Error::io(doing(), e))?;
        *port = listener.local_addr().map_err(|e| Error::io(doing(), e))?.port();
        listeners.push(listener);
    }
    Ok(ports)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_differ_and_can_be_bound() {
        let ports = free_ports::<4>().expect("four free ports");
        let bound: Vec<_> = ports
            .iter()
            .map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).expect("a free port"))
            .collect();
        assert_eq!(bound.len(), 4);
    }

    #[test]
    fn who_listens_is_known() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a listener");
        let port = listener.local_addr().expect("its address").port();
        assert!(listens(std::process::id(), port));
        assert!(!listens(1, port), "another process");
        drop(listener);
        assert!(!listens(std::process::id(), port));
    }

    #[test]
    fn a_taken_port_is_tried_again_and_other_failures_are_not() {
        let died = |tail: &str| Error::Died {
            name: "x".into(),
            status: "exit status: 1".into(),
            log: "/x.log".into(),
            tail: tail.into(),
        };
        let mut seen = Vec::new();
        let port = with_free_ports::<1, _>(|[port]| {
            seen.push(port);
            if seen.len() < 3 { Err(died("bind: Address already in use")) } else { Ok(port) }
        });
        assert_eq!(port.expect("the third attempt"), seen[2]);
        assert_eq!(seen.len(), 3);

        let mut calls = 0;
        let error = with_free_ports::<1, ()>(|_| {
            calls += 1;
            Err(died("no space left on device"))
        });
        assert!(error.expect_err("not a port's fault").to_string().contains("no space left"));
        assert_eq!(calls, 1);
    }
}
