//! Unix sockets below directories of any depth.
//!
//! A socket's address holds 107 bytes of path, a file system 4,096. Through an open directory every path is short:
//! `/proc/self/fd/7/admin.sock`.

use std::{
    fs::File,
    io,
    os::fd::AsRawFd as _,
    path::{Path, PathBuf},
};

use tokio::net::{UnixListener, UnixStream};

/// Makes the socket `path`, and listens on it.
pub fn listen(path: &Path) -> io::Result<UnixListener> {
    let (_directory, short) = short(path)?;
    UnixListener::bind(short)
}

/// Connects to the socket `path`.
pub async fn connect(path: &Path) -> io::Result<UnixStream> {
    let (_directory, short) = short(path)?;
    UnixStream::connect(short).await
}

/// The directory, to be held open for as long as the path is used, and the path through it.
fn short(path: &Path) -> io::Result<(File, PathBuf)> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::from(io::ErrorKind::InvalidInput));
    };
    let directory = File::open(directory)?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(name);
    Ok((directory, short))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_socket_may_lie_at_the_end_of_a_long_path() {
        let root = tempfile::tempdir().unwrap();
        let directory = root.path().join("long".repeat(50));
        std::fs::create_dir(&directory).unwrap();
        let path = directory.join("a.sock");
        let listener = listen(&path).unwrap();
        let (connected, accepted) = tokio::join!(connect(&path), listener.accept());
        assert!(connected.is_ok() && accepted.is_ok());
    }
}
