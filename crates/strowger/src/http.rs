//! The HTTP listener: bounded in connections and in patience.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use driver::Inheritance;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};

use crate::commands::Failure;

/// Connections open at one time; the next one waits in the kernel's queue until another is closed.
const CONNECTIONS_MAX: usize = 1_024;
/// How long a client may take from one answer to the next, and to read one. Counted by what we write: a client that
/// sends a byte now and then would otherwise keep its place for ever, and a thousand of them would keep everybody out.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long open requests may take to finish once the server is told to stop.
const FINISH_PATIENCE: Duration = Duration::from_secs(2);
/// The same when another process takes over: calls wait for that.
const HAND_OVER_PATIENCE: Duration = Duration::from_millis(200);
/// Rest after a failed accept: usually there are no file descriptors left, and trying harder brings none.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A server that answers until it is stopped.
#[derive(Debug)]
pub(crate) struct HttpServer {
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
    /// Another handle of the listening socket, for whoever comes after us.
    spare: OwnedFd,
}

/// A port that is ours, so that all ports are known to be free before anything is started.
#[derive(Debug)]
pub(crate) struct HttpDoor {
    listener: TcpListener,
    spare: OwnedFd,
    address: SocketAddr,
}

impl HttpDoor {
    /// Takes the address, with the socket of an earlier process if that has left one.
    ///
    /// # Errors
    /// One sentence: it is taken by another program, or not ours to take.
    pub(crate) async fn bind(
        address: SocketAddr,
        inheritance: &Inheritance,
    ) -> Result<Self, Failure> {
        let problem = |error: io::Error| {
            let why = match error.kind() {
                io::ErrorKind::AddrInUse => {
                    "is in use by another program; choose another with --http".to_owned()
                }
                io::ErrorKind::AddrNotAvailable => "is not an address of this machine".to_owned(),
                io::ErrorKind::PermissionDenied => {
                    "needs privileges; choose a port above 1023 with --http".to_owned()
                }
                _ => format!("cannot be listened on: {error}"),
            };
            Failure::new(format!("The HTTP address {address} {why}."))
        };
        let listener = match inheritance.listener(address) {
            Some(left) => TcpListener::from_std(left),
            None => TcpListener::bind(address).await,
        };
        let listener = listener.map_err(problem)?;
        let address = listener.local_addr().map_err(problem)?;
        let spare = listener.as_fd().try_clone_to_owned().map_err(problem)?;
        Ok(Self {
            listener,
            spare,
            address,
        })
    }

    /// Begins to answer.
    pub(crate) fn serve(self, router: Router) -> HttpServer {
        let (stop, stopped) = oneshot::channel();
        let listener = Bounded {
            listener: self.listener,
            room: Arc::new(Semaphore::new(CONNECTIONS_MAX)),
        };
        // Answers are written whole, so there is nothing to gain from waiting for more.
        let listener =
            listener.tap_io(|connection: &mut Patient| _ = connection.stream.set_nodelay(true));
        let service = router.into_make_service_with_connect_info::<SocketAddr>();
        let server = axum::serve(listener, service).with_graceful_shutdown(async move {
            // Dropped counts as told.
            let _ = stopped.await;
        });
        HttpServer {
            address: self.address,
            stop,
            task: tokio::spawn(async move { server.await }),
            spare: self.spare,
        }
    }
}

impl HttpServer {
    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Whether it still answers.
    pub(crate) fn alive(&self) -> bool {
        !self.task.is_finished()
    }

    /// The listening socket, once more.
    pub(crate) fn socket(&self) -> io::Result<OwnedFd> {
        self.spare.try_clone()
    }

    /// Lets open requests finish, within reason, and closes the port.
    pub(crate) async fn stop(self) {
        self.end(FINISH_PATIENCE).await;
    }

    /// Lets open requests finish if they are quick; whoever connects from now on waits for the owner of the socket that
    /// comes back.
    pub(crate) async fn hand_over(self) -> OwnedFd {
        self.end(HAND_OVER_PATIENCE).await
    }

    async fn end(mut self, patience: Duration) -> OwnedFd {
        let _ = self.stop.send(());
        if tokio::time::timeout(patience, &mut self.task)
            .await
            .is_err()
        {
            self.task.abort();
        }
        self.spare
    }
}

