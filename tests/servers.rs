//! Unmodified servers as workers: two of each, one connection after the other, dealt in strict turn.

mod common;

use common::*;
use nix::sys::signal::Signal;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Connections per server: enough to show the turn, few enough for the slowest of them.
const TURNS: u64 = 12;

/// Asks `TURNS` times, one after the other, and returns the slots that answered.
#[track_caller]
fn slots(balancer: &Balancer, to: SocketAddr) -> Vec<u16> {
    (0..TURNS)
        .map(|id| match ask(to, id) {
            Outcome::Ok(answer) => match answer.slot {
                Some(slot) => slot,
                None => balancer.slot_of(answer.pid).expect("a worker's process"),
            },
            other => panic!("{id}: {other:?}"),
        })
        .collect()
}

/// No slot twice in a row, both there.
#[track_caller]
fn in_turn(slots: &[u16]) {
    assert!(
        slots.windows(2).all(|two| two[0] != two[1]),
        "not in turn: {slots:?}"
    );
    assert!(slots.iter().all(|slot| *slot < 2), "two slots: {slots:?}");
}

/// Two workers of `command` at the site: ready, in turn at its address, census.
#[track_caller]
fn serves(site: &Site, command: &[&str]) {
    let mut words = vec!["run", "-n", "2", "--"];
    words.extend(command);
    let balancer = Balancer::start(site, &words);
    in_turn(&slots(&balancer, site.to()));
    balancer.finish();
}

#[test]
fn node() {
    serves(&Site::new(), &["node", &server("http.js")]);
}

#[test]
fn node_on_127_0_0_1() {
    serves(&Site::on("127.0.0.1"), &["node", &server("http.js")]);
}

#[test]
fn node_on_0_0_0_0() {
    serves(&Site::on("0.0.0.0"), &["node", &server("http.js")]);
}

#[test]
fn node_on_both_families() {
    let site = Site::on("::");
    let balancer = Balancer::start(&site, &["run", "-n", "2", "--", "node", &server("http.js")]);
    in_turn(&slots(&balancer, site.to()));
    in_turn(&slots(
        &balancer,
        format!("[::1]:{}", site.port).parse().expect("an address"),
    ));
    let client = Client::asking(site.to(), 77, "address");
    let expected = format!("::ffff:{} ::\n", client_address(77));
    assert_eq!(client.body().expect("answered"), expected);
    balancer.finish();
}

#[test]
fn node_by_its_default_address() {
    let site = Site::on("::").env("HOST", "");
    serves(
        &site,
        &[
            "sh",
            "-c",
            &format!("unset HOST; exec node {}", server("http.js")),
        ],
    );
}

#[test]
fn python_http_server_that_blocks() {
    serves(&Site::new(), &["python3", &server("blocking.py")]);
}

#[test]
fn python_http_server_on_0_0_0_0() {
    serves(&Site::on("0.0.0.0"), &["python3", &server("blocking.py")]);
}

#[test]
fn python_http_server_on_both_families() {
    serves(&Site::on("::"), &["python3", &server("blocking.py")]);
}

#[test]
fn python_asyncio() {
    serves(&Site::new(), &["python3", &server("loop.py")]);
}

#[test]
fn python_threads_that_accept_together() {
    serves(&Site::new(), &["python3", &server("threads.py")]);
}

#[test]
fn python_processes_forked_after_listen() {
    serves(
        &Site::new().env("MODE", "prefork"),
        &["python3", &server("threads.py")],
    );
}

#[test]
fn uvicorn() {
    let site = Site::new();
    let directory = server("");
    let words = [
        "-m",
        "uvicorn",
        "--host",
        &site.host,
        "--log-level",
        "warning",
        "--app-dir",
        &directory,
        "app:asgi",
    ];
    let (port, python) = (site.port.to_string(), python());
    let mut command = vec![python.as_str(), "-B"];
    command.extend(words);
    command.extend(["--port", &port]);
    serves(&site, &command);
}

