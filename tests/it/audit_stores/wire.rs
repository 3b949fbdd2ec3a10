//! A line to a server that can be cut, and one on which answers are lost.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy, sink};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of what is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    /// It goes through, and so do answers.
    Open,
    /// Nobody is there.
    Down,
    /// It goes through. Once these bytes did, no answer comes back.
    DeafAfter(&'static str),
}

/// A port of this machine that leads to another one.
pub struct Wire {
    pub port: u16,
    way: watch::Sender<Way>,
}

impl Wire {
    pub async fn to(port: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let own = listener.local_addr().expect("an address").port();
        let (way, seen) = watch::channel(Way::Open);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut seen = seen.clone();
                let way = *seen.borrow_and_update();
                tokio::spawn(async move {
                    tokio::select! {
                        () = carry(stream, SocketAddr::from(([127, 0, 0, 1], port)), way) => {}
                        _ = seen.changed() => {}
                    }
                });
            }
        });
        Self { port: own, way }
    }

    /// From now on it is so; every connection there is breaks.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

async fn carry(mut here: TcpStream, to: SocketAddr, way: Way) {
    if way == Way::Down {
        return;
    }
    let Ok(mut there) = TcpStream::connect(to).await else { return };
    let (mut from_here, mut to_here) = here.split();
    let (mut from_there, mut to_there) = there.split();
    let (deaf, mut is_deaf) = watch::channel(false);
    let forth = async {
        let mut piece = [0; 8192];
        while let Ok(n @ 1..) = from_here.read(&mut piece).await {
            if let Way::DeafAfter(words) = way
                && piece[..n].windows(words.len()).any(|w| w == words.as_bytes())
            {
                deaf.send_replace(true);
            }
            if to_there.write_all(&piece[..n]).await.is_err() {
                break;
            }
        }
        // The other side may have closed before.
        let _ = to_there.shutdown().await;
        std::future::pending::<()>().await;
    };
    let back = async {
        let over = tokio::select! {
            _ = copy(&mut from_there, &mut to_here) => true,
            _ = is_deaf.wait_for(|deaf| *deaf) => false,
        };
        if !over {
            let _ = copy(&mut from_there, &mut sink()).await;
            std::future::pending::<()>().await;
        }
    };
    tokio::select! {
        () = forth => {}
        () = back => {}
    }
}
