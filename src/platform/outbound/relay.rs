//! A relay between a checked connection and a library that takes no stream of ours: what comes can be measured
//! on the way.

use std::future::Future;
use std::io;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _, copy, split};
use tokio::task::JoinSet;

use super::pause;

/// How long what was said last may take to go out.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// What bytes come from and go to.
pub trait Both: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Both for S {}

/// A relay at work. Dropped, it breaks off both connections at once.
#[derive(Debug)]
pub struct Relay {
    task: JoinSet<()>,
    broke: Arc<OnceLock<io::Error>>,
}

impl Relay {
    /// Begins `work`, which ends with how it went and with the side at which the library is.
    pub fn start<N: Send + 'static>(work: impl Future<Output = (io::Result<()>, N)> + Send + 'static) -> Self {
        let broke = Arc::new(OnceLock::new());
        let told = Arc::clone(&broke);
        let mut task = JoinSet::new();
        task.spawn(async move {
            let (ended, near) = work.await;
            if let Err(error) = ended {
                let _ = told.set(error);
            }
            // Only now: whoever finds it ended asks why.
            drop(near);
        });
        Self { task, broke }
    }

    /// Why it broke, when it did not end in good order.
    pub fn broke(&self) -> Option<&io::Error> {
        self.broke.get()
    }

    /// Lets what was said last go out, without keeping anybody waiting.
    pub fn finish(mut self) {
        tokio::spawn(async move {
            tokio::select! {
                _ = self.task.join_next() => {}
                () = pause(LAST_WORDS) => {}
            }
        });
    }
}

/// Passes on what two sides say to each other, until one of them ends.
pub async fn pass_on<A, B>(near: &mut A, far: &mut B) -> io::Result<()>
where
    A: AsyncRead + AsyncWrite + Unpin,
    B: AsyncRead + AsyncWrite + Unpin,
{
    let ((mut near_reads, mut near_writes), (mut far_reads, mut far_writes)) = (split(near), split(far));
    let out = async {
        copy(&mut near_reads, &mut far_writes).await?;
        far_writes.shutdown().await
    };
    let back = async {
        copy(&mut far_reads, &mut near_writes).await?;
        near_writes.shutdown().await
    };
    tokio::select! {
        ended = out => ended,
        ended = back => ended,
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, duplex};

    use super::*;
    use crate::platform::outbound::metered::{Metered, TooMuch};

    fn relay<A, B>(mut near: A, mut far: B) -> Relay
    where
        A: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        B: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        Relay::start(async move { (pass_on(&mut near, &mut far).await, near) })
    }

    #[tokio::test]
    async fn each_side_hears_what_the_other_says_to_the_last_word() {
        let ((mut library, near), (far, mut server)) = (duplex(64), duplex(64));
        let relay = relay(near, far);
        library.write_all(b"question").await.unwrap();
        let mut heard = [0; 8];
        server.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"question");
        server.write_all(b"answer").await.unwrap();
        let mut heard = [0; 6];
        library.read_exact(&mut heard).await.unwrap();
        assert_eq!(&heard, b"answer");
        library.write_all(b"bye").await.unwrap();
        drop(library);
        relay.finish();
        let mut last = Vec::new();
        server.read_to_end(&mut last).await.unwrap();
        assert_eq!(last, b"bye");
    }

    #[tokio::test]
    async fn whoever_finds_it_broken_off_is_told_why() {
        let ((mut library, near), (far, mut server)) = (duplex(64), duplex(64));
        let relay = relay(near, Metered::new(far, 10));
        let flood = async {
            while server.write_all(&[0; 64]).await.is_ok() {}
        };
        let mut came = Vec::new();
        let (read, ()) = tokio::join!(library.read_to_end(&mut came), flood);
        read.unwrap();
        assert!(came.len() <= 10 && relay.broke().is_some_and(TooMuch::is_in), "{} bytes came", came.len());
    }

    #[tokio::test]
    async fn a_relay_that_is_dropped_lets_go_of_both_sides() {
        let ((mut library, near), (far, mut server)) = (duplex(64), duplex(64));
        drop(relay(near, far));
        assert_eq!(server.read(&mut [0]).await.unwrap(), 0);
        assert_eq!(library.read(&mut [0]).await.unwrap(), 0);
    }
}