/// Accepts only as many connections as may be open.
struct Bounded {
    listener: TcpListener,
    room: Arc<Semaphore>,
}

impl Listener for Bounded {
    type Io = Patient;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Patient, SocketAddr) {
        loop {
            // The semaphore is never closed, so a permit comes as soon as a connection goes.
            let Ok(permit) = Arc::clone(&self.room).acquire_owned().await else {
                std::future::pending::<()>().await;
                continue;
            };
            match self.listener.accept().await {
                Ok((stream, peer)) => return (Patient::new(stream, permit), peer),
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that ends when nothing could be written to it for too long: its client is silent, does not finish
/// what it asks, or does not read the answer.
struct Patient {
    stream: TcpStream,
    silence: Pin<Box<Sleep>>,
    /// Gives the place back when the connection is gone.
    _place: OwnedSemaphorePermit,
}

impl Patient {
    fn new(stream: TcpStream, place: OwnedSemaphorePermit) -> Self {
        Self {
            stream,
            silence: Box::pin(tokio::time::sleep(SILENCE_MAX)),
            _place: place,
        }
    }

    /// Waits for the end of patience; every write that gets through puts it off.
    fn lose_patience(&mut self, context: &mut Context<'_>) -> Poll<io::Error> {
        ready!(self.silence.as_mut().poll(context));
        Poll::Ready(io::ErrorKind::TimedOut.into())
    }

    fn written(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(result) => {
                self.silence.as_mut().reset(Instant::now() + SILENCE_MAX);
                Poll::Ready(result)
            }
            Poll::Pending => self.lose_patience(context).map(Err),
        }
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(result) => Poll::Ready(result),
            Poll::Pending => self.lose_patience(context).map(Err),
        }
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.written(context, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.written(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn a_taken_port_is_named() {
        let door = HttpDoor::bind(
            "127.0.0.1:0".parse().expect("address"),
            &Inheritance::default(),
        )
        .await
        .expect("free");
        let sentence = HttpDoor::bind(door.address, &Inheritance::default())
            .await
            .expect_err("taken")
            .to_string();
        assert!(
            sentence.contains(&door.address.to_string()) && sentence.contains("in use"),
            "{sentence}"
        );
    }

    #[tokio::test]
    async fn stopping_ends_idle_connections() {
        let door = HttpDoor::bind(
            "127.0.0.1:0".parse().expect("address"),
            &Inheritance::default(),
        )
        .await
        .expect("free");
        let server = door.serve(Router::new().route("/", axum::routing::get(|| async { "hello" })));
        let mut client = TcpStream::connect(server.address())
            .await
            .expect("connected");
        client
            .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
            .await
            .expect("sent");
        let mut answer = vec![0; 1024];
        let length = client.read(&mut answer).await.expect("an answer");
        assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
        server.stop().await;
        let end = client.read(&mut answer).await;
        assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
    }

    /// Both ends of a connection; the server's is patient.
    async fn connection() -> (TcpStream, Patient) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("free");
        let client = TcpStream::connect(listener.local_addr().expect("address"))
            .await
            .expect("connected");
        let (stream, _) = listener.accept().await.expect("accepted");
        let place = Arc::new(Semaphore::new(1))
            .acquire_owned()
            .await
            .expect("room");
        (client, Patient::new(stream, place))
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_client_is_let_go() {
        let (_client, mut server) = connection().await;
        let error = server.read_u8().await.expect_err("nobody speaks");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_client_that_trickles_is_let_go() {
        let (mut client, mut server) = connection().await;
        client.write_all(b"GET /").await.expect("sent");
        server.read_u8().await.expect("the first byte");
        // What came did not put the end off; only an answer does.
        let left = server.silence.deadline() - Instant::now();
        tokio::time::pause();
        tokio::time::advance(left).await;
        let mut rest = [0; 4];
        server.read_exact(&mut rest).await.expect("what is there");
        let error = server.read_u8().await.expect_err("too slow");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_that_does_not_read_is_let_go() {
        let (_client, mut server) = connection().await;
        let answer = vec![0; 64 << 20];
        let error = server.write_all(&answer).await.expect_err("nobody reads");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
