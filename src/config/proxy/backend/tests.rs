//! Backends as people write them, and as they should not.

use super::*;
use crate::config::proxy::duplicate;

fn read(words: &str) -> Backend {
    words.parse().unwrap_or_else(|why| panic!("{words}: {why}"))
}

#[test]
fn all_forms_are_read_and_written_again() {
    for words in [
        "10.0.0.1:5432",
        "[::1]:5432",
        "[fe80::1%2]:80",
        "db.example:5432",
        "db_1:1",
        "localhost.:65535@1000",
        "srv:_pg._tcp.example",
        "srv:web.service.consul@2+backup",
        "unix:/run/app.sock",
        "unix:/run/a+b@c/app.sock@3+backup+max=4",
        "10.0.0.1:5432@3",
        "10.0.0.1:5432@3+backup+max=100",
    ] {
        assert_eq!(read(words).to_string(), words);
    }
    for (words, means) in [
        ("10.0.0.1:5432@1", "10.0.0.1:5432"),
        ("10.0.0.1:05432@003", "10.0.0.1:5432@3"),
        ("DB.Example:80+max=7+backup", "db.example:80+backup+max=7"),
        ("[0:0:0:0:0:0:0:1]:80", "[::1]:80"),
        ("unix:/run//./app.sock", "unix:/run/app.sock"),
        ("unix:/run/app@web.sock", "unix:/run/app@web.sock"),
    ] {
        assert_eq!(read(words).to_string(), means);
    }
}

#[test]
fn mistakes_are_said() {
    let long = format!("unix:/{}", "x".repeat(UNIX_PATH_MAX));
    let name = format!("{}.example:80", "x".repeat(64));
    for (words, part) in [
        ("", "no backend is named"),
        (" ", "no backend is named"),
        ("10.0.0.1:1,10.0.0.2:1", "more than one"),
        (
            "10.0.0.1",
            "port is missing: it is written as 10.0.0.1:5432",
        ),
        ("db.example", "port is missing"),
        ("db.example:", "port is missing behind the colon"),
        ("[::1]", "port is missing"),
        ("5432", "127.0.0.1:5432"),
        (
            ":5432",
            "host is missing: port 5432 of this machine is 127.0.0.1:5432",
        ),
        ("10.0.0.1:0", "port 0"),
        ("db.example:0", "port 0"),
        ("db.example:65536", "above 65535"),
        ("db.example:http", "'http' is no port number"),
        ("10.0.0.1:80@0", "'0' is no weight"),
        ("10.0.0.1:80@1001", "1 to 1000"),
        ("10.0.0.1:80@x", "'x' is no weight"),
        ("10.0.0.1:80@", "'' is no weight"),
        ("10.0.0.1:80@-1", "'-1' is no weight"),
        ("unix:/a@0", "'0' is no weight"),
        ("10.0.0.1:80+max", "+max needs a number"),
        ("10.0.0.1:80+max=", "is no number of sessions"),
        ("10.0.0.1:80+max=0", "1 or more"),
        ("10.0.0.1:80+max=4294967296", "is no number"),
        ("10.0.0.1:80+max=2+max=3", "given twice"),
        ("10.0.0.1:80+backup+backup", "given twice"),
        ("10.0.0.1:80+backup=1", "takes no value"),
        ("10.0.0.1:80+bakup", "did you mean +backup?"),
        ("unix:/run/a.sock+bakup", "did you mean +backup?"),
        ("10.0.0.1:80+", "there is no +:"),
        ("10.0.0.1:80+weight=3", "@3"),
        ("10.0.0.1:80+backup@3", "in front of +backup"),
        ("::1:5432", "in brackets"),
        ("fe80::1:5432", "in brackets"),
        ("2001:db8:0:0:0:0:0:1", "[2001:db8:0:0:0:0:0:1]:5432"),
        ("2001:db8::1:99999", "in brackets"),
        ("[::g]:80", "no IPv6 address"),
        ("[fe80::1%eth0]:80", "by its number"),
        ("10.0.0.256:80", "'10.0.0.256' is no IP address"),
        ("10.1:80", "no IP address"),
        ("0.0.0.0:80", "all addresses"),
        ("[::]:80", "all addresses"),
        ("h\u{f6}st:80", "neither an IP address nor a name"),
        ("a b:80", "neither"),
        ("a..b:80", "neither"),
        (&name, "neither"),
        ("http://10.0.0.1:80", "without http://"),
        ("/run/app.sock", "unix:/run/app.sock"),
        ("srv:", "name is missing"),
        ("srv:_x._tcp.name:80", "say the port themselves"),
        ("srv:a/b", "neither"),
        ("unix:", "needs a path"),
        ("unix:app.sock", "begins with a slash"),
        ("unix:@app", "abstract"),
        ("unix:/run/a\nb.sock", "control characters"),
        (&long, "107 bytes at most"),
    ] {
        let why = words.parse::<Backend>().unwrap_err();
        assert!(why.contains(part), "{words}: {why}");
        assert!(!why.contains(". "), "one sentence: {why}");
    }
}

#[test]
fn a_path_of_the_file_begins_at_its_directory() {
    let read =
        |words: &str| Backend::beside(words, Path::new("/etc/a+b")).map(|one| one.to_string());
    assert_eq!(read("unix:x.sock@2").unwrap(), "unix:/etc/a+b/x.sock@2");
    assert_eq!(read("unix:/x.sock").unwrap(), "unix:/x.sock");
    assert_eq!(read("db:1").unwrap(), "db:1");
    assert!(read("unix:@x").is_err());
}

#[test]
fn what_is_given_twice_is_seen_however_it_is_written() {
    let said = |words: &[&str]| {
        let all: Vec<Backend> = words.iter().map(|words| read(words)).collect();
        duplicate(&all).map(|(at, why)| format!("{at}: {why}"))
    };
    for words in [
        &["10.0.0.1:80", "10.0.0.1:81", "10.0.0.2:80"][..],
        &["a:80", "a:81", "srv:a"],
        &["[fe80::1%1]:80", "[fe80::1%2]:80"],
    ] {
        assert_eq!(said(words), None);
    }
    let twice = said(&["a:1", "10.0.0.1:80", "10.0.0.1:80@3"]).unwrap();
    assert!(
        twice.starts_with("2: the backend 10.0.0.1:80 is given twice"),
        "{twice}"
    );
    for words in [
        &["10.0.0.1:80", "[::ffff:10.0.0.1]:80"][..],
        &["a.example:80", "A.Example.:80+backup"],
        &["srv:a.example", "srv:a.example."],
    ] {
        assert!(
            said(words).unwrap().contains("are the same one"),
            "{words:?}"
        );
    }
    assert!(said(&["unix:/a//b", "unix:/a/b"]).is_some());
}
