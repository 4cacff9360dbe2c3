//! How many connections each address has, where that is limited.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The connections of each address.
#[derive(Debug)]
pub(crate) struct Crowd {
    most: usize,
    here: Mutex<HashMap<IpAddr, usize>>,
}

/// One of them, as long as this lives.
#[derive(Debug)]
pub(crate) struct Guest {
    crowd: Arc<Crowd>,
    network: IpAddr,
}

impl Crowd {
    pub(crate) fn new(most: usize) -> Self {
        Self {
            most,
            here: Mutex::default(),
        }
    }

    /// Lets one more in; none if its address has as many as it may have.
    pub(crate) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Guest> {
        let network = network(address);
        let mut here = self.lock();
        let count = here.get(&network).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        here.insert(network, count + 1);
        Some(Guest {
            crowd: self.clone(),
            network,
        })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        if let Entry::Occupied(mut count) = self.crowd.lock().entry(self.network) {
            *count.get_mut() -= 1;
            if *count.get() == 0 {
                count.remove();
            }
        }
    }
}

/// Who has an address of version 6 has 2^64 of them, in a network of his own.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX)).into(),
        v4 => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_version_6_counts_as_its_network_and_nobody_is_kept() {
        let crowd = Arc::new(Crowd::new(2));
        let enter = |address: &str| crowd.enter(address.parse().expect("an address"));
        let one = enter("2001:db8::1");
        let two = enter("2001:db8::ffff:0:0:2");
        assert!(one.is_some() && two.is_some() && enter("2001:db8::3").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
        let v4 = (enter("192.0.2.1"), enter("::ffff:192.0.2.1"));
        assert!(v4.0.is_some() && v4.1.is_some() && enter("192.0.2.1").is_none());
        assert!(enter("192.0.2.2").is_some());
        drop(one);
        assert!(enter("2001:db8::3").is_some());
        drop((two, v4));
        assert!(crowd.lock().is_empty());
    }
}
