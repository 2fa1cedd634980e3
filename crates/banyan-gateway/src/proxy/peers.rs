//! How much one address may have at once, so that nobody takes all the room there is: connections, and requests under way.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Between two warnings.
const WARNING_PAUSE: Duration = Duration::from_secs(60);

/// Everybody who has a connection. Looked at once for each connection, and not for each request.
#[derive(Default)]
pub(crate) struct Peers {
    known: Mutex<BTreeMap<IpAddr, Arc<Peer>>>,
    warned: Mutex<Option<Instant>>,
}

/// One address.
#[derive(Default)]
struct Peer {
    connections: AtomicUsize,
    under_way: AtomicUsize,
}

/// A connection's place among those of its address.
pub(crate) struct PeerPlace {
    peers: Arc<Peers>,
    address: IpAddr,
    peer: Arc<Peer>,
}

impl Peers {
    /// A place for one more connection from `address`, if it has fewer than `connections_max`.
    pub(crate) fn come(self: &Arc<Self>, address: IpAddr, connections_max: usize) -> Option<PeerPlace> {
        let address = household(address);
        let mut peers = self.lock();
        let peer = peers.entry(address).or_default();
        // Under the lock, as everything that changes it.
        if peer.connections.load(Relaxed) >= connections_max {
            return None;
        }
        peer.connections.fetch_add(1, Relaxed);
        Some(PeerPlace { peers: self.clone(), address, peer: peer.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, Arc<Peer>>> {
        // Each change is whole.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the operator, now and then, that somebody was refused.
    pub(crate) fn warn(&self, address: IpAddr, limit: &str) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        if warned.is_none_or(|at| at.elapsed() >= WARNING_PAUSE) {
            *warned = Some(Instant::now());
            tracing::warn!(
                %address, limit,
                "one client reached its limit and is refused; if it is a proxy of yours, name it in `trusted_proxies`"
            );
        }
    }
}

impl PeerPlace {
    /// One more request begins. Says how many were under way before; [`PeerPlace::ended`] follows in any case.
    pub(crate) fn began(&self) -> usize {
        self.peer.under_way.fetch_add(1, Relaxed)
    }

    /// A request that began has ended.
    pub(crate) fn ended(&self) {
        self.peer.under_way.fetch_sub(1, Relaxed);
    }
}

impl Drop for PeerPlace {
    fn drop(&mut self) {
        let mut peers = self.peers.lock();
        if self.peer.connections.fetch_sub(1, Relaxed) == 1 {
            peers.remove(&self.address);
        }
    }
}

/// Whoever has one address of IPv6 has the other 2^64 of its network, too.
fn household(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_of_an_address_and_come_back() {
        let peers = Arc::new(Peers::default());
        let come = |text: &str| peers.come(text.parse().expect("an address"), 2);
        let (one, two) = (come("192.0.2.1").expect("room"), come("::ffff:192.0.2.1").expect("room"));
        assert!(come("192.0.2.1").is_none());
        assert!(come("192.0.2.2").is_some());
        drop(one);
        let again = come("192.0.2.1").expect("room again");
        assert_eq!((two.began(), again.began()), (0, 1), "requests of an address are counted together");
        two.ended();
        assert_eq!(again.began(), 1);
        drop((two, again));
        assert!(peers.lock().is_empty(), "nobody is remembered who is gone");
    }

    #[test]
    fn a_network_of_ipv6_is_one_client() {
        let peers = Arc::new(Peers::default());
        let come = |text: &str| peers.come(text.parse().expect("an address"), 1);
        let _one = come("2001:db8::1").expect("room");
        assert!(come("2001:db8::ffff:2").is_none());
        assert!(come("2001:db8:0:1::1").is_some());
    }
}
