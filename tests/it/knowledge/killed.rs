//! A queue of many files in an appliance that is killed again and again: nothing is lost, nothing is there twice.
//!
//! By itself it takes some hundred files and a few kills; `AEGIS_TEST_KILLED_FILES=10000 AEGIS_TEST_KILLS=25` the numbers that
//! the product promises.

use std::{
    collections::{HashMap, HashSet},
    env,
    process::Stdio,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::appliance::Appliance;

const WORDS: [&str; 12] = [
    "otter", "bridge", "copper", "lantern", "meadow", "walnut", "harbour", "violin", "quarry", "saddle", "thimble",
    "beacon",
];

fn number(variable: &str, usual: usize) -> usize {
    env::var(variable).map_or(usual, |value| value.parse().expect(variable))
}

/// A file whose words are its own.
fn text(file: usize) -> String {
    let word = |step: usize| WORDS[(file / step) % WORDS.len()];
    format!("# Note {file}\n\nThe {} of number {file} stands by the {} and the {}.\n", word(1), word(12), word(144))
}

fn documents(aegis: &Appliance) -> Vec<Value> {
    aegis.json(&["kb", "list", "--tenant", "acme"]).as_array().expect("a list").clone()
}

fn states(documents: &[Value]) -> HashMap<String, usize> {
    let mut states = HashMap::new();
    for document in documents {
        *states.entry(document["status"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
    }
    states
}

#[test]
fn a_queue_survives_kill_after_kill_without_loss_or_double() {
    let (files, kills) = (number("AEGIS_TEST_KILLED_FILES", 150), number("AEGIS_TEST_KILLS", 5));
    let mut aegis = Appliance::new("[models]\nchain = []\n");
    aegis.serve();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme"]);
    let folder = aegis.home().join("notes");
    std::fs::create_dir(&folder).unwrap();
    for file in 0..files {
        std::fs::write(folder.join(format!("note-{file}.md")), text(file)).unwrap();
    }
    let add = ["kb", "add", "--tenant", "acme", "--no-wait", folder.to_str().unwrap()];
    let started = Instant::now();
    // While files still come and while they are read, at moments that no step of the work knows of.
    let mut moment = 0x9E37_79B9_u64;
    for _ in 0..kills {
        let mut adding = aegis.command(&add).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        moment = moment.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        std::thread::sleep(Duration::from_millis(300 + (moment >> 33) % 2_500));
        aegis.kill();
        // It may have been cut off; the same folder is added again.
        adding.kill().unwrap();
        adding.wait().unwrap();
        aegis.serve();
    }
    let added = aegis.run(&add);
    assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
    let ready = loop {
        let documents = documents(&aegis);
        let states = states(&documents);
        if states.len() == 1 && states.contains_key("ready") {
            break documents;
        }
        assert!(!states.contains_key("failed"), "{states:?}");
        assert!(started.elapsed() < Duration::from_secs(120 + files as u64 / 2), "still {states:?}");
        std::thread::sleep(Duration::from_millis(500));
    };
    assert_eq!(ready.len(), files);
    let names: HashSet<&str> = ready.iter().filter_map(|document| document["title"].as_str()).collect();
    assert_eq!(names.len(), files, "each once");
    assert!(ready.iter().all(|document| document["passages"] == 1 && document["version"] == 1));
    // What is found is what was written, and no passage is there twice.
    for file in [0, files / 3, files - 1] {
        let hits = aegis.json(&["kb", "search", "--tenant", "acme", "--limit", "3", &format!("note number {file}")]);
        let own = hits.as_array().expect("hits").iter().filter(|hit| hit["document"] == format!("note-{file}.md"));
        assert_eq!(own.count(), 1, "note-{file}.md: {hits}");
    }
    assert_eq!(aegis.json(&["audit", "verify", "--tenant", "acme"])["intact"], true);
    println!("{files} files, {kills} kills: all ready after {:.0} s", started.elapsed().as_secs_f64());
    aegis.stop();
}
