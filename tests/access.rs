//! Who may connect: what this tool makes is open to its user alone, and what others put in its place is refused.

mod common;
#[path = "common/sandbox.rs"]
mod sandbox;

use ipcost::sys::{mqueue, sysv};
use ipcost::transport::{self, Meeting};
use sandbox::{STRANGER, as_stranger, is_root, isolate, sysv_queue, with_umask};
use std::fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const LIMIT: Duration = Duration::from_secs(300);

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(60), "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// What appears where a program waits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Path,
    Shm,
    Queue,
    Key,
}

/// Mechanism, program, who makes the name, and what it is.
const MAKERS: &[(&str, &str, &str, Place)] = &[
    ("fifo", env!("CARGO_BIN_EXE_ipc-fifo"), "consumer", Place::Path),
    ("unix-stream", env!("CARGO_BIN_EXE_ipc-unix-stream"), "consumer", Place::Path),
    ("unix-seqpacket", env!("CARGO_BIN_EXE_ipc-unix-seqpacket"), "consumer", Place::Path),
    ("unix-dgram", env!("CARGO_BIN_EXE_ipc-unix-dgram"), "consumer", Place::Path),
    ("local-socket", env!("CARGO_BIN_EXE_ipc-local-socket"), "consumer", Place::Path),
    ("io-uring", env!("CARGO_BIN_EXE_ipc-io-uring"), "consumer", Place::Path),
    ("io-uring-sqpoll", env!("CARGO_BIN_EXE_ipc-io-uring-sqpoll"), "consumer", Place::Path),
    #[cfg(feature = "tokio-unix")]
    ("tokio-unix", env!("CARGO_BIN_EXE_ipc-tokio-unix"), "consumer", Place::Path),
    ("file", env!("CARGO_BIN_EXE_ipc-file"), "producer", Place::Path),
    ("mmap-file", env!("CARGO_BIN_EXE_ipc-mmap-file"), "producer", Place::Path),
    ("shm-ring", env!("CARGO_BIN_EXE_ipc-shm-ring"), "producer", Place::Shm),
    ("posix-shm", env!("CARGO_BIN_EXE_ipc-posix-shm"), "producer", Place::Shm),
    ("shm-sem", env!("CARGO_BIN_EXE_ipc-shm-sem"), "producer", Place::Shm),
    ("shm-mutex", env!("CARGO_BIN_EXE_ipc-shm-mutex"), "producer", Place::Shm),
    ("process-vm", env!("CARGO_BIN_EXE_ipc-process-vm"), "producer", Place::Shm),
    ("posix-mq", env!("CARGO_BIN_EXE_ipc-posix-mq"), "producer", Place::Queue),
    ("sysv-mq", env!("CARGO_BIN_EXE_ipc-sysv-mq"), "producer", Place::Key),
    ("sysv-shm", env!("CARGO_BIN_EXE_ipc-sysv-shm"), "producer", Place::Key),
];

const KEY: i32 = 0x1bc0_0777;

/// Folders for one user, and what its programs are told.
struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        Self(dir)
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    fn command(&self, program: &str, role: &str, at: Option<&str>) -> Command {
        let mut command = Command::new(program);
        command.arg(role).args(at.into_iter().flat_map(|at| ["--at", at]));
        if role == "producer" {
            command.args(["--messages", "500"]);
        }
        command.env("TMPDIR", self.path()).env_remove("XDG_RUNTIME_DIR");
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    /// Where a mechanism of that kind meets, and the path where it is seen.
    fn place(&self, place: Place) -> (String, PathBuf) {
        match place {
            Place::Path => (self.path().join("meet").display().to_string(), self.path().join("meet")),
            Place::Shm | Place::Queue => ("meet".into(), "/dev/shm/meet".into()),
            Place::Key => (format!("{KEY:#x}"), PathBuf::new()),
        }
    }
}

fn end(child: Child) -> (Option<i32>, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout) + &text(&output.stderr))
}

fn other(role: &str) -> &'static str {
    if role == "producer" { "consumer" } else { "producer" }
}

