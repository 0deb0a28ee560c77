//! Unmodified servers as workers: two of each, one connection after the other, dealt in strict turn.

mod common;

use std::io::{Read, Write};
use std::net::TcpStream;

use common::*;

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
    let expected = format!("::ffff:{} ::\n", address_of(77));
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
    serves_uvicorn(&[]);
}

#[test]
fn uvicorn_with_its_own_workers() {
    serves_uvicorn(&["--workers", "2"]);
}

#[track_caller]
fn serves_uvicorn(more: &[&str]) {
    let site = Site::new();
    let (port, directory, python) = (site.port.to_string(), server(""), python());
    let mut command = vec![python.as_str(), "-B", "-m", "uvicorn", "app:asgi"];
    command.extend(["--app-dir", &directory, "--log-level", "warning"]);
    command.extend(["--host", &site.host, "--port", &port]);
    command.extend(more);
    serves(&site, &command);
}

#[test]
fn gunicorn() {
    serves_gunicorn(&Site::new(), &[]);
}

#[test]
fn gunicorn_on_both_families() {
    serves_gunicorn(&Site::on("::"), &["-w", "2"]);
}

#[track_caller]
fn serves_gunicorn(site: &Site, more: &[&str]) {
    let (bind, directory, python) = (site.bind(), server(""), python());
    let mut command = vec![python.as_str(), "-B", "-m", "gunicorn"];
    command.extend(more);
    command.extend(["--log-level", "warning", "-b", &bind]);
    command.extend(["--chdir", &directory, "app:wsgi"]);
    serves(site, &command);
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
    serves_java(&[]);
}

#[test]
fn java_that_blocks() {
    serves_java(&["blocking"]);
}

#[track_caller]
fn serves_java(more: &[&str]) {
    let program = server("Server.java");
    let mut command = vec!["java", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"];
    command.push(&program);
    command.extend(more);
    serves(&Site::new(), &command);
}
