//! The readers of files, compiled from the appliance's own sources.
#![allow(unused_imports, dead_code, reason = "what only the rest of the appliance uses is not used here")]

pub mod knowledge;
pub mod support;

/// The settings that the readers ask for.
pub mod config {
    /// `[knowledge]`
    pub struct Knowledge {
        /// Address space of the process that reads a file, in MiB.
        pub extract_memory_mib: u64,
        /// Seconds of CPU that reading a file may take.
        pub extract_cpu_seconds: u64,
    }
}

/// A file name for every format.
pub const NAMES: [&str; 8] = ["a.pdf", "a.docx", "a.xlsx", "a.pptx", "a.html", "a.csv", "a.md", "a.txt"];

/// Reads a file within this process; gives how many blocks came out, or the sentence.
pub fn read(name: &str, bytes: &[u8]) -> Result<usize, String> {
    struct Count(usize);
    impl knowledge::extract::Sink for Count {
        fn block(&mut self, block: knowledge::extract::Block) -> Result<(), knowledge::extract::Failure> {
            assert!(!block.text.trim().is_empty(), "a block without text");
            assert!(!block.text.contains('\0'), "a database takes no NUL");
            if let Some(rows) = &block.rows {
                let lines = block.text.lines().count() - rows.header as usize;
                assert!(rows.numbers.is_empty() || rows.numbers.len() == lines, "every row has its number");
            }
            self.0 += 1;
            Ok(())
        }
    }
    let mut count = Count(0);
    let attempt = knowledge::extract::Attempt::First;
    knowledge::extract::read(name, bytes.to_vec(), attempt, &mut count).map_err(|failure| failure.reason)?;
    Ok(count.0)
}