#[test]
fn uvicorn_with_its_own_workers() {
    let site = Site::new();
    let directory = server("");
    let words = [
        "-m",
        "uvicorn",
        "--host",
        &site.host,
        "--log-level",
        "warning",
        "--app-dir",
        &directory,
        "app:asgi",
    ];
    let (port, python) = (site.port.to_string(), python());
    let mut command = vec![python.as_str(), "-B"];
    command.extend(words);
    command.extend(["--port", &port, "--workers", "2"]);
    serves(&site, &command);
}

#[test]
fn gunicorn() {
    let site = Site::new();
    let (bind, directory) = (site.bind(), server(""));
    serves(
        &site,
        &[
            &python(),
            "-B",
            "-m",
            "gunicorn",
            "--log-level",
            "warning",
            "-b",
            &bind,
            "--chdir",
            &directory,
            "app:wsgi",
        ],
    );
}

#[test]
fn gunicorn_on_both_families() {
    let site = Site::on("::");
    let (bind, directory) = (site.bind(), server(""));
    serves(
        &site,
        &[
            &python(),
            "-B",
            "-m",
            "gunicorn",
            "-w",
            "2",
            "-b",
            &bind,
            "--chdir",
            &directory,
            "app:wsgi",
        ],
    );
}

#[test]
fn ruby() {
    serves(&Site::new(), &["ruby", &server("tcp.rb")]);
}

#[test]
fn puma() {
    let site = Site::new();
    let bind = format!("tcp://{}", site.bind());
    serves(&site, &["puma", "-b", &bind, &server("config.ru")]);
}

#[test]
fn php() {
    let site = Site::new();
    let bind = site.bind();
    serves(&site, &["php", "-S", &bind, &server("router.php")]);
}

/// nginx with the site's configuration; `master`: with its master process.
fn nginx(site: &Site, master: &str) {
    let directory = site.directory.display().to_string();
    let text = std::fs::read_to_string(server("nginx.conf")).expect("fixture");
    let text = text
        .replace("MASTER", master)
        .replace("ADDRESS", &site.bind());
    // Each worker has its own prefix: nginx makes its temporary directories there.
    let shell = format!(
        "mkdir -p {directory}/n$FORKFRONT_SLOT && chmod 777 {directory}/n$FORKFRONT_SLOT && \
         sed s:PREFIX:{directory}/n$FORKFRONT_SLOT:g {directory}/template > {directory}/n$FORKFRONT_SLOT/conf && \
         exec nginx -p {directory}/n$FORKFRONT_SLOT -c {directory}/n$FORKFRONT_SLOT/conf"
    );
    std::fs::write(site.file("template"), text).expect("written");
    serves(site, &["sh", "-c", &shell]);
}

#[test]
fn nginx_as_one_process() {
    nginx(&Site::new(), "off");
}

#[test]
fn nginx_with_its_master() {
    nginx(&Site::new(), "on");
}

#[test]
fn redis() {
    let site = Site::new();
    let port = site.port.to_string();
    let words = [
        "run",
        "-n",
        "2",
        "--",
        "redis-server",
        "--bind",
        &site.host,
        "--port",
        &port,
        "--save",
        "",
        "--dir",
        &site.directory.display().to_string(),
    ];
    let balancer = Balancer::start(&site, &words);
    let slots: Vec<u16> = (0..TURNS)
        .map(|_| {
            let mut client = TcpStream::connect(site.to()).expect("connected");
            client.write_all(b"INFO server\r\nQUIT\r\n").expect("sent");
            let mut text = String::new();
            client.read_to_string(&mut text).expect("answered");
            let pid = text
                .lines()
                .find_map(|line| line.strip_prefix("process_id:"))
                .expect("a pid");
            balancer
                .slot_of(pid.trim().parse().expect("a number"))
                .expect("a worker")
        })
        .collect();
    in_turn(&slots);
    balancer.finish();
}

#[test]
fn java_with_epoll() {
    serves(
        &Site::new(),
        &[
            "java",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            &server("Server.java"),
        ],
    );
}

#[test]
fn java_that_blocks() {
    serves(
        &Site::new(),
        &[
            "java",
            "-XX:+UseSerialGC",
            "-XX:TieredStopAtLevel=1",
            &server("Server.java"),
            "blocking",
        ],
    );
}