fn kill(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}

/// That nobody else has any right to it.
fn private(path: &Path) {
    let mode = fs::symlink_metadata(path).unwrap().mode();
    let own = if path.is_dir() { 0o700 } else { 0o600 };
    assert_eq!(mode & 0o7777, own, "{}", path.display());
}

/// The mechanisms that can be had here; io_uring is switched off on some machines, or for all but root.
fn makers() -> impl Iterator<Item = (&'static str, &'static str, &'static str, Place)> {
    let usable = |name: &str| transport::find(name).unwrap().usable();
    MAKERS.iter().copied().filter(move |(name, ..)| match usable(name) {
        Ok(()) => true,
        Err(error) => {
            println!("{name} left out: {error}");
            false
        }
    })
}

#[test]
fn every_mechanism_with_a_name_that_others_see_is_among_the_tested() {
    for spec in transport::ALL.iter().map(|runner| runner.spec()) {
        let due = match spec.meeting {
            Meeting::Path => Some(Place::Path),
            Meeting::ShmName => Some(Place::Shm),
            Meeting::QueueName => Some(Place::Queue),
            Meeting::Key => Some(Place::Key),
            // A port has a test of its own; a stream that both inherit has no name.
            Meeting::Address | Meeting::Stdio | Meeting::Never => None,
        };
        let tested = MAKERS.iter().find(|(name, ..)| *name == spec.name).map(|(.., place)| *place);
        assert_eq!(tested, due, "{}", spec.name);
    }
}

#[test]
fn whatever_the_umask_only_the_owner_may_open_what_is_made() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        for (name, program, role, place) in makers() {
            let home = Home::new();
            let (at, path) = home.place(place);
            let mut command = home.command(program, role, Some(&at));
            let child = with_umask(&mut command, 0).spawn().unwrap();
            match place {
                Place::Key => {
                    until("its key appears", || !sysv::objects().is_empty());
                    let found = sysv::objects()[0];
                    assert_eq!(found.mode & 0o777, 0o600, "{name}");
                }
                Place::Queue => {
                    until("its queue appears", || mqueue::identity("/meet").is_ok());
                    let queue = mqueue::Queue::open("/meet", mqueue::Use::Receive).unwrap();
                    let mode = rustix::fs::fstat(queue.as_fd()).unwrap().st_mode;
                    assert_eq!(mode & 0o7777, 0o600, "{name}");
                    private(&path);
                }
                _ => {
                    until("its name appears", || path.exists());
                    private(&path);
                }
            }
            // All three files of `file`, the private folder and the register.
            let mut folders = vec![home.path().to_path_buf()];
            while let Some(folder) = folders.pop() {
                for entry in fs::read_dir(folder).unwrap().flatten() {
                    private(&entry.path());
                    folders.extend(entry.path().is_dir().then(|| entry.path()));
                }
            }
            kill(child);
            sysv::objects().iter().for_each(|object| drop(object.remove()));
            let _ = mqueue::unlink("/meet");
            let _ = fs::remove_file(path);
        }
    });
}

#[test]
fn two_programs_meet_in_the_private_folder_when_nobody_says_where() {
    common::watched(LIMIT, || {
        let home = Home::new();
        let program = env!("CARGO_BIN_EXE_ipc-unix-stream");
        let consumer = home.command(program, "consumer", None).spawn().unwrap();
        let folder = home.path().join(format!("ipcost-{}", nix::unistd::geteuid()));
        until("its socket appears", || folder.join("unix-stream").exists());
        private(&folder);
        assert_eq!(end(home.command(program, "producer", None).spawn().unwrap()).0, Some(0));
        assert_eq!(end(consumer).0, Some(0));
        assert!(!folder.join("unix-stream").exists());
    });
}

