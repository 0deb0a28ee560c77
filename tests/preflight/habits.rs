//! Commands whose habits do not go with ours, and their neighbours that are harmless.

use std::ffi::OsString;

use forkfront::primary::preflight::habits;

#[track_caller]
fn of(command: &str, environment: &[(&str, &str)]) -> Vec<String> {
    let words: Vec<OsString> = command.split(' ').map(OsString::from).collect();
    habits(&words, |name| {
        let found = environment.iter().find(|(one, _)| *one == name);
        found.map(|(_, value)| value.into())
    })
}

#[track_caller]
fn says(command: &str, environment: &[(&str, &str)], parts: &[&str]) {
    let all = of(command, environment);
    assert_eq!(all.len(), 1, "{command}: {all:#?}");
    for part in parts {
        assert!(
            all[0].contains(part),
            "{command}: no {part:?} in {}",
            all[0]
        );
    }
}

#[test]
fn servers_that_start_themselves_anew() {
    for (command, word, instead) in [
        ("gunicorn --reload shop:app", "'--reload'", "leave it out"),
        (
            "python3 -m uvicorn --reload api:app",
            "'--reload'",
            "leave it out",
        ),
        ("flask --app shop run --debug", "'--debug'", "--no-reload"),
        (
            ".venv/bin/python3 manage.py runserver",
            "'runserver'",
            "--noreload",
        ),
        (
            "python3 -m django runserver 8000",
            "'runserver'",
            "--noreload",
        ),
        ("fastapi dev api.py", "'fastapi dev'", "fastapi run"),
        ("node --watch server.js", "'--watch'", "leave it out"),
        (
            "node --watch-path=./lib server.js",
            "'--watch-path=./lib'",
            "leave it out",
        ),
        ("npx nodemon server.js", "'nodemon'", "use node"),
    ] {
        says(command, &[], &[word, instead, "forkfront reload"]);
    }
    says("flask run", &[("FLASK_DEBUG", "1")], &["'FLASK_DEBUG'"]);
}

#[test]
fn servers_with_workers_of_their_own() {
    for command in [
        "gunicorn -w 4 shop:app",
        "gunicorn -w4 shop:app",
        "gunicorn --workers=4 shop:app",
        "uvicorn --workers 4 api:app",
        "hypercorn -w 4 api:app",
        "bundle exec puma -w 4",
        "fastapi run --workers 4 api.py",
    ] {
        says(command, &[], &["4 workers of its own", "--workers 4", "-n"]);
    }
    let many = [("WEB_CONCURRENCY", "3"), ("PHP_CLI_SERVER_WORKERS", "5")];
    says("puma", &many, &["3 workers of its own", "WEB_CONCURRENCY"]);
    says("gunicorn shop:app", &many, &["3 workers"]);
    says(
        "php -S localhost:8000",
        &many,
        &["5 workers", "PHP_CLI_SERVER_WORKERS"],
    );
    says(
        "pm2-runtime server.js",
        &[],
        &["give forkfront the program"],
    );
    says("bin/rails server", &[], &["server.pid", "puma"]);
}

#[test]
fn others_are_left_alone() {
    let many = [("WEB_CONCURRENCY", "3"), ("PHP_CLI_SERVER_WORKERS", "5")];
    for (command, environment) in [
        (
            "gunicorn -w 1 --threads 4 --worker-class gthread shop:app",
            &many[..],
        ),
        ("uvicorn api:app", &[][..]),
        ("uvicorn --reload-dir . api:app", &[]),
        ("flask --app shop run", &[("FLASK_DEBUG", "0")]),
        ("flask run --debug --no-reload", &[]),
        ("python3 manage.py runserver --noreload", &many),
        ("python3 manage.py migrate", &many),
        ("node server.js --watch --workers 4", &many),
        ("puma", &[("WEB_CONCURRENCY", "auto")]),
        ("puma -w 0", &many),
        ("php server.php", &many),
        ("ruby app.rb", &many),
        ("rails server -P tmp/pids/one.pid", &many),
        ("sh -c gunicorn\u{a0}-w\u{a0}4", &[]),
    ] {
        assert_eq!(of(command, environment), [""; 0], "{command}");
    }
}