#[test]
fn npm_start() {
    serves(&Site::new(), &["npm", "--prefix", &server(""), "start"]);
}

#[test]
fn shell_that_does_not_exec() {
    serves(
        &Site::new(),
        &["sh", "-c", &format!("node {}; true", server("http.js"))],
    );
}

/// The address that a client's id stands for.
fn client_address(id: u64) -> String {
    address_of(id).to_string()
}

#[test]
fn a_helper_gets_neither_the_channel_nor_the_shim() {
    let site = Site::new();
    let report = site.file("seen").display().to_string();
    let site = site.env("HELPER_REPORT", &report);
    let balancer = Balancer::start(
        &site,
        &["run", "-n", "2", "--", "python3", &server("helper.py")],
    );
    in_turn(&slots(&balancer, site.to()));
    for slot in 0..2 {
        let text =
            std::fs::read_to_string(format!("{report}.{slot}")).expect("the helper's report");
        let seen: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        // At the time of the report it has its own three sockets open; the channel is not among the inherited.
        assert_eq!(seen["peer_ok"], true, "{text}");
        assert_eq!(seen["inherited_sockets"], 0, "{text}");
        assert_eq!(seen["family"], 2, "{text}");
    }
    balancer.finish();
}

#[test]
fn other_listeners_are_left_alone() {
    let site = Site::new();
    let metrics = site.port;
    let shared = Site::new().env("METRICS", metrics).env("EXTRA", 1);
    let main = shared.port.to_string();
    let words = [
        "run",
        "-l",
        &format!("{}:{main}", shared.host),
        "-n",
        "2",
        "--",
        "node",
        &server("http.js"),
    ];
    let balancer = Balancer::start(&shared, &words);
    in_turn(&slots(&balancer, shared.to()));
    let workers = balancer.workers();
    for (slot, worker) in workers.iter().enumerate() {
        let own: SocketAddr = format!("127.0.0.1:{}", metrics + slot as u16)
            .parse()
            .expect("an address");
        for _ in 0..3 {
            let client = Client::asking(own, 1, "");
            assert_eq!(
                client.body().expect("answered"),
                format!("metrics {worker}\n")
            );
        }
    }
    let output = eventually("both say where their port 0 is", || {
        let output = balancer.output();
        (output.matches("extra ").count() == 2).then_some(output)
    });
    for line in output
        .lines()
        .filter_map(|line| Some(line.split_once("extra ")?.1))
    {
        let (port, pid) = line.split_once(' ').expect("port and pid");
        let own: SocketAddr = format!("127.0.0.1:{port}").parse().expect("an address");
        let client = Client::asking(own, 1, "");
        assert_eq!(client.body().expect("answered"), format!("extra {pid}\n"));
    }
    assert_eq!(balancer.status().listeners.len(), 1);
    balancer.finish();
}

#[test]
fn close_and_listen_again() {
    let site = Site::new();
    let balancer = Balancer::start(&site, &["run", "-n", "1", "--", "node", &server("http.js")]);
    let worker = balancer.workers()[0];
    let client = Client::asking(site.to(), 1, "relisten");
    client.body().expect("answered");
    // While it does not listen, clients wait; they are not refused.
    Crowd::gather(site.to(), 100..150)
        .answers()
        .all_answered(50);
    assert_eq!(balancer.workers(), [worker], "no restart");
    balancer.finish();
}

#[test]
fn its_own_graceful_shutdown() {
    let site = Site::new().env("ON_TERM", "close");
    let mut balancer =
        Balancer::start(&site, &["run", "-n", "2", "--", "node", &server("http.js")]);
    let client = Client::asking(site.to(), 1, "slow");
    balancer.until("the slow request is being served", |status| {
        status.slots.iter().map(|slot| slot.open).sum::<u64>() == 1
    });
    balancer.signal(Signal::SIGTERM);
    let body = client.body().expect("a request under way is answered");
    assert!(body.ends_with("slow\n"), "{body}");
    assert_eq!(balancer.wait(), Some(0));
    assert_eq!(
        balancer.output().matches("closing ").count(),
        2,
        "{}",
        balancer.output()
    );
    balancer.nothing_left();
}
