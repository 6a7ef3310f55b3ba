use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use event_manager::{EventManager, MutEventSubscriber, SubscriberOps};
use serde_json::json;

use super::*;

const MARK: u32 = 8;

/// Answers each request with itself, and each refusal with the refusal.
struct Echo(Control, Arc<Mutex<Vec<Result<Request, String>>>>);

impl MutEventSubscriber for Echo {
    fn process(&mut self, events: Events, ops: &mut EventOps) {
        for Asked { client, request } in self.0.ready(events.data(), events.event_set(), ops) {
            let answer = match &request {
                Ok(request) => Answer::Answer(json!(format!("{request:?}"))),
                Err(error) => Answer::Error(error.clone()),
            };
            self.1.lock().unwrap().push(request);
            self.0.answer(client, &answer, ops);
            self.0.tell(&Happening::Added { slot: 8, vfio: "0000:00:05.0".into() }, ops);
        }
    }

    fn init(&mut self, ops: &mut EventOps) {
        self.0.init(ops);
    }
}

struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

struct Scene {
    manager: EventManager<Echo>,
    seen: Arc<Mutex<Vec<Result<Request, String>>>>,
    path: PathBuf,
    _folder: Folder,
}

impl Scene {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("portcullis-control-{}-{count}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let path = folder.join("control");
        let folder = Folder(folder);
        let seen = Arc::default();
        let mut manager = EventManager::new().unwrap();
        manager.add_subscriber(Echo(Control::open(&path, MARK).unwrap(), Arc::clone(&seen)));
        Self { manager, seen, path, _folder: folder }
    }

    fn connect(&mut self) -> UnixStream {
        let stream = UnixStream::connect(&self.path).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        self.turn();
        stream
    }

    /// Serves all there is to serve.
    fn turn(&mut self) {
        while self.manager.run_with_timeout(20).unwrap() > 0 {}
    }

    fn turn_once(&mut self) {
        let _ = self.manager.run_with_timeout(0).unwrap();
    }

    fn seen(&self) -> Vec<Result<Request, String>> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }
}

fn lines(stream: &UnixStream, count: usize) -> Vec<String> {
    BufReader::new(stream).lines().take(count).map(Result::unwrap).collect()
}

#[test]
fn the_socket_is_its_owners_alone_and_goes_with_the_machine() {
    let scene = Scene::new();
    assert_eq!(std::fs::metadata(&scene.path).unwrap().permissions().mode() & 0o777, 0o600);
    let Scene { manager, path, _folder: folder, .. } = scene;
    drop(manager);
    assert!(!path.exists() && folder.0.exists());
}

#[test]
fn only_what_a_dead_program_left_is_replaced() {
    let scene = Scene::new();
    assert_eq!(Control::open(&scene.path, MARK).err().unwrap().kind(), ErrorKind::AddrInUse);
    let left = scene.path.with_extension("left");
    drop(UnixListener::bind(&left).unwrap());
    drop(Control::open(&left, MARK).unwrap());
    let file = scene.path.with_extension("file");
    std::fs::write(&file, "precious").unwrap();
    assert!(Control::open(&file, MARK).is_err());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "precious");
}

#[test]
fn requests_are_lines_whole_or_in_pieces() {
    let mut scene = Scene::new();
    let mut stream = scene.connect();
    for piece in
        ["{\"command\"", ": \"list\"}\n\n{\"command\": \"add\", \"vfio\": \"0000:03:00.0\"}\n{\"comm"]
    {
        stream.write_all(piece.as_bytes()).unwrap();
        scene.turn();
    }
    let add = Request::Add { vfio: "0000:03:00.0".into(), slot: None };
    assert_eq!(scene.seen(), [Ok(Request::List {}), Ok(add)]);
    let told = "{\"event\":\"added\",\"slot\":8,\"vfio\":\"0000:00:05.0\"}";
    let answers = lines(&stream, 4);
    assert_eq!(answers[0], "{\"answer\":\"List\"}");
    assert_eq!((answers[1].as_str(), answers[3].as_str()), (told, told));
    stream.write_all(b"and\": \"remove\", \"slot\": 8, \"force\": true}\n").unwrap();
    scene.turn();
    assert_eq!(scene.seen(), [Ok(Request::Remove { slot: Some(8), vfio: None, force: true })]);
}

#[test]
fn what_is_no_request_is_answered_with_a_sentence() {
    let mut scene = Scene::new();
    let mut stream = scene.connect();
    for line in
        ["nonsense", "{}", "{\"command\": \"dance\"}", "{\"command\": \"list\", \"loudly\": true}", "\u{0}"]
    {
        writeln!(stream, "{line}").unwrap();
        scene.turn();
        assert!(scene.seen()[0].is_err(), "{line}");
        let answer = &lines(&stream, 2)[0];
        assert!(answer.starts_with("{\"error\":\"This is no request"), "{answer}");
    }
}

#[test]
fn a_line_without_end_ends_the_connection() {
    let mut scene = Scene::new();
    let mut stream = scene.connect();
    let mut other = scene.connect();
    for _ in 0..3 {
        let _ = stream.write_all(&[b'x'; 4000]);
        scene.turn();
    }
    assert_eq!(scene.seen().len(), 1);
    // More cannot be read: the socket is closed with bytes in it that nobody has taken.
    let answer = &lines(&stream, 1)[0];
    assert!(answer.contains("no more than 4096 bytes"), "{answer}");
    writeln!(other, "{{\"command\": \"audit\"}}").unwrap();
    scene.turn();
    assert_eq!(scene.seen(), [Ok(Request::Audit {})]);
}

#[test]
fn who_leaves_after_asking_is_still_heard() {
    let mut scene = Scene::new();
    let mut stream = scene.connect();
    stream.write_all(b"{\"command\": \"statistics\"}\n").unwrap();
    drop(stream);
    scene.turn();
    assert_eq!(scene.seen(), [Ok(Request::Statistics {})]);
    assert_eq!(scene.manager.run_with_timeout(0).unwrap(), 0, "nothing is left to serve");
}

#[test]
fn who_does_not_listen_is_let_go() {
    let mut scene = Scene::new();
    let mut deaf = scene.connect();
    deaf.set_nonblocking(true).unwrap();
    let line = format!("{}\n", "[]".repeat(1500));
    let mut sent = 0;
    // Every refusal is answered and told: soon more waits than may.
    for _ in 0..20_000 {
        match deaf.write(line.as_bytes()) {
            Ok(_) => sent += 1,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(_) => break,
        }
        scene.turn_once();
    }
    assert!(sent < 20_000, "it is still connected");
    let mut other = scene.connect();
    writeln!(other, "{{\"command\": \"list\"}}").unwrap();
    scene.turn();
    assert_eq!(scene.seen().pop(), Some(Ok(Request::List {})));
}

#[test]
fn there_are_only_so_many_connections() {
    let mut scene = Scene::new();
    let streams: Vec<_> = (0..20).map(|_| scene.connect()).collect();
    let alive = streams.iter().filter(|stream| {
        stream.set_nonblocking(true).unwrap();
        (&**stream).read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    });
    assert_eq!(alive.count(), MOST_CLIENTS);
    drop(streams);
    scene.turn();
    let mut stream = scene.connect();
    writeln!(stream, "{{\"command\": \"list\"}}").unwrap();
    scene.turn();
    assert_eq!(scene.seen(), [Ok(Request::List {})]);
}
