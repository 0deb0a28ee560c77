//! The Kubernetes manifest of the README: it is one for Kubernetes' own schemas, its times fit together, and what it
//! starts answers its probes as they ask.

mod common;

use std::fs;
use std::process::Command;
use std::time::Duration;

use common::*;
use nix::sys::signal::Signal;
use serde_json::Value;

/// The manifest in a file.
fn manifest() -> (Site, String) {
    let site = Recipe::beginning("forkfront run -n 2 -- node server.js").site();
    let file = site.file("shop.yaml");
    fs::write(&file, readme("# shop.yaml")).expect("written");
    let file = file.display().to_string();
    (site, file)
}

/// The Deployment's pod, and its one container.
fn pod(file: &str) -> (Value, Value) {
    let program =
        "import json, sys, yaml; print(json.dumps(list(yaml.safe_load_all(open(sys.argv[1])))))";
    let output = Command::new(python())
        .args(["-c", program, file])
        .output()
        .expect("python");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let documents: Vec<Value> = serde_json::from_slice(&output.stdout).expect("JSON");
    let [deployment, service] = &documents[..] else {
        panic!("a Deployment and a Service: {documents:#?}");
    };
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&deployment["spec"]["selector"]["matchLabels"], labels);
    assert_eq!(&service["spec"]["selector"], labels);
    let pod = deployment["spec"]["template"]["spec"].clone();
    let container = pod["containers"][0].clone();
    (pod, container)
}

#[test]
fn the_manifest_is_one() {
    let (site, file) = manifest();
    for version in ["1.30", "1.37"] {
        let words = [
            "-m",
            "kubernetes_validate",
            "--strict",
            "-k",
            version,
            &file,
        ];
        let output = Command::new(python()).args(words).output().expect("python");
        let said =
            String::from_utf8_lossy(&output.stderr) + String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.matches(" passed ").count() == 2,
            "{said}"
        );
    }
    drop(site);
}

/// What stands behind `--word` in the container's command.
fn argument<'a>(args: &'a [String], word: &str) -> &'a str {
    let at = args.iter().position(|one| one == word);
    &args[at.unwrap_or_else(|| panic!("no {word} in {args:?}")) + 1]
}

fn args_of(container: &Value) -> Vec<String> {
    serde_json::from_value(container["command"].clone()).expect("strings")
}

#[test]
fn its_times_fit_together() {
    let (site, file) = manifest();
    let (pod, container) = pod(&file);
    let args = args_of(&container);
    let seconds = |word| {
        let text = argument(&args, word).strip_suffix('s').expect("seconds");
        text.parse::<u64>().expect("a number")
    };
    let wait = container["lifecycle"]["preStop"]["sleep"]["seconds"].as_u64();
    let needed = wait.expect("a pause") + seconds("--drain-timeout") + seconds("--grace");
    let given = pod["terminationGracePeriodSeconds"]
        .as_u64()
        .expect("a number");
    assert!(given >= needed + 5, "{given} s for {needed} s");
    drop(site);
}

#[test]
fn what_it_starts_answers_the_probes() {
    let (site, file) = manifest();
    let (_, container) = pod(&file);
    let ports = container["ports"].as_array().expect("ports").clone();
    let port = |name: &str| {
        let port = ports.iter().find(|port| port["name"] == name).expect(name);
        port["containerPort"].to_string()
    };
    let args = args_of(&container);
    let metrics = argument(&args, "--metrics").to_owned();
    assert!(metrics.ends_with(&format!(":{}", port("metrics"))));
    let here = format!("{}:{}", site.host, site.ports(1)[0]);
    // Two workers, as two CPUs have.
    assert_eq!(container["resources"]["limits"]["cpu"], "2");
    let command = args.join(" ");
    let command = command
        .replace(&metrics, &here)
        .replace("run ", "run -n 2 ");
    let mut balancer = serve(&site, &command, &port("http"));
    let probe = |name: &str| {
        let get = &container[name]["httpGet"];
        assert_eq!(get["port"], "metrics");
        let path = get["path"].as_str().expect("a path");
        let words = ["-sS", "-w", " %{http_code}", "--max-time", "10"];
        let url = format!("http://{here}{path}");
        let output = Command::new("curl")
            .args(words)
            .arg(url)
            .output()
            .expect("curl");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    for name in ["startupProbe", "readinessProbe", "livenessProbe"] {
        let said = probe(name);
        assert!(said.ends_with(" 200"), "{name}: {said}");
    }
    assert_eq!(
        shell(&site, &site.directory, &format!("curl {}", site.to())),
        "hello from slot 0\n"
    );
    // A client that neither speaks nor goes: what is left of the pod's time is its.
    let _silent = Client::connect(site.to(), 1, Duration::from_secs(5)).expect("connected");
    balancer.until("the client is taken", |status| {
        status.slots.iter().any(|slot| slot.open == 1)
    });
    balancer.signal(Signal::SIGTERM);
    eventually("not ready while it stops", || {
        probe("readinessProbe").ends_with(" 503").then_some(())
    });
    assert!(
        probe("livenessProbe").ends_with(" 200"),
        "alive while it stops"
    );
    balancer.signal(Signal::SIGQUIT);
    balancer.wait();
    balancer.nothing_left();
}
