//! How fast a folder becomes searchable, and what the time goes into. How to run it, and what it says, stands in
//! `tests/bench/README.md`.

use std::{
    fs,
    time::{Duration, Instant},
};

use crate::appliance::Appliance;

/// Short notes: what a file costs, whatever is in it.
const NOTES: usize = 300;
/// Reports of some thirty passages: what a passage costs.
const REPORTS: usize = 20;

/// Seconds of CPU that a process used by itself, and its ended children.
fn cpu(pid: i32) -> Option<(i32, f64, f64)> {
    let told = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in brackets may have spaces.
    let fields: Vec<&str> = told.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field).and_then(|value| value.parse::<f64>().ok()).unwrap_or(0.0) / 100.0;
    Some((fields.get(1)?.parse().ok()?, ticks(11) + ticks(12), ticks(13) + ticks(14)))
}

/// Seconds of CPU until now: of the appliance, of the readers of files, of its PostgreSQL.
fn spent(aegis: &Appliance) -> [f64; 3] {
    let own = aegis.pid().as_raw();
    let postmaster = fs::read_to_string(aegis.data_dir().join("postgres/cluster/postmaster.pid")).unwrap();
    let postmaster: i32 = postmaster.lines().next().unwrap().parse().unwrap();
    let (_, appliance, readers) = cpu(own).unwrap();
    let (_, main, ended) = cpu(postmaster).unwrap();
    let all = fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let sessions: f64 = all.filter_map(cpu).filter(|(parent, ..)| *parent == postmaster).map(|(_, own, _)| own).sum();
    [appliance, readers, main + ended + sessions]
}

fn sentence(number: usize) -> String {
    const WORDS: [&str; 11] = [
        "committee",
        "travel",
        "leave",
        "budget",
        "quarter",
        "warehouse",
        "invoice",
        "holiday",
        "customer",
        "bridge",
        "audit",
    ];
    let word = |step: usize| WORDS[(number * 7 + step * (number % 5 + 1)) % WORDS.len()];
    let words: Vec<&str> = (0..18).map(word).collect();
    format!("Item {number}: the {} of the {}.", words[..9].join(" and the "), words[9..].join(" or the "))
}

#[test]
#[ignore = "a benchmark, run by hand: tests/bench/README.md"]
fn how_fast_a_folder_becomes_searchable() {
    let mut aegis = Appliance::new("[models]\nchain = []\n");
    aegis.serve();
    aegis.json(&["tenant", "create", "acme", "--name", "Acme"]);
    for (kind, files, sentences) in [("notes", NOTES, 1), ("reports", REPORTS, 120)] {
        let folder = aegis.home().join(kind);
        fs::create_dir(&folder).unwrap();
        for file in 0..files {
            let text: Vec<String> = (0..sentences).map(|line| sentence(file * 1000 + line)).collect();
            fs::write(folder.join(format!("{kind}-{file}.md")), text.join("\n\n")).unwrap();
        }
        let (before, started) = (spent(&aegis), Instant::now());
        let added = aegis.run(&["kb", "add", "--tenant", "acme", "--no-wait", folder.to_str().unwrap()]);
        assert!(added.status.success(), "{}", String::from_utf8_lossy(&added.stderr));
        let own = |documents: &serde_json::Value| -> Vec<serde_json::Value> {
            let all = documents.as_array().unwrap().iter();
            all.filter(|one| one["title"].as_str().unwrap().starts_with(kind)).cloned().collect()
        };
        let documents = loop {
            let documents = own(&aegis.json(&["kb", "list", "--tenant", "acme"]));
            if documents.len() == files && documents.iter().all(|one| one["status"] == "ready") {
                break documents;
            }
            assert!(started.elapsed() < Duration::from_mins(10), "it does not come to its end");
            std::thread::sleep(Duration::from_millis(200));
        };
        let (took, after) = (started.elapsed().as_secs_f64(), spent(&aegis));
        let passages: i64 = documents.iter().filter_map(|one| one["passages"].as_i64()).sum();
        let count = f64::from(u32::try_from(files).unwrap());
        let each = |place: usize| 1000.0 * (after[place] - before[place]) / count;
        println!(
            "{files} {kind}, {passages} passages: {took:.1} s, {:.1} files/s; CPU a file: appliance {:.0} ms, reader {:.0} ms, \
             PostgreSQL {:.0} ms",
            count / took,
            each(0),
            each(1),
            each(2)
        );
    }
    aegis.stop();
}
