//! The recipes of the README, each as it stands there: its files, its commands, what they print. The commands in its
//! tables are run in front of a program that fits.

mod common;

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::*;

#[track_caller]
fn play(first: &str) {
    Recipe::beginning(first).play();
}

#[test]
fn node() {
    play("forkfront run -n 2 -- node server.js");
}

#[test]
fn uvicorn() {
    play("forkfront run -n 2 -- uvicorn api:app");
}

#[test]
fn gunicorn() {
    play("forkfront run -n 2 -- gunicorn --preload shop:app");
}

#[test]
fn puma() {
    play("forkfront run -n 2 -- puma -t 5:5");
}

#[test]
fn php() {
    play("forkfront run -n 2 -- php -S 127.0.0.1:8000 index.php");
}

#[test]
fn rust() {
    let recipe = Recipe::beginning("forkfront run -n 2 -- target/release/greeter");
    let program = include_str!("native/greeter.rs");
    let (_, program) = program.split_once("\n\n").expect("a head, and the program");
    assert_eq!(
        readme("// main.rs").trim_end(),
        format!("// main.rs\n{}", program.trim_end())
    );
    let site = recipe.site();
    fs::create_dir_all(site.file("target/release")).expect("made");
    let built = Path::new(env!("CARGO_BIN_EXE_forkfront")).with_file_name("examples/greeter");
    assert!(built.exists(), "cargo build --examples makes {built:?}");
    std::os::unix::fs::symlink(built, site.file("target/release/greeter")).expect("linked");
    recipe.play_at(&site).finish();
}

/// A command of a table in the README, without its `-n`, in front of a program at `port`: two workers, in turn.
#[track_caller]
fn row(site: &Site, command: &str, port: u16) {
    assert!(
        readme_text().contains(&format!("`{command}`")),
        "the README has no `{command}`"
    );
    let command = command.replace("forkfront run ", "forkfront run -n 2 ");
    let balancer = serve(site, &command, &port.to_string());
    for _ in 0..4 {
        let url = format!("http://{}/", site.to());
        // Django wants to know the host.
        let words = ["-sSf", "--max-time", "20", "-H", "Host: localhost", &url];
        let answered = Command::new("curl")
            .args(words)
            .stdout(Stdio::null())
            .status();
        assert!(answered.expect("curl").success());
    }
    let status = balancer.status();
    let dealt: Vec<u64> = status.slots.iter().map(|slot| slot.dealt).collect();
    assert_eq!(dealt, [2, 2]);
    balancer.finish();
}

/// The place of a recipe of the README, whose files serve for the rows below it, too.
fn kitchen_of(first: &str) -> Site {
    Recipe::beginning(first).site()
}
const SHOP: &str = "forkfront run -n 2 -- gunicorn --preload shop:app";

#[test]
fn fastify() {
    let site = kitchen();
    let program = "const fastify = require('fastify')();\n\
        fastify.get('/', async () => 'hello\\n');\n\
        fastify.listen({ port: 8080, host: '::' });\n\
        process.on('SIGTERM', () => fastify.close());\n";
    fs::write(site.file("fast.js"), program).expect("written");
    row(&site, "forkfront run -- node fast.js", 8080);
}

#[test]
fn gunicorn_with_threads() {
    let site = kitchen_of(SHOP);
    row(
        &site,
        "forkfront run -- gunicorn --preload --threads 4 shop:app",
        8000,
    );
}

#[test]
fn gunicorn_with_the_worker_of_uvicorn() {
    let site = kitchen_of(SHOP);
    let command = "forkfront run -- gunicorn --preload -k uvicorn_worker.UvicornWorker api:app";
    row(&site, command, 8000);
}

#[test]
fn hypercorn() {
    let site = kitchen_of(SHOP);
    row(&site, "forkfront run -- hypercorn api:app", 8000);
}

fn django() -> Site {
    let site = kitchen();
    let words = ["-m", "django", "startproject", "mysite", "."];
    let made = Command::new(python())
        .args(words)
        .current_dir(&site.directory)
        .status();
    assert!(made.expect("python").success());
    site
}

#[test]
fn django_behind_gunicorn() {
    row(
        &django(),
        "forkfront run -- gunicorn --preload mysite.wsgi",
        8000,
    );
}

#[test]
fn sinatra() {
    let site = kitchen();
    fs::write(
        site.file("app.rb"),
        "require 'sinatra'\nget('/') { 'hello' }\n",
    )
    .expect("written");
    row(&site, "forkfront run -- ruby app.rb", 4567);
}