#[test]
fn a_private_folder_that_is_none_is_refused() {
    common::watched(LIMIT, || {
        let home = Home::new();
        let folder = home.path().join(format!("ipcost-{}", nix::unistd::geteuid()));
        let refused = |clue: &str| {
            let program = env!("CARGO_BIN_EXE_ipc-shm-ring");
            let (code, text) = end(home.command(program, "producer", Some("meet")).spawn().unwrap());
            assert!(code == Some(1) && text.contains(clue) && text.contains("XDG_RUNTIME_DIR"), "{clue}: {text}");
        };
        let elsewhere = tempfile::tempdir().unwrap();
        symlink(elsewhere.path(), &folder).unwrap();
        refused("symbolic link");
        fs::remove_file(&folder).unwrap();
        fs::create_dir(&folder).unwrap();
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o777)).unwrap();
        refused("0777");
        if is_root() {
            fs::set_permissions(&folder, fs::Permissions::from_mode(0o700)).unwrap();
            chown(&folder, Some(STRANGER), None).unwrap();
            refused(&format!("belongs to user {STRANGER}"));
        }
        assert_eq!(fs::read_dir(elsewhere.path()).unwrap().count(), 0, "the link was followed");
    });
}

#[test]
fn a_symbolic_link_in_the_place_of_a_name_is_neither_followed_nor_removed() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        for (name, program, maker, place) in makers().filter(|(.., place)| *place != Place::Key) {
            let home = Home::new();
            let (at, path) = home.place(place);
            let victim = home.path().join("victim");
            fs::write(&victim, vec![7; 10_000]).unwrap();
            fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
            symlink(&victim, &path).unwrap();
            if name == "file" {
                symlink(&victim, home.path().join("meet.tail")).unwrap();
            }
            for role in [maker, other(maker)] {
                let mut command = home.command(program, role, Some(&at));
                let (code, text) = end(command.args(["--patience", "300ms"]).spawn().unwrap());
                assert_eq!(code, Some(1), "{name} {role}: {text}");
                let clue = if role == maker { path.to_str().unwrap() } else { "is a symbolic link" };
                // A socket's is no socket, before it is anything else.
                assert!(text.contains(clue) || text.contains("is not a socket"), "{name} {role}: {text}");
                assert!(path.is_symlink(), "{name} {role}: the link is gone");
                assert_eq!(fs::read(&victim).unwrap(), vec![7; 10_000], "{name} {role}");
            }
            fs::remove_file(path).unwrap();
        }
    });
}

/// Starts whoever looks for a name that is there already; what it says.
fn finder(home: &Home, (name, program, maker, place): (&str, &str, &str, Place)) -> String {
    let (at, _) = home.place(place);
    let mut command = home.command(program, other(maker), Some(&at));
    let (code, text) = end(command.args(["--patience", "300ms"]).spawn().unwrap());
    assert_eq!(code, Some(1), "{name}: {text}");
    text
}

#[test]
fn what_others_may_open_or_own_is_refused_by_whoever_finds_it() {
    common::watched(LIMIT, || {
        if !isolate("1g") {
            return;
        }
        for one @ (name, _, _, place) in makers() {
            let home = Home::new();
            let (_, path) = home.place(place);
            match (place, name) {
                (Place::Key, "sysv-mq") => drop(sysv_queue(KEY, 0o666)),
                (Place::Key, _) => continue,
                (_, "fifo") => ipcost::sys::fd::make_fifo(&path).unwrap(),
                (Place::Path, name) if !matches!(name, "file" | "mmap-file") => {
                    drop(UnixListener::bind(&path).unwrap());
                }
                (_, "file") => fs::write(home.path().join("meet.tail"), vec![0; 10_000]).unwrap(),
                _ => fs::write(&path, vec![0; 10_000]).unwrap(),
            }
            let path = if name == "file" { home.path().join("meet.tail") } else { path };
            if place == Place::Key {
                assert!(finder(&home, one).contains("0666"), "{name}");
                sysv::objects().iter().for_each(|object| drop(object.remove()));
                continue;
            }
            fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
            let text = finder(&home, one);
            assert!(text.contains("mode 0666 lets others in"), "{name}: {text}");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            if is_root() {
                chown(&path, Some(STRANGER), None).unwrap();
                let text = finder(&home, one);
                assert!(text.contains(&format!("belongs to user {STRANGER}")), "{name}: {text}");
            } else {
                println!("half skipped: only root can give things to another user");
            }
            assert!(fs::symlink_metadata(&path).is_ok(), "{name}: it was removed");
            fs::remove_file(path).unwrap();
        }
    });
}

