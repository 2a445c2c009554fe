//! Whether what was opened under a name is what this user made there, and who is at the other end of a socket.
//!
//! Key decision: everything is asked of the open descriptor, never of the name, because between two looks at a name somebody
//! may exchange what it stands for. What is refused: another owner, another type, bits for group or others, a second name
//! (a hard link). Root is no exception: it refuses other users' objects too. Source: fstat(2), inode(7), unix(7)
//! SO_PEERCRED, proc_pid_net(5).

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use rustix::fs::{FileType, fstat};
use std::fmt;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// What is expected behind a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file, a shared memory object, or a message queue.
    File,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A folder.
    Folder,
}

impl Kind {
    fn type_and_words(self) -> (FileType, &'static str) {
        match self {
            Kind::File => (FileType::RegularFile, "a regular file"),
            Kind::Fifo => (FileType::Fifo, "a named pipe"),
            Kind::Socket => (FileType::Socket, "a socket"),
            Kind::Folder => (FileType::Directory, "a folder"),
        }
    }
}

fn refused(why: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, why)
}

/// Says what a refusal to follow a symbolic link is.
pub fn say(error: io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(libc::ELOOP) => refused("it is a symbolic link".into()),
        _ => error,
    }
}

/// Refuses what this user did not make for itself alone.
///
/// # Errors
/// `PermissionDenied` that says what is wrong with it, and what fstat(2) says.
pub fn own(fd: impl AsFd, kind: Kind) -> io::Result<()> {
    let stat = fstat(fd)?;
    let (wanted, words) = kind.type_and_words();
    let (me, mode) = (nix::unistd::geteuid().as_raw(), stat.st_mode & 0o7777);
    if FileType::from_raw_mode(stat.st_mode) != wanted {
        return Err(refused(format!("it is not {words}")));
    }
    if stat.st_uid != me {
        return Err(refused(format!("it belongs to user {}, and this is user {me}", stat.st_uid)));
    }
    if mode & 0o077 != 0 {
        return Err(refused(format!("its mode {mode:04o} lets others in")));
    }
    if kind != Kind::Folder && stat.st_nlink != 1 {
        return Err(io::Error::new(ErrorKind::PermissionDenied, Names(stat.st_nlink)));
    }
    Ok(())
}

/// Why something with several names is refused. How wide their count is depends on the architecture.
#[derive(Debug)]
struct Names(libc::nlink_t);

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "it has {} names", self.0)
    }
}

impl std::error::Error for Names {}

/// Whether a refusal may be over in a moment: where the file system cannot rename without replacing, what is just being given
/// its name has two.
pub fn is_being_named(error: &io::Error) -> bool {
    let names = error.get_ref().and_then(|inner| inner.downcast_ref::<Names>());
    names.is_some_and(|Names(count)| *count == 2)
}

/// What is at `path`, itself and not what a symbolic link leads to, without opening it (`O_PATH`).
///
/// # Errors
/// What open(2) says; as [`own`].
pub fn own_path(path: &Path, kind: Kind) -> io::Result<File> {
    let flags = libc::O_PATH | libc::O_NOFOLLOW;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    own(&file, kind)?;
    Ok(file)
}

/// Refuses whoever is at the other end of a Unix stream socket unless it is this user.
///
/// # Errors
/// `PermissionDenied` that names the user, and what getsockopt(2) says.
pub fn own_peer(fd: impl AsFd) -> io::Result<()> {
    same_user(getsockopt(&fd, PeerCredentials)?.uid())
}

/// Whether a process of this user that is the calling one is at the other end.
///
/// # Errors
/// What getsockopt(2) says.
pub fn is_self(fd: impl AsFd) -> io::Result<bool> {
    Ok(getsockopt(&fd, PeerCredentials)?.pid() == std::process::id() as i32)
}