#[test]
fn flask_that_starts_itself_anew() {
    let site = kitchen_of(SHOP);
    let command = "forkfront run -n 2 -- flask --app shop run --debug";
    let balancer = serve(&site, command, "5000");
    balancer.says("warning: '--debug' makes the server start anew");
    assert_eq!(text(&site), "hello from slot 0\n");
    let program = fs::read_to_string(site.file("shop.py")).expect("written before");
    let program = program.replace("hello from", "good day from");
    let mut last: Option<Instant> = None;
    eventually("all workers are new", || {
        // What changes before it has looked for the first time is no change to it.
        if last.is_none_or(|last| last.elapsed() > Duration::from_secs(4)) {
            fs::write(site.file("shop.py"), &program).expect("written");
            last = Some(Instant::now());
        }
        let seen = [text(&site), text(&site)];
        let new = seen.iter().all(|one| one.starts_with("good day"));
        new.then_some(())
    });
    balancer.finish();
}

/// What the site answers.
#[track_caller]
fn text(site: &Site) -> String {
    let url = format!("http://{}/", site.to());
    let words = ["-sS", "--max-time", "20", &url];
    let output = Command::new("curl").args(words).output().expect("curl");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn gunicorn_that_loads_first_gives_a_broken_program_back() {
    let site = kitchen_of(SHOP);
    let balancer = serve(&site, SHOP, "8000");
    let program = fs::read_to_string(site.file("shop.py")).expect("written before");
    let broken = format!("import time\ntime.sleep(0.7)\nimport no_such_package\n{program}");
    fs::write(site.file("shop.py"), broken).expect("written");
    let workers = balancer.workers();
    balancer.reload().failed(1, &["no_such_package"]);
    assert_eq!(balancer.workers(), workers);
    fs::write(
        site.file("shop.py"),
        program.replace("hello from", "good day from"),
    )
    .expect("written");
    balancer.reload().done();
    assert!(text(&site).starts_with("good day"));
    balancer.finish();
}

/// A line of the README, in a shell at `directory`, in which `forkfront` commands go to this site's primary.
#[track_caller]
fn line(site: &Site, directory: &Path, line: &str) -> String {
    assert!(
        readme_text().contains(&format!("\n    {line}\n")),
        "the README has no {line:?}"
    );
    shell(site, directory, line)
}

#[test]
fn deployed_by_git() {
    let place = kitchen_of("forkfront run -n 2 -- node server.js");
    let git = "export GIT_CONFIG_GLOBAL=/dev/null; git -c user.name=x -c user.email=x@localhost";
    let commit = |what: &str| {
        shell(
            &place,
            &place.directory,
            &format!("{git} commit -qam '{what}'"),
        );
    };
    shell(
        &place,
        &place.directory,
        &format!("{git} init -q -b main && git add server.js"),
    );
    commit("first");
    shell(&place, &place.directory, "git clone -q . checkout");
    let checkout = place.file("checkout");
    let balancer = serve_in(
        &place,
        &checkout,
        "forkfront run -n 2 -- node server.js",
        "8080",
    );
    assert_eq!(text(&place), "hello from slot 0\n");
    let program = fs::read_to_string(place.file("server.js")).expect("written before");
    fs::write(
        place.file("server.js"),
        program.replace("hello from", "good day from"),
    )
    .expect("written");
    commit("second");
    let said = line(
        &place,
        &checkout,
        "git pull -q && forkfront reload && echo live",
    );
    assert!(said.ends_with("live\n"), "{said}");
    assert!(text(&place).starts_with("good day"));
    balancer.finish();
}

#[test]
fn deployed_by_a_link() {
    let site = kitchen_of("forkfront run -n 2 -- node server.js");
    let release = |number: u32, greeting: &str| {
        let program = fs::read_to_string(site.file("server.js")).expect("written before");
        fs::create_dir_all(site.file("build")).expect("made");
        let program = program.replace("hello from", greeting);
        fs::write(site.file("build/server.js"), program).expect("written");
        format!("cp -r build releases/{number} && ln -sfn releases/{number} current")
    };
    fs::create_dir(site.file("releases")).expect("made");
    shell(&site, &site.directory, &release(41, "hello from"));
    let current = site.file("current");
    let balancer = serve_in(
        &site,
        &current,
        "forkfront run -n 2 -- node server.js",
        "8080",
    );
    assert_eq!(text(&site), "hello from slot 0\n");
    let command = release(42, "good day from") + " && forkfront reload";
    line(&site, &site.directory, &command);
    assert!(text(&site).starts_with("good day"));
    balancer.finish();
}

#[test]
fn every_recipe_is_tried() {
    let here = include_str!("recipes.rs");
    let starts = readme_text();
    let starts = starts
        .lines()
        .filter_map(|line| line.strip_prefix("    $ forkfront run "));
    let mut count = 0;
    for start in starts {
        assert!(
            here.contains(&format!("\"forkfront run {start}\"")),
            "nobody tries {start:?}"
        );
        count += 1;
    }
    assert!(count >= 6, "{count} recipes");
}