#[test]
fn another_user_can_neither_connect_nor_be_connected_to() {
    common::watched(LIMIT, || {
        if !is_root() {
            println!("skipped: only root can be two users");
            return;
        }
        if !isolate("1g") {
            return;
        }
        for (name, program, maker, place) in makers() {
            for stranger_makes in [false, true] {
                let home = Home::new();
                let (at, path) = home.place(place);
                let start = |role: &str, stranger: bool| {
                    let mut command = home.command(program, role, Some(&at));
                    command.args(["--patience", if role == maker { "60s" } else { "300ms" }]);
                    if stranger {
                        as_stranger(&mut command);
                    }
                    command.spawn().unwrap()
                };
                let first = start(maker, stranger_makes);
                match place {
                    Place::Key => until("its key appears", || !sysv::objects().is_empty()),
                    Place::Queue => until("its queue appears", || {
                        mqueue::list().is_ok_and(|names| names.contains(&"/meet".to_string()))
                    }),
                    _ => until("its name appears", || fs::symlink_metadata(&path).is_ok()),
                }
                let (code, text) = end(start(other(maker), !stranger_makes));
                assert_eq!(code, Some(1), "{name}, made by the stranger: {stranger_makes}: {text}");
                // The user who made it is not disturbed.
                let (code, text) = end(start(other(maker), stranger_makes));
                assert_eq!(code, Some(0), "{name}, made by the stranger: {stranger_makes}: {text}");
                let (code, text) = end(first);
                assert_eq!(code, Some(0), "{name}, made by the stranger: {stranger_makes}: {text}");
            }
        }
    });
}

#[test]
fn a_port_is_no_way_in_for_another_user() {
    common::watched(LIMIT, || {
        if !is_root() {
            println!("skipped: only root can be two users");
            return;
        }
        let [tcp, udp] = [env!("CARGO_BIN_EXE_ipc-tcp"), env!("CARGO_BIN_EXE_ipc-udp")];
        let cases = [(tcp, false), (tcp, true), (udp, false), (udp, true)];
        // Ports of their own, and free again before anybody listens.
        let taken = cases.map(|_| std::net::TcpListener::bind("127.0.0.1:0").unwrap());
        let free = taken.each_ref().map(|listener| listener.local_addr().unwrap().to_string());
        drop(taken);
        // Whoever is turned away tries on for a while: all at once.
        std::thread::scope(|scope| {
            for ((program, stranger_listens), free) in cases.into_iter().zip(&free) {
                scope.spawn(move || a_stranger_is_turned_away(program, stranger_listens, free));
            }
        });
    });
}

/// A consumer that listens at a port takes its own user's producer, and not another user's before it.
fn a_stranger_is_turned_away(program: &str, stranger_listens: bool, free: &str) {
    let home = Home::new();
    let start = |role: &str, stranger: bool| {
        let mut command = home.command(program, role, Some(free));
        if stranger {
            as_stranger(&mut command);
        }
        command.spawn().unwrap()
    };
    let consumer = start("consumer", stranger_listens);
    let table = || fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X} 00000000:0000 0A", free.rsplit(':').next().unwrap().parse::<u16>().unwrap());
    until("it listens", || table().contains(&port));
    let (code, text) = end(start("producer", !stranger_listens));
    assert_eq!(code, Some(1), "{program}: {text}");
    let (code, text) = end(start("producer", stranger_listens));
    assert_eq!(code, Some(0), "{program}: {text}");
    let (code, text) = end(consumer);
    assert_eq!(code, Some(0), "{program}: {text}");
    assert!(text.contains("turned somebody away") && text.contains("every byte was right"), "{text}");
}