fn same_user(theirs: u32) -> io::Result<()> {
    let me = nix::unistd::geteuid().as_raw();
    if theirs == me {
        return Ok(());
    }
    Err(refused(format!("the other program is user {theirs}'s, and this is user {me}'s")))
}

/// Refuses whoever has the socket that is `theirs` of a TCP connection on this machine whose other end is `ours`, unless it
/// is this user. The kernel does not tell it of the connection, but of every socket in a table that all may read.
///
/// # Errors
/// `PermissionDenied` that names the user, or says that the table does not have the connection.
pub fn own_tcp_peer(ours: SocketAddr, theirs: SocketAddr) -> io::Result<()> {
    let table = if theirs.is_ipv4() { "/proc/net/tcp" } else { "/proc/net/tcp6" };
    let text = std::fs::read_to_string(table)?;
    let Some(user) = owner_in(&text, theirs, ours) else {
        return Err(refused(format!("{table} does not say whose program is at {theirs}")));
    };
    same_user(user)
}

/// The user of the socket with these two addresses in a table of sockets. Once closed it is nobody's, and said to be root's:
/// such a line (without an inode) does not count.
fn owner_in(table: &str, local: SocketAddr, remote: SocketAddr) -> Option<u32> {
    let (local, remote) = (in_table(local), in_table(remote));
    table.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let here = fields.get(1) == Some(&local.as_str()) && fields.get(2) == Some(&remote.as_str());
        let open = fields.get(9).is_some_and(|inode| *inode != "0");
        if here && open { fields.get(7)?.parse().ok() } else { None }
    })
}

/// An address as the table has it: words of four bytes in the machine's order, in hexadecimal.
fn in_table(address: SocketAddr) -> String {
    let bytes = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let word = |bytes: &[u8]| format!("{:08X}", u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]));
    format!("{}:{:04X}", bytes.chunks_exact(4).map(word).collect::<String>(), address.port())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::{PermissionsExt, symlink};

    #[test]
    fn what_others_may_open_or_have_another_name_for_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).unwrap();
        own(&file, Kind::File).unwrap();
        assert!(own(&file, Kind::Fifo).unwrap_err().to_string().contains("named pipe"));
        std::fs::hard_link(&path, dir.path().join("b")).unwrap();
        let twice = own(&file, Kind::File).unwrap_err();
        assert!(twice.to_string().contains("2 names") && is_being_named(&twice));
        std::fs::remove_file(dir.path().join("b")).unwrap();
        file.set_permissions(std::fs::Permissions::from_mode(0o640)).unwrap();
        let open = own(&file, Kind::File).unwrap_err();
        assert!(open.to_string().contains("0640") && !is_being_named(&open));
        symlink(&path, dir.path().join("link")).unwrap();
        assert!(own_path(&dir.path().join("link"), Kind::File).is_err());
    }

    #[test]
    fn the_table_of_tcp_sockets_says_whose_the_other_end_is() {
        for ip in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(ip) else { continue };
            let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (far, _) = listener.accept().unwrap();
            own_tcp_peer(far.local_addr().unwrap(), far.peer_addr().unwrap()).unwrap();
            own_tcp_peer(near.local_addr().unwrap(), near.peer_addr().unwrap()).unwrap();
            let nobody = SocketAddr::new(listener.local_addr().unwrap().ip(), 1);
            assert!(own_tcp_peer(far.local_addr().unwrap(), nobody).is_err());
        }
    }

    #[test]
    fn another_users_socket_is_told_by_its_line() {
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n   \
                     0: 0100007F:1F90 0100007F:C350 01 00000000:00000000 00:00000000 00000000  1001        0 4711 1 x\n";
        let at = |port| SocketAddr::from(([127, 0, 0, 1], port));
        assert_eq!(owner_in(table, at(8080), at(50000)), Some(1001));
        assert_eq!(owner_in(table, at(50000), at(8080)), None);
        assert_eq!(owner_in(&table.replace("4711", "0"), at(8080), at(50000)), None);
    }
}
