//! A port that belongs to one test until the test ends.
//!
//! A number that was free a moment ago may be anybody's in the next moment: another test listens there, a component, or a
//! connection has it as its source. A socket that is bound and does not listen keeps all of them away. A program that
//! reuses addresses, as servers do, listens there all the same, again and again; while none does, whoever connects is
//! refused.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use tokio::net::TcpSocket;

/// See the module.
pub struct Port {
    _socket: TcpSocket,
    address: SocketAddr,
}

impl Port {
    /// One of the loopback address.
    #[track_caller]
    pub fn reserve() -> Self {
        Self::reserve_at(Ipv4Addr::LOCALHOST.into())
    }

    /// One of this address of the machine.
    #[track_caller]
    pub fn reserve_at(address: IpAddr) -> Self {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
        let socket = socket.expect("the system makes sockets");
        socket.set_reuseaddr(true).expect("a new socket takes options");
        socket.bind(SocketAddr::new(address, 0)).expect("an address of this machine with a free port");
        let address = socket.local_addr().expect("a bound socket has an address");
        Self { _socket: socket, address }
    }

    /// Where it is.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::ErrorKind;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn it_is_kept_and_refuses_while_nobody_listens() {
        let port = Port::reserve();
        let knock = || TcpStream::connect(port.address()).map(drop).map_err(|error| error.kind());
        for _ in 0..3 {
            assert_eq!(knock(), Err(ErrorKind::ConnectionRefused));
            // As servers do, the standard library reuses addresses.
            let listener = TcpListener::bind(port.address()).expect("the port is the test's");
            assert_eq!(knock(), Ok(()));
            drop(listener);
        }
    }
}
